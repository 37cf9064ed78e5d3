"""What a user asks for: a module a verb, from settings to a folder of results."""
