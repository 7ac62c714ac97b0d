"""The schema of an answer, as users write it: a short form, a JSON Schema, or a Python type."""
