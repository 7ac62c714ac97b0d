"""The status line: its text, when it is visible, and that it leaves no trace."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading

import pexpect
import pyte
import pytest
from fake_server import FakeServer, stream_answer
from hypothesis import given
from hypothesis import strategies as st
from scripted import Reply
from terminal import RecordedScreen, ended

from llmcli.cli.console import sanitize, status_line, wrapping
from llmcli.cli.console.environment import Environment
from llmcli.cli.console.progress_text import RateEstimator, status_text
from llmcli.cli.console.status_line import StatusLine
from llmcli.interrupt import Interrupt
from llmcli.types import Phase, Progress

READING = Progress(1024, 5310, "tokens", "", Phase.READING)
PARTS = Progress(3, 12, "parts")
AT_ONCE = "import llmcli.cli.console.status_line as p; p.DELAY_S = 0"
"""What makes a real process show what it waits for from the first moment on."""


# ---- what it says ----------------------------------------------------------------------------------------------------


def step(phase, done=0, total=None, label="", unit="tokens"):
    return Progress(done, total, unit, label, phase)


def told(job, of, columns, figures=(None, None, 12.3)):
    rate, left, elapsed = figures
    return status_text(job, of, rate=rate, left=left, elapsed=elapsed, columns=columns)


@pytest.mark.parametrize(
    ("of", "wide", "narrow"),
    [
        (step(Phase.WORKING), "working, 12 s elapsed", "working, 12 s elapsed"),
        (
            step(Phase.STARTING, label="starter"),
            "starting a worker for starter, 12 s elapsed",
            "starting a worker for starter, 12 s",
        ),
        (
            step(Phase.LOADING, 45, 100, "starter"),
            "━━━━━━━━━─────────── loading starter: 45%, 12 s elapsed",
            "loading starter: 45%, 12 s elapsed",
        ),
        (step(Phase.LOADING, 0, 100, "starter"), *["loading starter, 12 s elapsed"] * 2),
        (step(Phase.LOADING, label="/home/me/models/starter.gguf"), *["loading starter.gguf, 12 s elapsed"] * 2),
        (step(Phase.WAITING, label="starter"), *["waiting for starter, 12 s elapsed"] * 2),
        (step(Phase.CHECKING, label="starter"), *["checking starter, 12 s elapsed"] * 2),
        (step(Phase.QUEUED, 3), *["queued, 3 requests ahead, 12 s elapsed"] * 2),
        (step(Phase.QUEUED, 1), *["queued, 1 request ahead, 12 s elapsed"] * 2),
        (step(Phase.QUEUED, 0), *["queued, next in line, 12 s elapsed"] * 2),
        (step(Phase.WRITING, 230), *["writing 230 tokens, 12 s elapsed"] * 2),
        (step(Phase.THINKING, 1), *["thinking 1 token, 12 s elapsed"] * 2),
    ],
)
def test_each_phase_has_its_text(of, wide, narrow):
    """What is waited for, and for how long; parts without room at 40 columns are omitted."""
    assert told(None, of, 79) == wide and told(None, of, 39) == narrow


@pytest.mark.parametrize(
    ("job", "of", "figures", "wide", "narrow"),
    [
        (
            None,
            READING,
            (812.0, 5.3),
            "━───────── reading 1,024 of 5,310 tokens (812/s), 5 s left, 12 s elapsed",
            "reading 19%, 5 s left, 12 s elapsed",
        ),
        (
            PARTS,
            READING,
            (812.0, 250.0),
            "3 of 12 parts, reading 1,024 of 5,310 tokens (812/s), 4 min left, 12 s elapsed",
            "3 of 12 parts, reading 19%, 4 min left",
        ),
        (
            PARTS,
            None,
            (0.05, 90.0),
            "━━━━━─────────────── 3 of 12 parts (3.0/min), 1 min 30 s left, 12 s elapsed",
            "3 of 12 parts, 1 min 30 s left",
        ),
        (
            PARTS,
            step(Phase.WRITING, 230, label="merging"),
            (9.2, None),
            "━━──────── 3 of 12 parts, merging: writing 230 tokens (9.2/s), 12 s elapsed",
            "3 of 12 parts, merging: writing 230…",
        ),
        (
            Progress(12_300_000, 98_400_000, "bytes", "tiny.gguf"),
            None,
            (5.2e6, 15.9),
            "━───────── tiny.gguf: 12.3 MB of 98.4 MB (5.2 MB/s), 15 s left, 12 s elapsed",
            "tiny.gguf: 12%, 15 s left, 12 s elapsed",
        ),
        (Progress(12, None, "records"), None, (3.14, None), *["12 records (3.1/s), 12 s elapsed"] * 2),
        (
            Progress(12, 302, "records", estimated=True),
            None,
            (3.14, 45.0),
            "──────────────────── 12 of about 302 records (3.1/s), 45 s left, 12 s elapsed",
            "12 of about 302 records, 45 s left",
        ),
    ],
)
def test_figures(job, of, figures, wide, narrow):
    """How much of how much, how fast, the time so far and the time left."""
    figures = (*figures, 12.3)
    assert told(job, of, 79, figures) == wide and told(job, of, 39, figures) == narrow


counts = st.integers(0, 10**9)
names = st.text(max_size=60)
units = st.sampled_from(["parts", "bytes", "segments"])
jobs = st.builds(Progress, counts, st.none() | counts, units, names, current=names)
steps = st.builds(step, st.sampled_from(Phase), counts, st.none() | counts, names)
seconds = st.floats(0, 1e6)
figures = st.tuples(st.none() | seconds, st.none() | seconds, seconds)


@given(st.none() | jobs, st.none() | steps, figures, st.integers(10, 120))
def test_it_is_one_line_that_fits(job, of, figures, columns):
    """For any numbers, names and width, nothing wraps and no control sequence is shown."""
    text = told(job, of, columns, figures)
    assert wrapping.display_width(text) <= columns and sanitize.single_line(text) == text.strip()


def test_the_rate_is_a_recent_one():
    """Old counts do not matter; between two counts the rate stays and the time left decreases."""
    pace = RateEstimator()
    assert pace.rate(0.0) is None
    for second in range(0, 100, 2):
        pace.add(float(second), second * (10 if second < 50 else 100))
    assert pace.rate(98.0) == pytest.approx(100.0) == pace.rate(100.0)
    progress = Progress(9800, 10_000, "tokens")
    assert [pace.seconds_left(now, progress) for now in (98.0, 99.0, 100.5)] == pytest.approx([2.0, 1.0, 0.0])


def test_the_rate_falls_when_the_next_count_is_late():
    """A stopped count does not look like a running one."""
    pace = RateEstimator()
    for second in range(5):
        pace.add(float(second), second * 10)
    assert pace.rate(6.0) == 10.0 and pace.rate(26.0) == pytest.approx(40 / 24)
    assert pace.seconds_left(26.0, Progress(40, 100, "tokens")) > pace.seconds_left(6.0, Progress(40, 100, "tokens"))


# ---- when it is there ------------------------------------------------------------------------------------------------


class Screen:
    """A terminal that the test reads itself; ``slave`` is what a program gets."""

    def __init__(self, columns: int = 80) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._display = RecordedScreen(columns)
        self._stream = pyte.ByteStream(self._display)
        self.raw = b""

    def text(self) -> str:
        """Return the present text of the screen; the cursor is at the start of a line."""
        os.write(self.slave, b"\0")  # terminals ignore it: once it is read, everything before it was read
        came = b""
        while not came.endswith(b"\0"):
            came += os.read(self.master, 65536)
        self.raw += came[:-1]
        self._stream.feed(came[:-1])
        assert self._display.cursor.x == 0 and not self._display.past
        return "\n".join(row.rstrip() for row in self._display.display).rstrip()

    def close(self) -> None:
        os.close(self.slave)
        os.close(self.master)


class Clock:
    """A clock that the test advances."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def screen():
    made = Screen()
    yield made
    made.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def line(monkeypatch, screen, clock):
    """Make a status line on the screen that only the test paints."""
    monkeypatch.setattr(StatusLine, "_wake_painter", lambda _: None)

    def make(*, quiet=False, interrupt=None, **environ):
        environment = Environment(stderr=screen.slave, environ={"TERM": "xterm", **environ})
        return StatusLine(environment, interrupt or Interrupt(), quiet=quiet, clock=clock)

    return make


def test_it_appears_after_a_second_and_leaves_no_trace(line, screen, clock):
    """A short wait shows nothing, a longer one its reason; nothing stays."""
    status = line()
    status.show(READING)
    clock.now += 0.9
    status.paint_due()
    assert screen.text() == ""
    clock.now += 0.2
    status.paint_due()
    assert screen.text() == "━━━───────────────── reading 1,024 of 5,310 tokens, 1 s elapsed"
    status.hide()
    assert screen.text() == ""


def test_it_is_painted_in_place(line, screen, clock):
    """A shorter text leaves nothing of a longer one; unchanged text is not written again."""
    status = line()
    status.show(READING)
    clock.now += 2
    status.paint_due()
    status.show(step(Phase.WRITING, 5))
    clock.now += 0.25
    status.paint_due()
    assert screen.text() == "writing 5 tokens, 2 s elapsed"
    size = len(screen.raw)
    clock.now += 0.25
    status.paint_due()
    assert screen.text() and len(screen.raw) == size


def test_it_fits_the_current_width(line, screen, clock):
    """The width is read at each painting, and the last column stays free."""
    status = line()
    status.show(READING)
    fcntl.ioctl(screen.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    clock.now += 3
    status.paint_due()
    assert screen.text() == "━───────── reading 19%, 3 s elapsed"


@pytest.mark.parametrize("why", ["quiet", "dumb", "pipe"])
def test_it_is_hidden_where_it_would_not_be_seen(line, screen, clock, why, tmp_path):
    """With -q, on a terminal that cannot erase, and without a terminal."""
    status = line(quiet=why == "quiet", **({"TERM": "dumb"} if why == "dumb" else {}))
    if why == "pipe":
        with (tmp_path / "err").open("wb") as file:
            status = StatusLine(Environment(stderr=file.fileno(), environ={"TERM": "xterm"}), Interrupt(), clock=clock)
            status.show(READING)
            clock.now += 5
            status.paint_due()
        assert (tmp_path / "err").read_bytes() == b""
    assert not status.enabled
    status.show(READING)
    clock.now += 5
    status.paint_due()
    assert screen.text() == "" == screen.raw.decode()


def test_it_has_no_colour(line, screen, clock):
    """NO_COLOR has nothing to switch off."""
    status = line()
    status.show(READING)
    clock.now += 5
    status.paint_due()
    assert screen.text() and b"m" not in screen.raw.split(b"\x1b[")[-1] and screen.raw.count(b"\x1b") == 1


def test_a_background_job_writes_nothing_on_the_terminal(line, screen, clock, monkeypatch):
    """The user types into the shell there."""
    status = line()
    monkeypatch.setattr(os, "tcgetpgrp", lambda _fd: os.getpgrp() + 1)
    status.show(READING)
    clock.now += 5
    status.paint_due()
    assert screen.text() == ""


def test_a_signal_erases_it(line, screen, clock):
    """Ctrl-C leaves the terminal clean, also of the echoed ^C, however long the end takes."""
    interrupt = Interrupt()
    status = line(interrupt=interrupt)
    status.show(READING)
    clock.now += 5
    status.paint_due()
    os.write(screen.slave, b"^C")  # the echo
    interrupt.set(2)
    clock.now += 1
    status.paint_due()
    assert screen.text() == ""


def test_others_write_above_it(line, screen, clock):
    """A warning in the middle of a wait gets its own line; the wait reappears below it a while later."""
    status = line()
    status.show(READING)
    clock.now += 5
    status.paint_due()
    with status._environment.suspend_painters():
        status.paint_due()
        os.write(screen.slave, b"llm: warning\r\n")
    clock.now += 0.5
    status.paint_due()
    assert screen.text() == "llm: warning"
    clock.now += 0.6
    status.paint_due()
    assert screen.text().splitlines()[1].endswith("1 s elapsed")


def test_it_makes_way_for_output_into_a_pipe(line, screen, clock):
    """The reader may write on the same terminal, so it is erased, and comes back soon; its time goes on."""
    status = line()
    status.show(Progress(1, 9, "records"))
    clock.now += 2
    status.paint_due()
    assert "1 of 9 records" in screen.text()
    status.make_way()
    assert screen.text() == ""
    clock.now += 0.4
    status.paint_due()
    assert screen.text() == ""
    clock.now += 0.2
    status.paint_due()
    assert screen.text().endswith("1 of 9 records, 2 s elapsed")


def advance_with_output(status, clock, seconds, screen):
    """Let a job of 8 records a second go on; each is output at once. Return what stays on the screen."""
    start = status._job.done
    for done in range(start + 1, start + 8 * seconds + 1):
        status.make_way()
        clock.now += 0.125
        status.show(Progress(done, 3000, "records"))
    return screen.text()


def test_a_long_job_is_seen_beside_fast_output(line, screen, clock):
    """Lines that stay tell its rate: the first after 5 seconds without any, then ever fewer."""
    status = line()
    status.show(Progress(0, 3000, "records"))
    assert advance_with_output(status, clock, 4, screen) == ""
    first = "llm: 40 of 3,000 records (8.0/s), 6 min left, 5 s elapsed"
    assert advance_with_output(status, clock, 2, screen) == first
    second = "llm: 120 of 3,000 records (8.0/s), 6 min left, 15 s elapsed"
    assert advance_with_output(status, clock, 14, screen).splitlines() == [first, second]


def test_a_short_job_leaves_no_line_beside_fast_output(line, screen, clock):
    """Neither does a job on a terminal, which shows the output itself."""
    status = line()
    status.show(Progress(0, 40, "records"))
    assert advance_with_output(status, clock, 4, screen) == ""
    status.reset()
    assert screen.text() == "" == screen.raw.decode()


def test_a_pager_has_the_terminal_for_itself(line, screen, clock):
    """Where a reader of the pipe took the terminal out of line mode, nothing is painted and nothing is noted."""
    mode = termios.tcgetattr(screen.slave)
    mode[3] &= ~termios.ICANON
    termios.tcsetattr(screen.slave, termios.TCSANOW, mode)
    status = line()
    status.show(Progress(0, 3000, "records"))
    assert advance_with_output(status, clock, 20, screen) == ""
    clock.now += 5
    status.paint_due()
    assert screen.text() == "" == screen.raw.decode()


def test_a_wait_within_a_wait(line, screen, clock):
    """The inner wait is shown, then the outer one; outside of any wait it ends with the block."""
    status = line()
    with status.waiting(Phase.CHECKING, "starter"):
        clock.now += 2
        status.paint_due()
        assert screen.text() == "checking starter, 2 s elapsed"
    assert screen.text() == ""
    status.show(step(Phase.WORKING))
    with status.waiting(Phase.STARTING, "starter"):
        clock.now += 3
        status.paint_due()
        assert screen.text() == "starting a worker for starter, 3 s elapsed"
    clock.now += 1
    status.paint_due()
    assert screen.text() == "working, 4 s elapsed"


def test_what_another_thread_tells_begins_no_wait(line, screen, clock):
    """A model that is still loading while a person types a message shows nothing."""
    status = line()
    status.update(step(Phase.LOADING, 5, 100, "starter"))
    clock.now += 5
    status.paint_due()
    assert screen.text() == ""


def test_finished_units_end_their_step(line, screen, clock):
    """The tokens of a segment are not shown beside the later count of finished segments."""
    status = line()
    status.show(Progress(0, 9, "segments"))
    status.show(READING)
    status.show(Progress(1, 9, "segments"))
    clock.now += 2
    status.paint_due()
    assert "reading" not in screen.text() and "1 of 9 segments" in screen.text()


def test_the_unit_and_the_tokens_of_a_job_are_shown(line, screen, clock):
    """The rate is that of the tokens, and the unit is shortened to the columns that are left."""
    status = line()
    for done in range(4):
        status.show(Progress(done, 9, "segments", current=f"Part {done} of a long text of words", tokens=70 * done))
        clock.now += 2
        status.paint_due()
    assert screen.text() == "3 of 9 segments (35 tokens/s), 10 s left, 8 s elapsed: Part 3 of a long text…"


def test_the_thread_paints_while_the_command_is_blocked(screen, monkeypatch):
    """A native call, a lock or a silent server need not report anything."""
    monkeypatch.setattr(status_line, "DELAY_S", 0.0)
    painted = threading.Event()
    monkeypatch.setattr(StatusLine, "_format_status", lambda *_: painted.set() or "here")
    status = StatusLine(Environment(stderr=screen.slave, environ={"TERM": "xterm"}), Interrupt())
    with status._changed:
        status._wait_began_at = 0.0  # a wait that began without a text
        status._wake_painter()
    assert painted.wait(20)
    status.close()
    assert screen.text() == "" and b"here" in screen.raw and not status._thread.is_alive()


# ---- verbs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def instructed(llm, tiny):
    """Use a model that causes no remarks."""
    llm.model = tiny("chatml")


TEXT = "".join(f"A sentence about {one}{other} in some words.\n\n" for one in "abcdefghij" for other in "klmnopqrst")
VERBS = {
    "ask": (["ask", "Q of some words"], {}, [b"queued", b"reading", b" tokens"]),
    "summarize": (["summarize", "FILE"], {"context": 400}, [b"parts, reading", b"merging: reading", b"writing"]),
    "sentiment": (["sentiment", "FILE"], {}, [b"reading", b" of 200 records"]),
    "translate": (["translate", "--to", "fr", "--no-tm", "FILE"], {}, [b"1 of ", b" elapsed: A sentence about"]),
    "generate": (["generate", "poem", "--var", "topic=rain"], {}, [b"queued", b"reading"]),
}


def scored(request):
    return dict.fromkeys(request.candidates, -1.0) if request.candidates else "The answer"


def answered(argv, file):
    return [str(file) if word == "FILE" else word for word in argv]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_shows_its_wait_and_then_only_its_answer(llm, terminal, tmp_path, at_once, verb):
    """On a terminal for both, the scrollback is the same as the output in a pipe."""
    argv, scripting, seen = VERBS[verb]
    (tmp_path / "file.txt").write_text(TEXT)
    argv = answered(argv, tmp_path / "file.txt")
    screen = terminal()
    env = {"LLMCLI_MARKDOWN": "off"}
    run = llm(*argv, out=screen.slave, err=screen.slave, env=env, answer=scored, **scripting)
    left = screen.close().splitlines()
    piped = llm(*argv, env=env, answer=scored, **scripting)
    assert run.code == piped.code and piped.err == ("" if piped.code == 0 else piped.err)
    answer = piped.out.expandtabs().rstrip().splitlines()
    assert [row for row in left if not row.startswith(("llm:", "The warnings"))][: len(answer)] == answer
    assert all(words in bytes(screen.raw) for words in seen)
    assert not any(words.decode() in row for row in left for words in (b"elapsed", b"queued", b"reading"))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_in_a_pipe_shows_nothing(llm, tmp_path, at_once, verb):
    """Stderr stays empty off a terminal, and requests ask for no progress."""
    argv, scripting, _ = VERBS[verb]
    (tmp_path / "file.txt").write_text(TEXT)
    run = llm(*answered(argv, tmp_path / "file.txt"), answer=scored, **scripting)
    assert run.code or run.err == ""
    assert "elapsed" not in run.err and not any(request.progress for request in run.backend.requests)


def test_a_result_in_a_file_is_counted_as_it_is_written(llm, terminal, tmp_path, at_once):
    """If the answer is not shown on the terminal, the written tokens are."""
    screen = terminal()
    run = llm("ask", "Q", "-o", str(tmp_path / "out"), err=screen.slave, answer=lambda _: "one two three")
    assert (run.code, screen.close()) == (0, "")
    assert b"writing 3 tokens" in bytes(screen.raw)


def test_progress_is_seen_while_a_pipe_takes_the_results(llm, terminal, at_once, tmp_path):
    """With stdout in a pipe and stderr on a terminal, the count goes on after the first rows; nothing stays."""
    (tmp_path / "file.txt").write_text(TEXT)
    screen, (reader, writer) = terminal(), os.pipe()
    run = llm("sentiment", str(tmp_path / "file.txt"), out=writer, err=screen.slave, answer=scored)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert run.code == 0 and len(pipe.read().splitlines()) == 200
    assert "elapsed" not in screen.close()
    assert all(f"{done} of 200 records".encode() in bytes(screen.raw) for done in (1, 100, 199))


def test_quiet_is_quiet(llm, terminal, at_once):
    """-q shows nothing at all."""
    screen = terminal()
    llm("ask", "Q", "-q", err=screen.slave, answer=lambda _: "A")
    assert screen.close() == "" == bytes(screen.raw).decode()


def test_a_timeout_leaves_only_its_line(llm, terminal, at_once):
    """The status line is erased before the error is printed."""
    screen = terminal()
    run = llm("ask", "Q", "--timeout", "0.3", err=screen.slave, answer=lambda _: Reply("", stalls=True))
    assert run.code == 124 and screen.close().splitlines()[0] == "llm: the time limit ran out"


def test_messages_during_a_wait_have_their_own_line(llm, terminal, at_once, tiny):
    """A remark during a wait is on its own line, without any of the status line."""
    screen = terminal(columns=200)
    run = llm("ask", "Q", err=screen.slave, env={"LLMCLI_MODEL": str(tiny("llama"))}, answer=lambda _: "A")
    said = screen.close().splitlines()
    assert run.code == 0 and len(said) == 2 and "is a base model" in said[0] and said[0].startswith("llm: ")


# ---- real processes --------------------------------------------------------------------------------------------------


def rows(child):
    """Return the rows of a terminal that got everything a process has written."""
    display = pyte.Screen(80, 24)
    pyte.Stream(display).feed(child.before if isinstance(child.before, str) else "")
    return [row.rstrip() for row in display.display if row.strip()]


@pytest.fixture
def held():
    """Return a server that answers when the test allows it, by ``go``."""
    server = FakeServer()
    server.go = threading.Event()

    def behave(handler, body) -> None:
        assert server.go.wait(30)
        stream_answer("The answer.")(handler, body)

    server.usual = behave
    yield server
    server.go.set()
    server.close()


def asking(person, held):
    """Return a process that shows that it waits for an answer, and what it has written so far."""
    child = person("ask", "Q", "--base-url", held.url, "--no-stdin", code=AT_ONCE)
    child.expect("waiting for")
    return child, child.before + child.after


def test_a_person_sees_the_wait_and_then_only_the_answer(person, held):
    """On a real terminal, with a slow server."""
    child, before = asking(person, held)
    held.go.set()
    child.expect(pexpect.EOF)
    child.before = before + child.before
    assert rows(child) == ["The answer."]


def test_ctrl_c_leaves_the_terminal_clean(person, held):
    """Death by the signal, and nothing on the screen."""
    child, before = asking(person, held)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.before = before + child.before
    assert rows(child) == []
    assert ended(child) == -2


@pytest.mark.slow
def test_a_model_in_this_process_shows_its_steps(person):
    """The engine's own progress is shown: only the answer of a tiny model stays."""
    child = person(
        "ask", "hello", "--no-stdin", "--max-tokens", "3", "--seed", "1", code=f"{AT_ONCE}; p._REPAINT_S = 0"
    )
    child.expect(pexpect.EOF)
    assert "tokens" in child.before and "elapsed" not in "".join(rows(child))
    assert ended(child) == 0
