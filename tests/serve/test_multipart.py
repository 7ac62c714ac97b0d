"""Bodies of multipart/form-data, however they are cut into pieces."""

from __future__ import annotations

import httpx2
import pytest

from llmcli.serve.multipart import MultipartError, MultipartParser, find_boundary

BODY = (
    b"--b1\r\n"
    b'Content-Disposition: form-data; name="purpose"\r\n\r\n'
    b"batch\r\n--b1\r\n"
    b'Content-Type: application/json\r\nCONTENT-disposition: form-data; filename="a \\"b\\".jsonl"; name="file"\r\n\r\n'
    b"line one\r\nline two\r\n--b\r\n--b2\r\n\r\n--b1\r\n"
    b'Content-Disposition: form-data; name="empty"\r\n\r\n'
    b"\r\n--b1--\r\nan epilogue\r\n--b1\r\n"
)
PARTS = [
    ("purpose", None, b"batch"),
    ("file", 'a "b".jsonl', b"line one\r\nline two\r\n--b\r\n--b2\r\n"),
    ("empty", None, b""),
]


def parse(body, boundary=b"b1", size=None):
    """Return the parts of a body that arrives in pieces of ``size`` bytes, and whether it was complete."""
    parts = []
    parser = MultipartParser(
        boundary, lambda part: parts.append([part.name, part.filename, b""]), lambda data: add(parts, data)
    )
    for start in range(0, len(body), size or len(body)):
        parser.feed(body[start : start + (size or len(body))])
    return [tuple(part) for part in parts], parser.complete


def add(parts, data):
    parts[-1][2] += data


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, None])
def test_the_parts_do_not_depend_on_the_pieces(size):
    """Bytes that begin as a delimiter does are content; what is behind the parts is not."""
    assert parse(BODY, size=size) == (PARTS, True)


@pytest.mark.parametrize("cut", range(7, len(BODY), 7))
def test_any_cut_gives_a_beginning(cut):
    """No byte of a delimiter becomes content, wherever the body ends."""
    parts, _ = parse(BODY[:cut])
    assert all(content == whole[2][: len(content)] for (_, _, content), whole in zip(parts, PARTS, strict=False))


def test_what_a_client_sends():
    """The package that OpenAI's client uses writes the boundary and the parts."""
    request = httpx2.Request("POST", "http://x", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "batch"})
    parts, complete = parse(request.read(), find_boundary(request.headers["content-type"]))
    assert complete and sorted(parts) == [("file", "a.jsonl", b"{}\n"), ("purpose", None, b"batch")]


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary="])
def test_a_boundary_is_needed(kind):
    """Without one nothing can be read."""
    with pytest.raises(MultipartError):
        find_boundary(kind)
    assert find_boundary('Multipart/Form-Data; charset=x; boundary="a b"') == b"a b"


@pytest.mark.parametrize(
    "body",
    [
        b"--b1text\r\n",
        b"--b1" + b" " * 9000,
        b"--b1\r\n\r\n",
        b"--b1\r\nContent-Disposition: form-data\r\n\r\n",
        b"--b1\r\nX: " + b"x" * 9000,
    ],
)
def test_malformed_bodies_are_errors(body):
    """Whatever is wrong, memory stays small."""
    with pytest.raises(MultipartError):
        parse(body, size=1000)


def test_memory_does_not_hold_the_content():
    """Pieces go on at once."""
    seen = []
    parser = MultipartParser(b"b1", lambda _: None, lambda data: seen.append(len(data)))
    parser.feed(b'--b1\r\nContent-Disposition: form-data; name="file"\r\n\r\n')
    for _ in range(10):
        parser.feed(b"x" * 1000)
    assert sum(seen) > 9900
