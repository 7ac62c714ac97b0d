"""The formats of documents that can be translated, one module each; ``format_registry`` has an entry for each."""
