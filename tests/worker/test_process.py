"""The worker as a process: started, found, shared, ended; what it inherits and what it does not."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import wait_until

from llmcli.worker.client import channel, worker_status

from .conftest import SHORT, gone

ASK = ("ask", "hello", *SHORT)


def test_the_first_command_starts_it_and_the_next_finds_it(shell):
    """One process, and the same answer as with --set worker=off."""
    first, second, alone = shell(*ASK), shell(*ASK), shell(*ASK, "--set", "worker=off")
    assert (first.code, first.err) == (0, "")
    assert first.out == second.out == alone.out != ""
    assert shell.worker()["requests"] == 2


def test_v_names_what_answers(shell):
    """Started or found; not what the user requested."""
    assert "started a worker" in shell(*ASK, "-v").err
    assert "found the worker" in shell(*ASK, "-v").err
    assert "a worker" not in shell(*ASK, "-v", "--set", "worker=off").err
    assert "worker" not in shell(*ASK, "-v", env={"LLMCLI_WORKER": "off"}).err


@pytest.mark.stress
@pytest.mark.usefixtures("real_processes")
def test_no_text_of_a_user_stays_in_its_arguments_environment_log_or_files(shell, tmp_path):
    """Of questions, documents, labels and instructions, answered and refused ones."""
    canary = "hunterCanary22!"
    (tmp_path / "letter.txt").write_text(f"The password: {canary}. " * 20)
    for command in (
        ["ask", f"Is {canary} right?", "-f", "letter.txt", *SHORT],
        ["ask", "-s", f"You know {canary}.", "--ctx", "16", "hello", *SHORT],
        ["classify", "--labels", f"{canary},no", "letter.txt"],
        ["ask", "--stop", canary, "--seed", "-1", "hello", *SHORT],
    ):
        shell(*command, "-v")
    worker = shell.worker()
    for name in ("cmdline", "environ"):
        assert canary.encode() not in Path(f"/proc/{worker['pid']}/{name}").read_bytes()
    logs = [Path(worker["log"]), *(file for file in Path(worker["log"]).parent.rglob("*") if file.is_file())]
    caches = [file for file in (tmp_path / "home").rglob("*") if file.is_file() and file.suffix != ".gguf"]
    for file in [*logs, *caches]:
        assert canary.encode() not in file.read_bytes(), file


@pytest.mark.usefixtures("real_processes")
def test_it_inherits_nothing(shell, tmp_path):
    """No terminal, descriptor, directory or secret; its files are private, whatever the umask."""
    inherited = os.open(tmp_path / "inherited", os.O_CREAT | os.O_RDWR)
    done = shell(*ASK, env={"HF_TOKEN": "secret", "LLMCLI_DATA_DIR": str(tmp_path / "data")},
                 pass_fds=[inherited], umask=0)  # fmt: skip
    os.close(inherited)
    assert done.code == 0, done.err
    status = shell.worker()
    proc = Path(f"/proc/{status['pid']}")
    targets = {int(link.name): str(link.readlink()) for link in (proc / "fd").iterdir()}
    assert targets[0] == targets[1] == "/dev/null" and targets[2] == status["log"]
    others = {target.partition(":")[0] for number, target in targets.items() if number > 2}
    assert others <= {"socket", "anon_inode", str(shell.model)}
    assert str((proc / "cwd").readlink()) == "/"
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    assert (fields[3], fields[4]) == (str(status["pid"]), "0")  # its own session, no terminal
    assert b"secret" not in (proc / "environ").read_bytes()
    for path, mode in ((shell.runtime, 0o700), (shell.paths().socket, 0o600), (Path(status["log"]), 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_pipes_end_with_the_command(shell):
    """A reader of a command's output does not wait for the worker."""
    done = subprocess.run(
        ["bash", "-c", f'x=$(python -m llmcli {" ".join(ASK)} 2>&1); echo "got: $x" | cat'],
        env=shell.environ(PATH=f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"),
        capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.stdout.startswith(b"got: ") and shell.worker()["requests"] == 1


@pytest.mark.slow
def test_many_commands_share_one_worker(shell):
    """Fifty commands at once: one worker, fifty right answers."""
    expected = shell(*ASK, "--set", "worker=off").out
    children = [shell.start(*ASK, "--deterministic") for _ in range(50)]
    outs = [child.communicate(timeout=120) for child in children]
    assert {child.returncode for child in children} == {0}, {err for _, err in outs}
    assert len({out for out, _ in outs}) == 1 and expected
    assert shell.worker()["requests"] == 50


def test_deterministic_answers_equal_those_without_a_worker(shell):
    """Bit for bit, in a batch with others."""
    words = (
        "ask",
        "tell me",
        "--max-tokens",
        "24",
        "--temperature",
        "1",
        "--seed",
        "7",
        "--no-stdin",
        "--deterministic",
    )
    alone = shell(*words, "--set", "worker=off").out
    children = [shell.start(*words) for _ in range(6)]
    assert {child.communicate(timeout=60)[0].decode() for child in children} == {alone}


def test_a_stale_socket_is_replaced(shell):
    """A crash leaves a socket without a listener."""
    shell(*ASK)
    pid = shell.worker()["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid))
    assert shell.paths().socket.exists()
    assert shell(*ASK).code == 0
    assert shell.worker()["pid"] != pid


def test_a_replaced_model_gets_its_own_worker(shell, tiny):
    """The old one ends when it is idle."""
    first = shell(*ASK)
    fresh = shell.model.with_name("fresh")
    fresh.write_bytes(tiny("gemma3").read_bytes())
    fresh.replace(shell.model)
    second = shell(*ASK)
    assert (first.code, second.code) == (0, 0) and len(shell.statuses()) == 2
    assert second.out == shell(*ASK, "--set", "worker=off").out


@pytest.mark.slow
def test_an_idle_worker_ends(shell):
    """After worker.idle_timeout, and it removes its socket."""
    shell(*ASK, env={"LLMCLI_WORKER_IDLE_TIMEOUT": "0.5"})
    pid = shell.worker()["pid"]
    wait_until(lambda: gone(pid))
    assert not list(shell.runtime.glob("*.sock"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["idle", "SIGTERM"])
def test_it_ends_without_its_directory_too(shell, how):
    """A logout removes the runtime directory; the worker must not stay for ever."""
    shell(*ASK, env={"LLMCLI_WORKER_IDLE_TIMEOUT": "0.5" if how == "idle" else "60"})
    status = shell.worker()
    shutil.rmtree(shell.runtime)
    if how == "SIGTERM":
        os.kill(status["pid"], signal.SIGTERM)
    wait_until(lambda: gone(status["pid"]))
    assert "leaves its socket" in Path(status["log"]).read_text()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(shell, signum):
    """No socket is left, and the log has the reason."""
    shell(*ASK)
    status = shell.worker()
    os.kill(status["pid"], signum)
    wait_until(lambda: gone(status["pid"]))
    assert not list(shell.runtime.glob("*.sock"))
    assert f"ends: {signum.name}" in Path(status["log"]).read_text()
    assert "hello" not in Path(status["log"]).read_text()


def test_sigterm_completes_an_answer(shell):
    """An answer that is nearly done is completed."""
    words = ("--max-tokens", "300", "--temperature", "0", "--no-stdin", "--ctx", "512")
    child = shell.start(
        "ask", "hello", *words, "--set", "threads=1"
    )  # several would wait for each other on a busy machine
    status = wait_until(lambda: [s for s in shell.statuses() if s["active"]])[0]
    os.kill(status["pid"], signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"") and len(out) > 1


@pytest.mark.parametrize("how", ["missing", "file", "open", "long"])
def test_without_a_directory_the_command_runs_the_engine_itself(shell, runtime, how):
    """It reports this with -v only."""
    path = {"missing": Path("/proc/nothing/here"), "long": runtime / ("x" * 90)}.get(how, runtime / "own")
    if how == "file":
        path.touch()
    elif how == "open":
        path.mkdir()
        path.chmod(0o777)
    env = {"LLMCLI_RUNTIME_DIR": str(path)}
    quiet, loud = shell(*ASK, env=env), shell(*ASK, "-v", env=env)
    assert (quiet.code, quiet.err) == (0, "") and quiet.out
    assert loud.code == 0 and "no worker, so the model runs in this process: " in loud.err


def test_another_user_is_refused(shell):
    """Even if the modes would allow access."""
    shell(*ASK)
    path = shell.paths().socket
    shell.runtime.chmod(0o755)
    path.chmod(0o666)
    code = f"""
import os, socket
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect({str(path)!r})
try:
    s.sendall(b"GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(s.recv(100))
except (ConnectionResetError, BrokenPipeError):
    print(b"")
"""
    done = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "b''", done.stderr
    shell.runtime.chmod(0o700)
    assert channel.request_json(path, "GET", "/health") == {"status": "ok"}


def test_a_disconnected_client_cancels_its_requests(shell):
    """Within a step: the worker is idle again at once, although the answer would have continued."""
    child = shell.start_long_answer()
    wait_until(lambda: any(status.get("active") for status in shell.statuses()))
    child.kill()
    child.communicate()
    wait_until(lambda: not shell.worker()["active"], 2.0)


def test_a_disconnected_openai_client_cancels_too(shell):
    """Streaming or not."""
    shell(*ASK)
    path = shell.paths().socket
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "max_tokens": 30000, "ignore_eos": True})
    for stream in ("false", "true"):
        text = body[:-1] + f', "stream": {stream}}}'
        connected = channel.connect_socket(path)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
        connected.sendall((head + text).encode())
        wait_until(lambda: shell.worker()["active"])
        connected.close()
        wait_until(lambda: not shell.worker()["active"], 2.0)


@pytest.mark.slow
def test_interactive_requests_come_before_bulk_ones(shell, tmp_path):
    """A chat's answer comes while a bulk job of many records is running."""
    records = tmp_path / "records.txt"
    records.write_text("".join(f"record {number} is good\n" for number in range(3000)))
    bulk = shell.start("sentiment", str(records), stdin=subprocess.DEVNULL)
    wait_until(lambda: any(status.get("active", 0) > 10 for status in shell.statuses()))
    done = shell(*ASK)
    assert done.code == 0
    assert bulk.poll() is None, "the bulk job should not be done"
    bulk.kill()
    bulk.communicate()


def test_garbage_does_not_hurt_it(shell):
    """Half a request, no HTTP, invalid lines, numbers of the wrong type."""
    shell(*ASK)
    path = shell.paths().socket
    head = b"POST /llm/session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    def chunk(data):
        return b"%x\r\n%b\r\n" % (len(data), data)

    def send(data):
        with channel.connect_socket(path, 0.1) as connected, suppress(TimeoutError, ConnectionResetError):
            connected.sendall(data)
            while connected.recv(65536):
                pass

    garbage = (
        b"\0\0\0\0", b"GET", b"GET / HTTP/9\r\n\r\n", head, head + b"zz\r\n", head + chunk(b"{\n"), head + chunk(b"[]\n"),
        head + chunk(b'{"options": 5}\n'), head + chunk(b'{"options": {"ctx": -5}}\n{"info": null}\n'),
        head + chunk(b'{"options": {"ctx": "x"}}\n{"info": null}\n'), head + chunk(b'{"options": {"x": 1}}\n'),
        head + chunk(b'{"options": {}}\n{"submit": {"id": "a"}}\n'),
        head + chunk(b'{"options": {}}\n{"submit": {"id": "a", "messages": [["user", 5]]}}\n'),
        head + chunk(b'{"options": {}}\n{"submit": {"id": "a", "messages": [["user", "x"]], "max_tokens": -5}}\n'),
        head + chunk(b'{"options": {}}\n{"submit": {"id": "a", "messages": [["user", "x"]], "deadline": "x"}}\n'),
        head + chunk(b'{"options": {}}\n{"what": 1}\n'),
    )  # fmt: skip
    with ThreadPoolExecutor(len(garbage)) as pool:
        list(pool.map(send, garbage))
    assert shell(*ASK).code == 0
    wait_until(lambda: not shell.worker()["active"])


def test_a_short_memory_ends_idle_workers(shell, tiny, tmp_path):
    """The least recently used one ends first; if the limit is too low, the command's process runs the model."""
    names = []
    for name in ("chatml", "gemma3"):
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(tiny(name).read_bytes())
        names.append(str(path))
    assert shell(*ASK, "-m", names[0]).code == 0
    memory = shell.worker()["memory"] >> 20
    assert shell(*ASK, "-m", names[1], env={"LLMCLI_WORKER_MEMORY": str(memory + 20)}).code == 0
    assert [status["path"] for status in shell.statuses()] == [names[1]]
    done = shell(*ASK, "-v", env={"LLMCLI_WORKER_MEMORY": "1"})
    assert done.code == 0 and "in this process" in done.err


@pytest.mark.slow
def test_a_chat_survives_the_end_of_an_idle_worker(shell):
    """It releases the worker, and starts another one for the next question."""
    child = shell.start(
        "chat", stdin=subprocess.PIPE, env={"LLMCLI_WORKER_IDLE_TIMEOUT": "0.6", "LLMCLI_MAX_TOKENS": "4"}
    )
    child.stdin.write(b"hello\n")
    child.stdin.flush()
    first = wait_until(lambda: [s for s in shell.statuses() if s["requests"]])[0]["pid"]
    wait_until(lambda: gone(first))
    child.stdin.write(b"again\n")
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert out.count(b"\n") >= 2


@pytest.mark.slow
def test_time_spent_waiting_is_bounded(shell):
    """--timeout also applies to answers from a worker."""
    assert shell(*ASK).code == 0  # the worker exists before the time is measured
    text = shell.directory / "long.txt"  # much, since a random model may end any single answer soon
    text.write_text("".join(f"Paragraph {number} of this text.\n\n" for number in range(3000)))
    started = time.monotonic()
    done = shell("translate", "--to", "fr", "--no-tm", str(text), "--timeout", "1")
    assert done.code == 124 and time.monotonic() - started < 20
    wait_until(lambda: not shell.worker()["active"], 2.0)


@pytest.mark.parametrize("limit", ["-n 200", "-t 100", "-v 20000000", "-f 1000000"])
def test_a_command_under_limits_starts_no_worker_for_others(shell, limit):
    """It runs the model itself, and reports this with -v."""
    words = shlex.join([sys.executable, "-m", "llmcli", *ASK, "-v"])
    done = subprocess.run(
        ["bash", "-c", f"ulimit {limit}; {words}"], env=shell.environ(), capture_output=True, check=False, text=True
    )
    assert done.returncode == 0 and done.stdout and "limit on" in done.stderr
    assert shell.statuses() == []


def test_a_nice_command_has_its_own_worker(shell):
    """Otherwise the worker of all commands would be as slow as this one."""
    shell(*ASK)
    shell(*ASK, preexec_fn=lambda: os.nice(5))
    own = os.nice(0)
    assert sorted(os.getpriority(os.PRIO_PROCESS, status["pid"]) for status in shell.statuses()) == [own, own + 5]


def test_a_worker_has_its_own_umask(shell):
    """Whichever command starts it."""
    shell(*ASK, umask=0o777)
    status = Path(f"/proc/{shell.worker()['pid']}/status").read_text()
    assert re.search(r"^Umask:\s+0077$", status, re.MULTILINE)


def test_a_log_that_cannot_be_written_ends_no_worker(shell):
    """For example on a full disk."""
    log = shell.directory / "home" / "cache" / "workers"
    log.mkdir(parents=True)
    (log / f"{str(shell.model).replace('/', '_')}.log").symlink_to("/dev/full")
    first, second = shell(*ASK, "-v"), shell(*ASK, "-v")
    assert (first.code, second.code) == (0, 0)


def test_an_unreaped_zombie_has_ended():
    """`llm worker stop` does not wait for a process whose parent does not reap it."""
    with subprocess.Popen(["true"]) as child:
        wait_until(lambda: worker_status._is_zombie(child.pid))
    assert not worker_status._is_zombie(os.getpid()) and not worker_status._is_zombie(child.pid)
