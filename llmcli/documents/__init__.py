"""Documents: reading inputs, cutting texts without loss, records, writing outputs."""

from llmcli.documents.pieces import chunk, paragraphs, sentences
from llmcli.documents.reading import Document, decode, read_file, read_stdin
from llmcli.documents.records import Record, lines
from llmcli.documents.writing import Output, atomic_write

__all__ = [
    "Document",
    "Output",
    "Record",
    "atomic_write",
    "chunk",
    "decode",
    "lines",
    "paragraphs",
    "read_file",
    "read_stdin",
    "sentences",
]
