"""Files, URLs, the log and progress bars."""
