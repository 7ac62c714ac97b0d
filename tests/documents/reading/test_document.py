"""Documents: UTF-8, bytes of a registered format, or a clear error."""

import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.documents.format_registry import FormatEntry, load_format, register_format, unregister_format
from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.reading.document import Document, decode_utf8, open_document, refuse_unreadable
from llmcli.errors import BadDocument, BinaryInput, InternalError, NotUtf8


@given(st.text().filter(lambda text: "\0" not in text and not text.startswith(("%PDF-", "\ufeff", "GIF8"))))
def test_any_text_is_read_unchanged(text):
    """UTF-8 is decoded character by character, with its line endings."""
    assert decode_utf8(text.encode(), "x") == (text, False)
    assert decode_utf8(b"\xef\xbb\xbf" + text.encode(), "x") == (text, True)


def test_the_offset_counts_the_bytes_of_the_file():
    """The first byte that is not UTF-8 is reported, counted from 0, including a byte order mark."""
    for data, offset in ((b"abc\xff", 3), (b"\xef\xbb\xbfab\xe9", 5), ("é".encode()[:1], 0)):
        with pytest.raises(NotUtf8) as caught:
            decode_utf8(data, "latin.txt")
        assert (caught.value.subject, caught.value.offset) == ("latin.txt", offset)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04rest", "a ZIP archive or an office document"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"\x7fELF\x02", "ELF"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"text\0text", ""),
    ],
)
def test_binary_input_is_refused_by_its_kind(data, what):
    """Known formats are named; NUL bytes suffice to refuse the rest."""
    with pytest.raises(BinaryInput) as caught:
        decode_utf8(data, "x")
    assert caught.value.detail == what


@pytest.mark.parametrize("text", ["GGUF is a format", "PK", "GIF", "%PDF is a mark", "ID3 tags"])
def test_a_text_about_a_format_is_a_text(text):
    """The letters of a signature alone do not make a file binary."""
    assert decode_utf8(text.encode(), "x") == (text, False)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_other_unicode_encodings_are_named(encoding):
    """A byte order mark of another encoding names it."""
    with pytest.raises(NotUtf8) as caught:
        decode_utf8("\ufeffhello".encode(encoding) if encoding.endswith("be") else "hello".encode(encoding), "x")
    assert caught.value.detail == encoding[:6].upper()


class ReversedFormat(DocumentFormat):
    name = "reversed"

    def split(self, text, target):
        return load_format("plain").split(text, target)

    def check(self, text):
        return load_format("plain").check(text)

    def extract_text(self, data):
        if b"\xff" in data:
            raise BadDocument(line=1, detail="a byte too many")
        return data[5:][::-1].decode()


@pytest.fixture
def reversed_format(monkeypatch):
    """Register a format of bytes."""
    module = types.ModuleType("reversed_module")
    module.FORMAT = ReversedFormat()
    monkeypatch.setitem(sys.modules, "reversed_module", module)
    register_format(FormatEntry("reversed", "reversed_module:FORMAT", signatures=(b"\0REV\n",)))
    yield
    unregister_format("reversed")


@pytest.mark.usefixtures("reversed_format")
def test_a_binary_document_keeps_its_bytes_beside_its_text():
    """Bytes with a registered signature are accepted; texts are not affected."""
    data = b"\0REV\nolleh"
    assert open_document(data, "a.rev") == Document("a.rev", "hello", data=data, format_name="reversed")
    assert open_document(b"\xef\xbb\xbfolleh", "a.rev") == Document("a.rev", "olleh", bom=True)
    refuse_unreadable(data, "a.rev")
    with pytest.raises(BadDocument) as caught:
        open_document(data + b"\xff", "a.rev")
    assert (caught.value.subject, caught.value.line, caught.value.detail) == ("a.rev", 1, "a byte too many")


@pytest.mark.usefixtures("reversed_format")
def test_other_bytes_are_still_refused():
    """A registration does not affect bytes that begin differently."""
    for data, error in ((b"%PDF-1.7", BinaryInput), (b"a\0", BinaryInput), (b"a\xff", NotUtf8)):
        with pytest.raises(error):
            open_document(data, "x")
    for data in (b"%PDF-1.7", b"a\0"):
        with pytest.raises(BinaryInput):
            refuse_unreadable(data, "x")


def test_a_format_of_texts_reads_no_bytes():
    """Only formats with a signature extract text from bytes."""
    with pytest.raises(InternalError):
        load_format("plain").extract_text(b"")
