"""Verbs with large inputs as processes, for the stress test of signals and for ``benchmarks/signals.py``."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import forked_processes

ROOT = Path(__file__).parents[1]
LONGEST_S = 5.0
"""Seconds at the beginning of a run in which a signal falls: with a model some runs would take hours."""
HANG_S = 120.0
"""Seconds after a signal or the deadline when a process that goes on has ignored it, or before it ends alone."""
_START_S = 60.0
_ABOUT_TO_END_S = 1.0
_WITH_A_MODEL = {0, 3, 65}
"""Codes of runs that end by themselves, of which a model of random weights decides."""
_LOOK_S = 0.002
_WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "`code`",
    "**bold**",
    "http://example.com/a?b=c",
    "1,234.5",
    "km",
    "%s",
    "{name}",
]
_OLD = b'{"k0": "what was there before"}\n'
_TRANSLATE = ("translate", "--no-tm")
_PSEUDO = (*_TRANSLATE, "--pseudo", "accents")


@dataclass(frozen=True)
class Case:
    """One command line; ``output`` is a file that it writes atomically, ``stdin`` one that it reads."""

    name: str
    argv: tuple[str, ...]
    output: Path | None = None
    stdin: Path | None = None

    @property
    def has_timeout(self) -> bool:
        """Whether it knows --timeout."""
        return self.argv[0] != "tm"

    @property
    def is_endless(self) -> bool:
        """Whether a model works, perhaps for hours."""
        return not {"--pseudo", "tm", "models"} & set(self.argv)


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    ``code`` is negative for death by a signal, None for a run that had to be killed; ``seconds``: from the signal or
    the deadline to the end, None if the run had already ended; ``output``: the final content of the file; ``beside``:
    other files in its directory.
    """

    code: int | None
    err: str
    seconds: float | None
    output: bytes | None
    beside: tuple[str, ...]


class Cases:
    """The cases, with inputs of about ``size`` bytes below ``directory``, on the model file ``model``."""

    def __init__(self, directory: Path, size: int, model: Path, llm: Sequence[str]) -> None:
        self._llm = tuple(llm)
        self._inputs, self._outputs, self._home = (directory / name for name in ("in", "out", "home"))
        self._inputs.mkdir(parents=True)
        for name, text in _texts(size):
            (self._inputs / name).write_text(text, encoding="utf-8")
        (self._inputs / "model.gguf").write_bytes(model.read_bytes())
        os.truncate(self._inputs / "model.gguf", 100 * size)  # quick to create, and slow to hash
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LLMCLI_", "HF_"))},
            **{f"LLMCLI_{kind.upper()}_DIR": str(self._home / kind) for kind in ("config", "data", "cache")},
            "LLMCLI_MODEL": str(model),
            "LLMCLI_WORKER": "off",
            "LLMCLI_TUNE": "off",
            "HF_HOME": str(self._home / "huggingface"),
        }
        self._run_through("tm", "import", "--tm", self._in("memory.sqlite"), self._in("big.tmx"))
        self._run_through("ask", "--max-tokens", "1", "hello")  # a model is checked once, before its first use
        self.all = tuple(self._cases())
        self._seconds: dict[str, float] = {}
        self._ends: dict[str, Outcome] = {}

    def _run_through(self, *argv: str) -> None:
        subprocess.run(
            [*self._llm, *argv], env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, check=True
        )

    def _in(self, name: str) -> str:
        return str(self._inputs / name)

    def _cases(self) -> Iterator[Case]:
        for name in [
            "big.txt",
            "big.md",
            "big.html",
            "big.json",
            "big.yaml",
            "big.po",
            "big.properties",
            "big.srt",
            "line.txt",
            "line.md",
            "line.json",
            "line.srt",
        ]:
            yield self._case(f"pseudo {name}", *_PSEUDO, self._in(name), output=f"out{Path(name).suffix}")
        yield self._case("report", *_PSEUDO, self._in("big.txt"), "-o", "/dev/null", output="r.json", option="--report")
        yield self._case("interleaved", *_PSEUDO, "--bilingual", "interleaved", self._in("big.md"), output="b.md")
        yield self._case("update", *_PSEUDO, self._in("big.json"), output="u.json", option="--update")
        yield self._case("glossary", *_PSEUDO, "--glossary", self._in("big.csv"), self._in("big.txt"), output="g.txt")
        yield self._case("pseudo --json", *_PSEUDO, "--json", self._in("big.txt"))
        yield self._case("dry run", *_TRANSLATE, "--to", "fr", "--dry-run", self._in("big.md"))
        yield self._case("translate", *_TRANSLATE, "--to", "fr", self._in("big.md"), output="m.md")
        yield self._case("translate a line", *_TRANSLATE, "--to", "fr", self._in("line.txt"), output="m.txt")
        yield self._case("translate with memory", "translate", "--to", "fr", self._in("big.json"), output="m.json")
        for name in ("big.txt", "line.txt"):
            yield self._case(f"summarize {name}", "summarize", self._in(name), output="summary.txt")
            yield self._case(f"ask -f {name}", "ask", "-f", self._in(name), "What is it about?", output="answer.txt")
            yield self._case(f"sentiment {name}", "sentiment", self._in(name), output="labels.tsv")
        yield self._case("ask <", "ask", "What is it about?", stdin="big.txt")
        yield self._case("generate <", "generate", "article", "--var", "topic=x", stdin="big.txt")
        yield self._case("chat <", "chat", stdin="big.txt")
        yield self._case("sentiment --json <", "sentiment", "--json", stdin="big.txt")
        yield self._case("tm import", "tm", "import", "--tm", str(self._home / "tm.sqlite"), self._in("big.tmx"))
        yield self._case("tm export", "tm", "export", "--tm", self._in("memory.sqlite"), output="m.tmx")
        yield self._case("models import", "models", "import", self._in("model.gguf"), "--name", "large")

    def _case(self, name: str, *argv: str, output: str = "", option: str = "-o", stdin: str = "") -> Case:
        path = self._outputs / output if output else None
        written = () if path is None else (option, str(path))
        return Case(name, (*argv, *written), path, self._inputs / stdin if stdin else None)

    # ---- runs -----------------------------------------------------------------------------------------------------

    def seconds(self, case: Case) -> float:
        """Return the seconds that a case runs without a signal, ``LONGEST_S`` at most."""
        if case.name not in self._seconds:
            child, started = self._start(case), time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(LONGEST_S)
            child.kill()
            child.wait()
            self._seconds[case.name] = min(time.monotonic() - started, LONGEST_S)
        return self._seconds[case.name]

    def ended_by_itself(self, case: Case, outcome: Outcome) -> bool:
        """Return whether a run had ended before the signal, or was about to: with its usual code."""
        soon = outcome.seconds is None or outcome.seconds < _ABOUT_TO_END_S
        return soon and outcome.code in (_WITH_A_MODEL if case.is_endless else {self._alone(case).code})

    def is_intact(self, case: Case, outcome: Outcome) -> bool:
        """Return whether the output is the earlier content, or that of a run without a signal."""
        if case.output is None or outcome.output == _OLD:
            return True
        by_itself = case.is_endless and self.ended_by_itself(case, outcome)
        return by_itself or outcome.output == self._alone(case).output

    def _alone(self, case: Case) -> Outcome:
        """Return the end of a run without a signal."""
        if case.name not in self._ends:
            self._ends[case.name] = self._outcome(case, self._start(case), None)
        return self._ends[case.name]

    def run_with_signal(self, case: Case, signum: int, moment: float) -> Outcome:
        """Run a case and send a signal this many seconds after its handlers are set."""
        child = self._start(case)
        try:
            child.wait(moment)
        except subprocess.TimeoutExpired:
            child.send_signal(signum)
            return self._outcome(case, child, time.monotonic())
        return self._outcome(case, child, None)

    def run_with_timeout(self, case: Case, seconds: float) -> Outcome:
        """Run a case with --timeout."""
        child = self._start(case, "--timeout", f"{seconds:.3f}")
        return self._outcome(case, child, time.monotonic() + seconds)

    def run_without_reader(self, case: Case, size: int) -> Outcome:
        """Run a case whose standard output is closed after this many bytes."""
        child = self._start(case, stdout=subprocess.PIPE)
        assert child.stdout is not None
        read = len(child.stdout.read(size))
        child.stdout.close()
        return self._outcome(case, child, time.monotonic() if read == size else None)

    def _start(self, case: Case, *more: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a case; it has set its signal handlers when this returns."""
        shutil.rmtree(self._outputs, ignore_errors=True)
        shutil.rmtree(self._home / "data", ignore_errors=True)
        (self._home / "tm.sqlite").unlink(missing_ok=True)
        self._outputs.mkdir()
        if case.output is not None:
            case.output.write_bytes(_OLD)
        with (case.stdin or Path(os.devnull)).open("rb") as stdin, (self._home / "stderr").open("wb") as stderr:
            child = forked_processes.RealPopen(
                [*self._llm, *case.argv, *more], env=self._environ, stdin=stdin, stdout=stdout, stderr=stderr
            )
        until = time.monotonic() + _START_S
        while not _catches(child.pid, signal.SIGTERM) and child.poll() is None and time.monotonic() < until:
            time.sleep(_LOOK_S)
        return child

    def _outcome(self, case: Case, child: subprocess.Popen[bytes], since: float | None) -> Outcome:
        """Wait for the end; ``since`` is when it was asked to stop, or will be."""
        code: int | None
        try:
            code = child.wait(HANG_S + (0.0 if since is None else max(0.0, since - time.monotonic())))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            code = None
        now = time.monotonic()
        seconds = None if since is None or now < since else now - since
        beside = tuple(sorted(path.name for path in self._outputs.iterdir() if path != case.output))
        output = case.output.read_bytes() if case.output is not None and case.output.exists() else None
        return Outcome(code, (self._home / "stderr").read_text("utf-8", "replace"), seconds, output, beside)


def _catches(pid: int, signum: int) -> bool:
    """Return whether a process has a handler for a signal (proc(5)); True on systems other than Linux."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return not Path("/proc/self/status").exists()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signum - 1) & 1)


def _texts(size: int) -> Iterator[tuple[str, str]]:
    """Yield names and contents of the inputs, always the same ones."""
    chance = random.Random(14)

    def words(count: int) -> str:
        return " ".join(chance.choices(_WORDS, k=count))

    paragraphs = [f"{words(60)}." for _ in range(size // 400)]
    lines = [words(20) for _ in range(size // 140)]
    line = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=size))
    yield "big.txt", "\n\n".join(paragraphs)
    yield "big.md", "".join(f"# Heading {number}\n\n{text}\n\n" for number, text in enumerate(paragraphs))
    yield "big.html", "<html><body>" + "".join(f"<p>{text}</p>\n" for text in paragraphs) + "</body></html>"
    yield "big.json", json.dumps({f"k{number}": text for number, text in enumerate(lines)}, indent=1)
    yield "big.yaml", "en:\n" + "".join(f"  k{number}: {json.dumps(text)}\n" for number, text in enumerate(lines))
    yield "big.properties", "".join(f"k{number}={text}\n" for number, text in enumerate(lines))
    yield (
        "big.srt",
        "".join(f"{number}\n00:00:00,000 --> 00:00:01,000\n{text}\n\n" for number, text in enumerate(lines, 1)),
    )
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    yield "big.po", header + "".join(f'msgid "{number} {text}"\nmsgstr ""\n\n' for number, text in enumerate(lines))
    yield "big.csv", "term,translation\n" + "".join(f"term{number},\n" for number in range(size // 400))
    units = "".join(
        f'<tu><tuv xml:lang="en"><seg>{number} {escape(text)}</seg></tuv>'
        f'<tuv xml:lang="fr"><seg>{escape(text)}</seg></tuv></tu>\n'
        for number, text in enumerate(lines)
    )
    yield "big.tmx", f'<tmx version="1.4"><header srclang="en"/><body>{units}</body></tmx>'
    yield "line.txt", line
    yield "line.md", line
    yield "line.json", json.dumps({"k0": line})
    yield "line.srt", f"1\n00:00:00,000 --> 00:00:01,000\n{line}\n"
