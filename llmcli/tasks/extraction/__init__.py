"""Extraction: values of a schema, copied from documents, with the place of each."""
