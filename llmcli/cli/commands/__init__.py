"""One module per command; the table of commands is in ``cli/command_registry.py``."""
