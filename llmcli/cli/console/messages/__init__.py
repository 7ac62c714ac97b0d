"""The words for errors, by what they are about."""
