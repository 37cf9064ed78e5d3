"""Commands: one module per command, from settings to a folder of results."""
