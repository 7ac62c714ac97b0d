"""Server-sent events, however the bytes are split."""

from __future__ import annotations

import random

import pytest

from llmcli.backends.remote.chat_client import EventStream, EventTooLong


def test_events_are_the_same_however_the_bytes_are_cut():
    """Line ends of all three kinds, comments, several lines of data, a byte order mark, UTF-8 split in the middle."""
    text = "\ufeffdata: ä\r\n\r\n: comment\rdata:b\rdata: c\r\revent: x\nid: 1\ndata\n\ndata:  d\n\ndata: lost"
    data, rng = text.encode(), random.Random(1)
    for size in (1, 2, 3, 7, len(data)):
        stream, found, rest = EventStream(), [], data
        while rest:
            step = rng.randint(1, size)
            found += stream.feed(rest[:step])
            rest = rest[step:]
        assert found == ["ä", "b\nc", "", " d"]


@pytest.mark.parametrize("data", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20])
def test_an_endless_line_is_an_error(data):
    """Memory stays bounded."""
    with pytest.raises(EventTooLong):
        list(EventStream(max_chars=100).feed(data))
