"""The formats of records: one module and one registration each."""
