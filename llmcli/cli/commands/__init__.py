"""One module a command; the table that names them stands in ``cli/command_registry.py``."""
