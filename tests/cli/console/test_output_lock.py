"""Several processes that write to one pipe, file or socket do not mix their lines."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import pytest
from forked_processes import ForkedCode
from terminal import ROOT

from llmcli.cli.console import descriptor_writer
from llmcli.cli.console.descriptor_writer import DescriptorWriter, OutputLock
from llmcli.cli.render.text_writer import PlainTextWriter, TextEnding
from llmcli.errors import Interrupted
from llmcli.interrupt import Interrupt

WRITERS = 5
SIZES = (7, 4_500, 70_000)  # below and above PIPE_BUF, above a pipe's capacity
ROUNDS = 12
WRITE = f"""
import os, sys
from llmcli.cli.console.descriptor_writer import DescriptorWriter
from llmcli.cli.console.descriptor_writer import OutputLock
from llmcli.interrupt import Interrupt
writer = DescriptorWriter(1, Interrupt(), lock=OutputLock(1, os.environ))
sys.stdin.read()  # all begin together
for _ in range({ROUNDS}):
    for size in {SIZES}:
        writer.write(sys.argv[1].encode() * size + b"\\n")
"""
HOLD = """
import os, sys
from llmcli.cli.console.descriptor_writer import OutputLock
assert OutputLock(1, os.environ).try_acquire()
print("held", file=sys.stderr, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def runtime():
    """Return a runtime directory with a short path, which has room for that of a socket, as llm demands."""
    with tempfile.TemporaryDirectory() as directory:
        yield directory


@pytest.fixture
def python(runtime, monkeypatch):
    """Start Python on a script, with the test's own runtime directory; running processes are killed at the end."""
    monkeypatch.setenv("LLMCLI_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    children = []

    def start(script, *argv, **how):
        how = {"stdin": subprocess.PIPE, **how}
        children.append(subprocess.Popen([sys.executable, "-c", ForkedCode(script), *argv], **how))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture
def pipe():
    """A pipe, closed afterwards."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def race(python, *, stdouts):
    """Let the writers write at the same time, each to its descriptor; return when all have ended."""
    children = [python(WRITE, chr(ord("a") + i), stdout=fd) for i, fd in enumerate(stdouts)]
    for child in children:
        child.stdin.close()
        child.stdin = None
    assert [child.wait(60) for child in children] == [0] * len(children)


def check_lines(data: bytes):
    """Assert that every line is complete and that none is missing."""
    lines = data.split(b"\n")
    assert lines.pop() == b""
    expected = sorted(bytes([ord("a") + i]) * size for i in range(WRITERS) for size in SIZES * ROUNDS)
    assert sorted(lines) == expected


def test_lines_of_processes_that_share_a_pipe_are_complete(python, pipe):
    """Neither short lines nor lines above PIPE_BUF or a pipe's capacity are mixed."""
    received = bytearray()
    reader = threading.Thread(target=lambda: received.extend(drain(os.dup(pipe[0]))))
    reader.start()
    write_end = os.dup(pipe[1])
    race(python, stdouts=[write_end] * WRITERS)
    os.write(pipe[1], b"\0")
    reader.join()
    os.close(write_end)
    check_lines(bytes(received))


def drain(fd):
    """Return the input up to a NUL byte."""
    data = bytearray()
    while not data.endswith(b"\0"):
        data += os.read(fd, 65_536)
    os.close(fd)
    return data[:-1]


def test_lines_in_a_non_blocking_pipe_are_complete(python, pipe):
    """A non-blocking pipe accepts parts of lines; the rest follows before another line."""
    os.set_blocking(pipe[1], False)
    received = bytearray()
    reader = threading.Thread(target=lambda: received.extend(drain(os.dup(pipe[0]))))
    reader.start()
    race(python, stdouts=[pipe[1]] * WRITERS)
    while True:
        try:
            os.write(pipe[1], b"\0")
        except BlockingIOError:
            continue
        break
    reader.join()
    check_lines(bytes(received))


def test_lines_in_a_file_are_complete(python, tmp_path):
    """As with ``(llm & llm) > FILE``, where all share one open file description."""
    with (tmp_path / "file").open("wb") as file:
        race(python, stdouts=[file] * WRITERS)
    check_lines((tmp_path / "file").read_bytes())


def test_appended_lines_are_complete(python, tmp_path):
    """As with ``llm >> FILE & llm >> FILE``, where each has its own description."""
    files = [(tmp_path / "file").open("ab") for _ in range(WRITERS)]
    race(python, stdouts=files)
    for file in files:
        file.close()
    check_lines((tmp_path / "file").read_bytes())


def test_lines_in_a_socket_are_complete(python):
    """Standard output may be a socket."""
    ours, theirs = socket.socketpair()
    received = bytearray()
    reader = threading.Thread(target=lambda: received.extend(drain(os.dup(ours.fileno()))))
    reader.start()
    race(python, stdouts=[theirs] * WRITERS)
    theirs.send(b"\0")
    reader.join()
    ours.close()
    theirs.close()
    check_lines(bytes(received))


def test_commands_that_share_a_pipe_mix_no_lines(process, pipe, tmp_path):
    """Whole commands write their documents in complete lines, as with ``xargs -P``."""
    for letter in "abc":
        (tmp_path / letter).write_text("".join(letter * size + "\n" for size in SIZES * 4))
    received = bytearray()
    reader = threading.Thread(target=lambda: received.extend(drain(os.dup(pipe[0]))))
    reader.start()
    children = [process("translate", "--pseudo", "identity", letter, stdout=pipe[1]) for letter in "abc"]
    assert [child.communicate()[1] for child in children] == [b""] * 3
    os.write(pipe[1], b"\0")
    reader.join()
    assert sorted(received.split()) == sorted(letter.encode() * size for letter in "abc" for size in SIZES * 4)


def hold(python, fd):
    """Return a process that holds the lock of ``fd``."""
    child = python(HOLD, stdout=fd, stderr=subprocess.PIPE)
    assert child.stderr.readline() == b"held\n"
    return child


def test_each_output_has_its_own_lock(python, pipe, tmp_path):
    """A process that is stopped in the middle of a line blocks no process that writes elsewhere."""
    hold(python, pipe[1])
    with (tmp_path / "file").open("wb") as file:
        lock = OutputLock(file.fileno(), os.environ)
        assert lock.try_acquire()
        lock.close()


def test_a_stopped_holder_does_not_block_for_ever(python, pipe, monkeypatch):
    """In the end the line is written without the lock, and the next one does not wait again."""
    monkeypatch.setattr(descriptor_writer, "MAX_LOCK_WAIT_S", 0.01)
    hold(python, pipe[1])
    writer = DescriptorWriter(pipe[1], Interrupt(), lock=OutputLock(pipe[1], os.environ))
    writer.write(b"one\n")
    monkeypatch.setattr(descriptor_writer, "MAX_LOCK_WAIT_S", float("inf"))
    writer.write(b"two\n")
    assert os.read(pipe[0], 100) == b"one\ntwo\n"


def test_a_signal_ends_the_waiting_for_the_lock(python, pipe):
    """Ctrl-C works while another process holds the lock."""
    hold(python, pipe[1])
    interrupt = Interrupt()
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        DescriptorWriter(pipe[1], interrupt, lock=OutputLock(pipe[1], os.environ)).write(b"x\n")


def test_the_lock_of_a_process_that_dies_is_free(python, pipe, monkeypatch):
    """A process that is killed in the middle of a line does not keep the lock."""
    monkeypatch.setattr(descriptor_writer, "MAX_LOCK_WAIT_S", float("inf"))
    child = hold(python, pipe[1])
    child.kill()
    child.wait()
    DescriptorWriter(pipe[1], Interrupt(), lock=OutputLock(pipe[1], os.environ)).write(b"x\n")
    assert os.read(pipe[0], 100) == b"x\n"


def test_no_command_fails_without_a_lock(llm, tmp_path):
    """Without a runtime directory, output is written without a lock."""
    (tmp_path / "file").touch()
    run = llm("ask", "Q", answer=lambda _: "A", env={"LLMCLI_RUNTIME_DIR": str(tmp_path / "file" / "run")})
    assert (run.code, run.out, run.err) == (0, "A\n", "")


class Sink:
    """Records each write."""

    def __init__(self):
        self.writes = []

    def write(self, data):
        self.writes.append(data)


def test_text_is_written_line_by_line():
    """Pieces of a line wait for its end; the last line comes with the end of the text."""
    sink = Sink()
    text = PlainTextWriter(sink, ending=TextEnding.DOCUMENT, terminal=False)
    seen = []
    for piece in ("A", "we", "some!\nTwo\nth", "ree", "\n", "end"):
        text.feed(piece)
        seen.append(b"".join(sink.writes))
    text.finish()
    assert seen == [
        b"",
        b"",
        b"Awesome!\nTwo\n",
        b"Awesome!\nTwo\n",
        b"Awesome!\nTwo\nthree\n",
        b"Awesome!\nTwo\nthree\n",
    ]
    assert sink.writes[-1] == b"end" and all(write.endswith(b"\n") for write in sink.writes[:-1])


def test_an_answer_and_its_newline_are_one_write():
    """A one-line answer is one write, whatever its pieces."""
    sink = Sink()
    text = PlainTextWriter(sink, ending=TextEnding.LINE, terminal=False)
    for piece in ("A", "ns", "wer", "\n\n"):
        text.feed(piece)
    text.finish()
    assert sink.writes == [b"Answer\n"]


@pytest.mark.parametrize(("ending", "written"), [(TextEnding.LINE, b"so far\n"), (TextEnding.DOCUMENT, b"so far")])
def test_an_abandoned_text_loses_nothing(ending, written):
    """Text before a failure is written, and the last line is ended, so that the next one starts at its beginning."""
    sink = Sink()
    text = PlainTextWriter(sink, ending=ending, terminal=False)
    text.feed("so ")
    text.feed("far")
    text.abandon()
    assert sink.writes == [written]


def test_a_terminal_gets_every_piece_at_once():
    """A person sees the answer as it comes."""
    sink = Sink()
    text = PlainTextWriter(sink, ending=TextEnding.LINE, terminal=True)
    for piece in ("A", "ns", "wer"):
        text.feed(piece)
    assert sink.writes == [b"A", b"ns", b"wer"]


def test_rendered_markdown_in_a_pipe_loses_nothing_when_it_is_abandoned(llm):
    """With FORCE_COLOR too, the text before a failure is shown."""
    from scripted import Reply

    reply = Reply("one\n\ntwo", error=RuntimeError("broken"))
    run = llm("ask", "Q", answer=lambda _: reply, env={"FORCE_COLOR": "1"})
    assert run.code == 70 and re.sub(r"\x1b\[[0-9;]*m", "", run.out) == "one\n\ntwo\n"


def test_lines_go_out_together_up_to_pipe_buf(pipe):
    """Many short lines do not take a system call each, and none is split."""
    data = b"".join(b"%d\n" % number for number in range(5000))
    groups = [bytes(group) for group in descriptor_writer._whole_lines(data + b"rest")]
    assert b"".join(groups) == data + b"rest"
    assert all(group.endswith(b"\n") and len(group) <= 4096 for group in groups[:-1])
    assert len(groups) < 10


def test_a_device_that_o_names_is_written_like_standard_output(process, pipe):
    """``-o /dev/stdout`` is a pipe that others may share, and a signal ends the wait for its reader."""
    os.set_blocking(pipe[1], False)
    child = process(
        "translate", "--pseudo", "identity", "-", "-o", "/dev/stdout", stdin=subprocess.PIPE, stdout=pipe[1]
    )
    child.stdin.write(b"x" * 300_000)
    child.stdin.close()
    child.stdin = None
    assert os.read(pipe[0], 1) == b"x"
    child.send_signal(signal.SIGINT)
    assert child.communicate() == (None, b"") and child.returncode == -signal.SIGINT
