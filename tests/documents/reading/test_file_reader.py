"""Reading files: a signal or the deadline ends every wait."""

import os
import signal
import socket
import threading

import pytest

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.file_reader import read_file, read_stdin
from llmcli.errors import BinaryInput, Interrupted, IsADirectory, MissingError, TimedOut
from llmcli.interrupt import Interrupt


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    ends = [reader, writer]
    yield ends
    for end in ends:
        os.close(end)


def test_a_file_becomes_a_document(tmp_path):
    """Name, path, text and byte order mark are separate."""
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read_file(str(file)) == Document(str(file), "one\r\ntwo", file, bom=True)


def test_unreadable_inputs_have_their_errors(tmp_path):
    """A missing file, an impossible name, and a directory have their own errors."""
    with pytest.raises(MissingError) as caught:
        read_file(str(tmp_path / "none"))
    assert (caught.value.kind, caught.value.detail) == ("input", "No such file or directory")
    with pytest.raises(MissingError):
        read_file("a\0b")
    with pytest.raises(IsADirectory):
        read_file(str(tmp_path))


def test_a_named_pipe_is_read_to_its_end(tmp_path):
    """The writer may open the pipe after the reader; text written in pieces is read completely."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write():
        with path.open("wb") as file:
            file.write(b"one ")
            file.flush()
            file.write(b"two")

    writer = threading.Thread(target=write)
    writer.start()
    assert read_file(str(path)).text == "one two"
    writer.join()


def test_a_named_pipe_without_a_writer_can_be_interrupted(tmp_path):
    """Waiting for a writer ends with the deadline."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(TimedOut):
        read_file(str(path), Interrupt(timeout=0.01))


def test_an_endless_binary_ends_at_once():
    """A device that never ends is refused at the first bytes that are not text."""
    with pytest.raises(BinaryInput):
        read_file("/dev/zero")


def test_standard_input_is_read_to_its_end(pipe):
    """All bytes are read, even in pieces; text that comes soon needs no notice."""
    os.write(pipe[1], b"abc")
    os.close(pipe.pop())
    assert read_stdin(pipe[0], Interrupt(), waiting=lambda: pytest.fail("it did not wait")) == b"abc"


def test_waiting_is_announced_once(pipe):
    """Without data the callback is called once, and reading continues."""
    calls = []

    def waiting():
        calls.append(1)
        os.write(pipe[1], b"late")
        os.close(pipe.pop())

    assert read_stdin(pipe[0], Interrupt(), waiting, patience=0) == b"late"
    assert calls == [1]


@pytest.mark.parametrize(("signum", "error"), [(signal.SIGINT, Interrupted), (None, TimedOut)])
def test_a_wait_ends_with_a_signal_or_the_deadline(pipe, signum, error):
    """Without any data, the flag of a signal handler or the deadline ends the wait."""
    interrupt = Interrupt(timeout=None if signum else 0)
    with pytest.raises(error):
        read_stdin(pipe[0], interrupt, lambda: interrupt.set(signum), patience=0)


def test_standard_input_may_be_a_socket():
    """Sockets are read like pipes."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(b"hello")
        assert read_stdin(ours.fileno(), Interrupt()) == b"hello"


def test_a_directory_as_standard_input_is_reported(tmp_path):
    """A shell can redirect from a directory; reading it has its own error."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectory):
            read_stdin(fd, Interrupt())
    finally:
        os.close(fd)
