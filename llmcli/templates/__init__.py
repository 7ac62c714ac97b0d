"""Prompt files: schema, finding, rendering."""
