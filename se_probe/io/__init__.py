"""Files, URLs, the cache and progress bars."""
