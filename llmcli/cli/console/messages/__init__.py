"""The messages for errors, by subject."""
