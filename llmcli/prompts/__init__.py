"""Prompt files: schema, lookup (the user's directory before the built-in ones), rendering."""
