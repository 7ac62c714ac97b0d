"""``llm worker``, through the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import wait_until

from llmcli import child_processes
from llmcli.cli import main
from llmcli.cli.console.environment import Environment
from llmcli.runtime import backend_factory
from llmcli.worker.client import worker_status

from .conftest import SHORT, gone

ASK = ("ask", "hello", *SHORT)


@pytest.fixture
def llm(shell, tmp_path):
    """Run ``main(argv)`` in this process, with the directories of ``shell``.

    A worker that it starts is a child of this process, which reaps it. One of ``shell``'s is left to the init process,
    which may take seconds for that.
    """

    def call(*argv):
        with (
            (tmp_path / "out").open("wb") as out,
            (tmp_path / "err").open("wb") as err,
            Path("/dev/null").open("rb") as null,
        ):
            code = main.main(list(argv), Environment(null.fileno(), out.fileno(), err.fileno(), shell.environ()))
        return code, (tmp_path / "out").read_text(), (tmp_path / "err").read_text()

    return call


def listed(llm):
    """Return the output of ``llm worker list``."""
    return [json.loads(line) for line in llm("worker", "list", "--json")[1].splitlines()]


def test_nothing_runs(llm):
    """An empty list is no error, and neither is a stop without workers."""
    assert llm("worker", "list") == (0, "", "")
    assert llm("worker", "list", "--json") == (0, "", "")
    assert llm("worker", "stop") == llm("worker", "stop", "--all") == (0, "", "")
    assert "--all and nobody exclude each other" in llm("worker", "stop", "--all", "nobody")[2]
    code, out, err = llm("worker", "stop", "nobody")
    assert (code, out) == (66, "") and "nobody" in err


def test_list(shell, llm):
    """One object a line, or columns separated by tabs."""
    shell(*ASK)
    _, out, _ = llm("worker", "list", "--json")
    row = json.loads(out)
    assert row["pid"] == shell.worker()["pid"] and row["requests"] == 1 and row["memory"] > 1 << 20
    assert (
        row["uptime"] >= 0 and row["active"] == 0 and row["path"] == str(shell.model) and row["tokens_per_second"] > 0
    )
    _, out, _ = llm("worker", "list")
    assert out.split("\t")[:2] == [str(row["pid"]), row["model"]]


@pytest.mark.slow
def test_stop_by_model_by_pid_and_all(shell, llm):
    """It has ended when the command has."""
    for words in ([str(shell.model.stem)], None, []):
        llm(*ASK)
        status = shell.worker()
        named = [str(status["pid"])] if words is None else [status["model"]] if words else []
        code, _, err = llm("worker", "stop", *named, "-v")
        assert code == 0 and str(status["pid"]) in err
        wait_until(lambda pid=status["pid"]: gone(pid))


def test_restart(shell, llm):
    """Another process, for the same model."""
    llm(*ASK)
    first = shell.worker()
    code, _, err = llm("worker", "restart")
    assert code == 0, err
    second = wait_until(lambda: [s for s in shell.statuses() if s["pid"] != first["pid"]])[0]
    assert second["path"] == first["path"]
    assert llm(*ASK)[0] == 0 and shell.worker()["pid"] == second["pid"]


def test_log(shell, llm):
    """Starts and ends, and no word of a prompt."""
    shell("ask", "a secret question", *SHORT)
    status = shell.worker()
    _, out, _ = llm("worker", "log")
    assert f"{status['pid']} starts: " in out and "secret" not in out
    assert llm("worker", "log", str(status["pid"]))[1] == out
    _, out, _ = llm("worker", "log", "--json")
    assert "starts: " in json.loads(out.splitlines()[0])["line"]


def test_a_runtime_directory_of_others_is_refused(shell, llm):
    """77, and nothing of it is used."""
    shell.runtime.chmod(0o755)
    code, _, err = llm("worker", "list")
    assert code == 77 and str(shell.runtime) in err
    shell.runtime.chmod(0o700)


@pytest.fixture
def deadly(monkeypatch):
    """Make workers crash at a certain word (see ``crashing_worker``)."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    usual = child_processes.module_command
    monkeypatch.setattr(child_processes, "module_command", lambda _module, *words: usual("crashing_worker", *words))


@pytest.mark.usefixtures("deadly")
def test_a_record_that_kills_is_reported_and_the_others_are_done(llm, tmp_path):
    """The job continues; 3, as for every failed record."""
    records = tmp_path / "records.txt"
    records.write_text("good\nthe killer\nbad\nfine\n")
    code, out, err = llm("sentiment", str(records), "--json")
    rows = [row for row in map(json.loads, out.splitlines()) if "error" not in row]
    assert code == 3 and len(rows) == 3, err
    (error,) = [line["error"] for line in map(json.loads, err.splitlines()) if "error" in line]
    assert "GGML_ASSERT(word != killer)" in error["message"] and error["name"] == "line 2"


@pytest.mark.usefixtures("deadly")
def test_a_crash_is_one_line_and_what_to_do(llm):
    """70, with llama.cpp's own message; the next command is answered."""
    code, out, err = llm("ask", "killer", *SHORT)
    lines = err.splitlines()
    assert (code, out) == (70, "") and "GGML_ASSERT(word != killer)" in lines[0] and len(lines) == 2
    assert "llm worker log" in lines[1]
    assert llm(*ASK)[0] == 0


@pytest.fixture
def hung(llm, shell):
    """Return the pid of a worker that no longer answers."""
    llm(*ASK)
    pid = shell.worker()["pid"]
    os.kill(pid, signal.SIGSTOP)
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def hasty(monkeypatch):
    """Wait only briefly for answers that never come; a worker that is merely late still has its pid in every list."""
    monkeypatch.setattr(worker_status, "_STATUS_TIMEOUT_S", 0.2)
    monkeypatch.setattr(worker_status, "_REPLY_TIMEOUT_S", 0.2)


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_a_hung_worker_is_listed_and_ended(hung, shell, llm):
    """It has a pid, and ``stop`` kills it; the next command has a worker again."""
    (row,) = listed(llm)
    assert (row["pid"], row["model"], row["memory"]) == (hung, "(does not answer)", None)
    code, out, _ = llm("worker", "stop", "--json", str(hung))
    assert code == 0 and json.loads(out) == {"pid": hung, "model": None} and gone(hung)
    assert shell(*ASK).code == 0 and shell.worker()["pid"] != hung


@pytest.mark.usefixtures("hasty")
def test_a_listener_that_says_nothing_is_no_worker(shell, llm):
    """``llm worker list`` skips it."""
    llm(*ASK)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(shell.runtime / f"{'0' * 16}.sock"))
        silent.listen(1)
        assert len(listed(llm)) == 1


def test_a_command_works_without_a_hung_worker(hung, shell, llm, monkeypatch):
    """It reports this with -v, and gives its answer."""
    monkeypatch.setattr(backend_factory, "_GREETING_TIMEOUT_S", 0.2)
    code, out, err = llm(*ASK, "-v")
    assert code == 0 and out and "does not answer" in err and "in this process" in err
    assert f"llm worker stop {hung}" in err, "without a name all would be stopped"


def test_the_log_of_a_worker_that_ended(shell, llm):
    """Its model still selects it, and so does its pid."""
    llm(*ASK)
    pid = shell.worker()["pid"]
    llm("worker", "stop")
    assert gone(pid)
    for word in (str(shell.model), str(pid)):
        code, out, _ = llm("worker", "log", word)
        assert code == 0 and f" {pid} starts: " in out and f" {pid} ends: asked to stop" in out
    assert llm("worker", "log", "nobody")[0] == 66


def test_an_ended_worker_leaves_nothing(shell, llm):
    """Neither socket nor lock."""
    llm(*ASK)
    llm("worker", "stop")
    assert [path.name for path in shell.runtime.iterdir()] == ["output.lock"]


def test_the_socket_of_a_killed_worker_is_removed_at_the_next_look(shell, llm):
    """It has no listener."""
    shell(*ASK)
    pid = shell.worker()["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid))
    assert llm("worker", "list") == (0, "", "") and not list(shell.runtime.glob("*.sock"))


def test_stop_ends_at_ctrl_c(shell):
    """The worker completes its answers; the command need not wait for that."""
    answering = shell.start_long_answer()
    status = wait_until(lambda: [status for status in shell.statuses() if status.get("active")])[0]
    stopping = shell.start("worker", "stop")
    wait_until(lambda: f"{status['pid']} ends: asked to stop" in Path(status["log"]).read_text())
    os.kill(status["pid"], signal.SIGSTOP)
    stopping.send_signal(signal.SIGINT)
    stopping.communicate(timeout=20)
    assert stopping.returncode == -signal.SIGINT and not gone(status["pid"])
    os.kill(status["pid"], signal.SIGKILL)
    answering.kill()
    answering.communicate()
