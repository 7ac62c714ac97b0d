"""Values and JSON Schema, for backends and tasks."""
