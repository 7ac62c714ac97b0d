"""Lines of standard input as they arrive."""

from __future__ import annotations

import os

import pytest

from llmcli.cli.console.console import Console
from llmcli.cli.console.environment import Environment
from llmcli.cli.input.inputs import stdin_lines
from llmcli.errors import BinaryInput, NotUtf8
from llmcli.interrupt import Interrupt


@pytest.fixture
def stdin():
    """Return (the lines, the writing end) of a pipe that is read as standard input."""
    read, write = os.pipe()
    yield stdin_lines(Console(Environment(stdin=read), Interrupt())), write
    os.close(read)


def test_a_line_comes_before_the_next_one(stdin):
    """An endless input is answered line by line."""
    lines, write = stdin
    for text in ("one", "two"):
        os.write(write, f"{text}\n".encode())
        assert next(lines) == text
    os.close(write)
    assert list(lines) == []


def test_a_character_split_over_reads_is_joined(stdin):
    """The boundaries of reads do not matter."""
    lines, write = stdin
    os.write(write, b"first\ncaf\xc3")
    assert next(lines) == "first"
    os.write(write, b"\xa9\r\nlast")
    os.close(write)
    assert list(lines) == ["café", "last"]


def test_lines_before_a_bad_byte_come_first(stdin):
    """Valid lines are delivered; the offset counts from the start of the stream."""
    lines, write = stdin
    os.write(write, b"good\nbad\xff\n")
    os.close(write)
    assert next(lines) == "good"
    with pytest.raises(NotUtf8) as raised:
        list(lines)
    assert raised.value.offset == 8


def test_binary_is_refused(stdin):
    """NUL bytes are not text."""
    lines, write = stdin
    os.write(write, b"a\0b\n")
    os.close(write)
    with pytest.raises(BinaryInput):
        list(lines)


def test_a_byte_order_mark_is_removed(stdin):
    """A BOM is not part of the first line."""
    lines, write = stdin
    os.write(write, b"\xef\xbb\xbfa\n")
    os.close(write)
    assert next(lines) == "a"
