"""Offline by construction: with the model here no verb opens a socket, and who forbids the network is obeyed at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from fake_hub import REPO

from llmcli.cli.command_registry import COMMANDS

ROOT = Path(__file__).parents[2]
SHORT = ["--max-tokens", "2", "--seed", "1"]  # without a seed, a random model says nothing now and then
# Python loads a module of this name at its start, so it is in every process that a command starts, too.
WATCH = """
import sys

def watch(event, args):
    if not event.startswith("socket.") or event == "socket.gethostname":
        return
    local = isinstance(args[1], (str, bytes)) if event in {"socket.connect", "socket.bind"} else False
    if not local and not (event == "socket.__new__" and args[1] in {1, -1}):  # AF_UNIX; a descriptor
        with open({log!r}, "a") as log:
            print(event, args[1:], file=log)

sys.addaudithook(watch)
"""
RUN = """
import json, sys
from llmcli.cli.main import main
codes = [main(argv) for argv in json.loads(sys.argv[1])]
print(json.dumps(codes), file=sys.stderr)
"""


def tracer(log: Path) -> list[str]:
    """Return the beginning of a command that writes down the network calls of native code too, where strace works."""
    command = ["strace", "-f", "-e", "trace=network", "-o", str(log)]
    works = (
        shutil.which("strace") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    )
    return command if works else []


@pytest.fixture
def watched(hub, tmp_path):
    """Return a function that runs commands in one process, and returns their codes and what they did with the network."""
    (tmp_path / "watch").mkdir()
    logs = [tmp_path / "sockets", tmp_path / "calls"]
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH.replace("{log!r}", repr(str(logs[0]))))

    def run(*commands, model):
        environ = {**os.environ, "LLMCLI_MODEL": model, "TERM": "dumb"}
        environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "watch"), str(ROOT)])
        done = subprocess.run(
            [*tracer(logs[1]), sys.executable, "-c", RUN, json.dumps(commands)],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        sys.stdout.write(done.stderr)  # pytest shows it when a test fails
        found = "".join(log.read_text() for log in logs if log.exists()).splitlines()
        calls = [line for line in found if line.startswith("socket.") or "AF_INET" in line]
        return json.loads(done.stderr.splitlines()[-1]), calls

    return run


def test_no_verb_opens_a_socket(watched, here, hub, tmp_path):
    """Every command that there is, with a model that was pulled before; processes that a command starts included."""
    hub.asked.clear()
    text = tmp_path / "notes.txt"
    text.write_text("Good morning.\n")
    verbs = {
        "ask": ["ask", "hi", *SHORT],
        "chat": ["chat"],
        "translate": ["translate", "--to", "fr", str(text), *SHORT],
        "summarize": ["summarize", str(text), *SHORT],
        "sentiment": ["sentiment", str(text)],
        "generate": ["generate", "poem", "--var", "topic=rain", *SHORT],
        "models": ["models", "list"],
        "tm": ["tm", "show"],
        "prompts": ["prompts", "list"],
        "config": ["config", "show"],
        "sessions": ["sessions", "list"],
        "worker": ["worker", "list"],
        "doctor": ["doctor"],
        "completion": ["completion", "bash"],
        "help": ["help", "security"],
    }
    more = [["models", "pull", here], ["models", "show", here], ["models", "verify"]]
    listens = {"serve"}  # that is what it is for; tests/serve says to whom
    commands = [*(verbs[command.name] for command in COMMANDS if command.name not in listens), *more]
    codes, calls = watched(*commands, model=here)
    assert [argv for argv, code in zip(commands, codes, strict=True) if code not in {0, 3}] == []
    assert calls == []
    assert hub.asked == []


def test_a_worker_opens_no_other_socket_than_its_own(watched, here, hub, monkeypatch):
    """The process that keeps a model warm listens to this user's commands, and to no network."""
    hub.asked.clear()
    with tempfile.TemporaryDirectory(prefix="llm", dir="/tmp") as runtime:  # a path short enough for sockets
        monkeypatch.setenv("LLMCLI_RUNTIME_DIR", runtime)
        monkeypatch.setenv("LLMCLI_WORKER", "on")
        commands = [["ask", "hi", *SHORT], ["ask", "ho", *SHORT], ["worker", "list"], ["worker", "stop"]]
        codes, calls = watched(*commands, model=here)
    assert (codes, calls, hub.asked) == ([0, 0, 0, 0], [], [])


def test_a_pull_is_seen(watched, hub, tmp_path):
    """The watch of the test above works: what has to be fetched opens sockets, and strace sees them where it works."""
    codes, calls = watched(["models", "pull", REPO], model=REPO)
    assert codes == [0] and any(line.startswith("socket.connect") for line in calls)
    assert any("AF_INET" in line for line in calls) or not tracer(tmp_path / "trial")


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (["--offline"], {}),
        ([], {"HF_HUB_OFFLINE": "1"}),
        ([], {"TRANSFORMERS_OFFLINE": "yes"}),
        ([], {"LLMCLI_OFFLINE": "on"}),
    ],
)
def test_pull_obeys_at_once(llm, hub, argv, env):
    """With the network off, by an option, the Hub's own variables or a setting, it is 69 and the message names the origin."""
    run = llm("models", "pull", REPO, *argv, env=env)
    assert (run.code, run.out, hub.asked) == (69, "", [])
    assert (argv or list(env))[0] in run.err


def test_what_is_here_needs_no_permission(llm, here, hub):
    """Offline, a model that is here is ready, also for pull; nothing is asked."""
    hub.asked.clear()
    assert llm("models", "pull", here, "--offline").code == 0
    assert llm("ask", "hi", "-m", here, "--offline").code == 0
    assert hub.asked == []
