"""A document is translated with its own words in the child process, before this process takes it apart.

What the child can do within its limits takes about as much memory and time here, whatever is in the document.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.documents.format_registry import load_format
from llmcli.documents.reading.document import decode_utf8
from llmcli.documents.reading.reader_process import read_in_child
from llmcli.errors import BadDocument

MAX_MEMORY_BYTES = 240 << 20
"""Memory of the child for the segments of a document, and for a few copies of its text."""
MAX_SEGMENT_CHARACTERS = 1_000_000
"""Characters of one segment: what is found in it for a translation takes up to eighty times as much."""
_READER = f"{__name__}:read_round_trip"


def check_round_trip(data: bytes, format_name: str) -> None:
    """Raise ``BadDocument`` if a document takes more than the limits, or is invalid in its format."""
    for _ in read_in_child(_READER, data, format_name, memory_bytes=MAX_MEMORY_BYTES):
        pass


def read_round_trip(data: bytes, name: str) -> Iterator[str]:
    """Do with a document in the format ``name`` what a translation does; yield nothing. Raises ``BadDocument``."""
    document_format = load_format(name)
    text = document_format.extract_text(data) if document_format.is_package else decode_utf8(data, "")[0]
    segments = document_format.split(text, "en")
    if any(len(segment.text) > MAX_SEGMENT_CHARACTERS for segment in segments):
        detail = f"a paragraph has more than {MAX_SEGMENT_CHARACTERS:,} characters; split the document"
        raise BadDocument(detail=detail)
    translated = document_format.join(text, segments, [segment.text for segment in segments])
    document_format.check(translated)
    document_format.find_omissions(text)
    written = document_format.replace_language(translated, segments, "", "en")
    if document_format.is_package:
        document_format.pack(data, written)
    yield from ()
