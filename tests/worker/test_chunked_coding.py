"""Chunks are written and read alike, however the bytes of the connection are split."""

from __future__ import annotations

import pytest

from llmcli.worker.client.channel import ChunkedDecoder, encode_chunk

LAST = b"0\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_body_is_the_same_however_it_is_split(step):
    """Also if its data looks like the end of a line, or of the body."""
    pieces = [b"one", b"\r\n0\r\n\r\n", b"x" * 300]
    data = b"".join(map(encode_chunk, pieces)) + LAST
    decoder, body = ChunkedDecoder(), b""
    for start in range(0, len(data), step):
        assert not decoder.complete
        body += decoder.feed(data[start : start + step])
    assert body == b"".join(pieces) and decoder.complete


def test_data_is_passed_on_before_its_chunk_is_complete():
    """A reader need not wait for all of a long chunk."""
    decoder = ChunkedDecoder()
    assert [decoder.feed(part) for part in (b"a\r\nhel", b"lo", b"world\r\n")] == [b"hel", b"lo", b"world"]
    assert not decoder.complete


@pytest.mark.parametrize("data", [b"no size\r\n", b"5\r\nhelloX\r\n", b"1" * (1 << 17)])
def test_an_invalid_chunk_is_an_error(data):
    """An invalid size, data longer than its size, an endless line."""
    with pytest.raises(ValueError):
        ChunkedDecoder().feed(data)
