"""Writing to a descriptor."""

from __future__ import annotations

import os
import signal

import pytest

from llmcli.cli.console.descriptor_writer import DescriptorWriter, TextStream
from llmcli.errors import Interrupted, OutputError, OutputPipeClosed
from llmcli.interrupt import Interrupt


@pytest.fixture
def pipe():
    """A pipe whose ends are closed afterwards."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_a_stalled_reader_does_not_delay_a_signal(pipe):
    """Writing to a full pipe without a reader can still be interrupted."""
    interrupt = Interrupt()
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        DescriptorWriter(pipe[1], interrupt).write(b"x" * 1_000_000)


def test_a_closed_reader_is_reader_gone(pipe):
    """EPIPE has its own class."""
    os.close(pipe[0])
    with pytest.raises(OutputPipeClosed):
        DescriptorWriter(pipe[1], Interrupt()).write(b"x")


def test_a_closed_descriptor_is_an_output_error(pipe):
    """Writing to a descriptor that the caller closed fails, writing nothing does not."""
    writer = DescriptorWriter(pipe[1], Interrupt(), closed=True)
    writer.write(b"")
    with pytest.raises(OutputError):
        writer.write(b"x")


def test_a_non_blocking_descriptor_gets_everything(pipe):
    """A non-blocking pipe loses nothing."""
    os.set_blocking(pipe[1], False)
    DescriptorWriter(pipe[1], Interrupt()).write(b"x" * 4096)
    assert len(os.read(pipe[0], 10_000)) == 4096


def test_text_is_utf8(pipe):
    """Help is UTF-8 in any locale; invalid bytes of a name are written unchanged."""
    TextStream(DescriptorWriter(pipe[1], Interrupt())).write("é\udcff")
    assert os.read(pipe[0], 10) == b"\xc3\xa9\xff"
