"""The support of a sentence by the passages of documents."""
