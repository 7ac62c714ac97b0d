"""One module a command; the table that names them stands in ``cli/app.py``."""
