"""Behaviour that only a real process shows: descriptors, signals, locale, and imports at the start."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("real_processes")
HEAVY = (
    "llama_cpp",
    "numpy",
    "huggingface_hub",
    "pydantic",
    "rich",
    "prompt_toolkit",
    "yaml",
    "jinja2",
    "httpx2",
    "httpcore2",
)
LONG = ["ask", "Tell me everything.", "--max-tokens", "100000", "--ctx", "8192"]


@pytest.fixture
def long_answer(process, tiny, tried):
    """Start an answer that cannot end before its reader does: only the full context ends it, and no pipe holds it."""
    model = tiny("endless")
    tried(model)
    child = process(*LONG, env={"LLMCLI_MODEL": str(model)})
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux; elsewhere the answer takes some seconds
        fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, 4096)
    child.stdout.read(1)
    return child


def finish(child, seconds=60):
    """Return (code, out, err) of a process."""
    out, err = child.communicate(timeout=seconds)
    return child.returncode, out, err


@pytest.mark.parametrize("argv", [["--help"], ["ask", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(argv):
    """Help must not pay for imports that only the work needs."""
    code = (
        "import sys; from llmcli.cli.main import main; main(sys.argv[1:]); "
        f"sys.exit(','.join(sorted(set({HEAVY}) & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_entry_imports_nothing_of_ours_before_it_runs():
    """Ctrl-C shows Python's traceback until run() begins, so that must be at once."""
    code = "import sys, llmcli.cli.main; print(*sorted(name for name in sys.modules if name.startswith('llmcli')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["llmcli", "llmcli.cli", "llmcli.cli.main"], done.stderr


def test_completion_offers_options_and_imports_nothing_heavy():
    """A Tab press gets the options of the typed command, without its imports."""
    code = (
        "import sys; from llmcli.cli.main import main; main([]); "
        f"sys.exit(','.join(sorted(set({HEAVY}) & set(sys.modules))) or 0)"
    )
    env = {**os.environ, "_LLM_COMPLETE": "complete_bash", "COMP_WORDS": "llm ask --mod", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stdout.split()) == (0, ["--model"]), done.stderr


def test_an_answer_comes_from_the_engine(process):
    """The whole way, from the shell to a model and back."""
    code, out, err = finish(process("ask", "hi", "--max-tokens", "8", "--seed", "1", "--temperature", "0"))
    assert (code, err) == (0, b"") and out.endswith(b"\n")


@pytest.mark.parametrize("argv", [["--help"], ["generate", "--list"], ["ask", "hi", "--max-tokens", "4"]])
def test_a_closed_stdout_is_74(process, argv):
    """Output without a destination is an error, not silence."""
    assert finish(process(*argv, stdout=None, preexec_fn=lambda: os.close(1)))[0] == 74


@pytest.mark.parametrize("argv", [["--help"], ["generate", "--list"], ["ask", "hi", "--max-tokens", "4"]])
def test_a_full_disk_is_74(process, argv):
    """A full disk is one line and 74."""
    with Path("/dev/full").open("wb") as full:
        code, _, err = finish(process(*argv, stdout=full))
    assert code == 74 and err.startswith(b"llm: ") and b"Traceback" not in err


def test_a_closed_stdin_is_no_input(process, tmp_path):
    """It is not an empty file, which would have an empty result and exit code 0."""
    (tmp_path / "out").write_text("earlier")
    for more, code, words in (([], 2, b"no input: name a file"), (["-"], 66, b"standard input: it is closed")):
        argv = ["classify", "--labels", "a,b", "-o", str(tmp_path / "out"), *more]
        done = finish(process(*argv, stdin=None, preexec_fn=lambda: os.close(0)))
        assert done[0] == code and words in done[2]
    assert (tmp_path / "out").read_text() == "earlier"


def test_closed_descriptors_do_no_harm(process, tmp_path):
    """With 0, 1 and 2 closed, no opened file becomes standard output; -o still works."""

    def close_all():
        for fd in (0, 1, 2):
            os.close(fd)

    argv = ["ask", "hi", "--max-tokens", "4", "-o", str(tmp_path / "out")]
    child = process(*argv, stdin=None, stdout=None, stderr=None, preexec_fn=close_all)
    assert child.wait(60) == 0 and (tmp_path / "out").read_bytes().endswith(b"\n")


def test_a_reader_that_goes_away_ends_the_process_by_sigpipe(long_answer):
    """A closed pipe is death by SIGPIPE, as with any other tool, and silent."""
    long_answer.stdout.close()
    err = long_answer.stderr.read()
    long_answer.stderr.close()
    assert long_answer.wait(30) == -signal.SIGPIPE and err == b""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_an_answer_at_once(long_answer, signum):
    """A signal while decoding is death by that signal, within half a second on an idle machine, and silent."""
    start = time.monotonic()
    long_answer.send_signal(signum)
    _, err = long_answer.communicate(timeout=30)
    assert long_answer.returncode == -signum and err == b""
    assert time.monotonic() - start < 5  # on a machine under load; the answer alone would take far longer


@pytest.mark.skipif(not hasattr(os, "forkpty"), reason="needs pseudo-terminals")
def test_a_hang_up_at_a_question_is_no_internal_error(tiny, tmp_path):
    """The terminal goes away while a question is open and SIGHUP is ignored: 129, as if the signal had come."""
    code, script = tmp_path / "code", 'trap "" HUP; "$@"; echo $? > "$CODE"'
    pid, terminal = os.forkpty()
    if pid == 0:
        words = ["chat", "--no-save", "-m", str(tiny("llama"))]
        environment = {**os.environ, "CODE": str(code)}
        os.execvpe("sh", ["sh", "-c", script, "sh", sys.executable, "-m", "llmcli", *words], environment)
    try:
        shown = b""
        while b"/help" not in shown:
            shown += os.read(terminal, 1024)
        time.sleep(0.2)  # the prompt is open
    finally:
        os.close(terminal)
    os.waitpid(pid, 0)
    assert code.read_text() == "129\n"


def test_a_signal_ends_the_waiting_for_stdin(process):
    """A signal ends a process that waits for input."""
    child = process("ask", stdin=subprocess.PIPE, env={"PYTHONUNBUFFERED": "1"})
    _wait_until_it_polls(child)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == -signal.SIGINT


def test_an_interrupted_pipeline_is_silent(process):
    """Ctrl-C ends the writer of a pipeline as well, without an error about its output."""
    child = process("ask", stdin=subprocess.PIPE)
    _wait_until_it_polls(child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (-signal.SIGINT, b"")


def _wait_until_it_polls(child):
    """Wait until the process sleeps in poll, as it does while waiting for input."""
    wait_until(lambda: "poll" in Path(f"/proc/{child.pid}/wchan").read_text(encoding="ascii"), 30.0)


def test_the_process_is_called_llm(process):
    """Linux names a process by its script, which is llmcli: `pkill -x llm` would not find it."""
    child = process("ask", stdin=subprocess.PIPE)
    _wait_until_it_polls(child)
    assert Path(f"/proc/{child.pid}/comm").read_text(encoding="ascii") == "llm\n"


@pytest.mark.parametrize(("stdin", "warns"), [(subprocess.PIPE, True), (subprocess.DEVNULL, False)])
def test_an_empty_pipe_beside_a_question_is_a_warning(process, stdin, warns):
    """The command before it may have failed; the null device is no input. -v: off a terminal, success is silent."""
    child = process("ask", "-v", "hello", "--max-tokens", "3", stdin=stdin)
    _, err = child.communicate(timeout=30)
    assert (b"standard input is empty" in err) == warns


def test_the_timeout_covers_the_waiting_for_stdin(process):
    """--timeout also ends a wait for input."""
    child = process("ask", "--timeout", "0.3", stdin=subprocess.PIPE)
    assert child.wait(30) == 124


def test_output_is_utf8_in_any_locale(process, tmp_path):
    """The same bytes in the C locale: a name with an accent does not change."""
    (tmp_path / "é.txt").write_text("")
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, _, err = finish(process("summarize", os.fsencode(tmp_path / "é.txt"), env=env))
    assert code == 65 and "é.txt".encode() in err


def test_arguments_are_utf8_in_any_locale(process):
    """A question with an accent is no error in the C locale."""
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert finish(process("ask", "où?".encode(), "--max-tokens", "3", env=env))[::2] == (0, b"")


def test_a_loop_keeps_its_signals(tmp_path):
    """After main returns, signal handlers are those of before."""
    from llmcli.cli.console.environment import Environment
    from llmcli.cli.main import main

    before = signal.getsignal(signal.SIGTERM)
    with (tmp_path / "out").open("wb") as file:
        main(["--version"], Environment(stdout=file.fileno()))
    assert signal.getsignal(signal.SIGTERM) is before


SCRIPT = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupter())
from llmcli.cli.main import run
sys.exit(run())
"""
"""The script that pip writes, interrupted at the import of a module."""


@pytest.mark.parametrize(
    "name", ["llmcli.cli", "llmcli.cli.main", "llmcli.cli.dispatch", "llmcli.cli.console.environment"]
)
def test_an_interrupt_during_the_imports_is_silent(tmp_path, name):
    """From the first module of ours on, Ctrl-C kills the script instead of showing a traceback."""
    script = tmp_path / "llm"
    script.write_text(SCRIPT.format(name=name))
    done = subprocess.run([sys.executable, script, "--version"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_a_program_that_uses_the_package_keeps_its_handler(tmp_path):
    """Only the scripts do without Python's; one that was started with SIGINT ignored goes on ignoring it."""
    program = tmp_path / "mine"
    program.write_text("import llmcli, signal; assert signal.getsignal(2) is signal.default_int_handler")
    subprocess.run([sys.executable, program], check=True)
    script = tmp_path / "llm"
    script.write_text("import llmcli, signal; assert signal.getsignal(2) is signal.SIG_IGN")
    subprocess.run(["sh", "-c", 'trap "" INT; exec "$0" "$1"', sys.executable, script], check=True)
