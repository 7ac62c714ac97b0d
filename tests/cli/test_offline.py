"""Offline: with a local model no verb opens a socket, and a forbidden network is never used."""

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
SHORT = ["--max-tokens", "2", "--seed", "1"]  # without a seed, a random model sometimes answers nothing
# Python loads a module of this name at its start, so it is also in every process that a command starts.
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
    """Return the beginning of a command that records the network calls of native code too, if strace works."""
    command = ["strace", "-f", "-e", "trace=network", "-o", str(log)]
    works = (
        shutil.which("strace") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    )
    return command if works else []


@pytest.fixture
def watched(hub, tmp_path):
    """Return a function that runs commands in one process, and returns their codes and network calls."""
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


@pytest.mark.slow
def test_no_verb_opens_a_socket(watched, here, hub, tmp_path):
    """Every command with a pulled model, including the processes that it starts."""
    hub.asked.clear()
    text = tmp_path / "notes.txt"
    text.write_text("Good morning to you.\n")
    batch = tmp_path / "requests.jsonl"
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    batch.write_text(json.dumps(request))
    part, summary = tmp_path / "part.csv", tmp_path / "summary.txt"
    people = tmp_path / "people.txt"
    people.write_text("{person} said that {they} called.\n")
    verbs = {
        "ask": ["ask", "hi", *SHORT],
        "command": ["command", "list files", *SHORT],
        "chat": ["chat"],
        "translate": ["translate", "--to", "fr", str(text), *SHORT],
        "summarize": ["summarize", str(text), *SHORT],
        "sentiment": ["sentiment", str(text)],
        "classify": ["classify", "--labels", "good,bad", str(text)],
        "extract": ["extract", "--schema", "name", str(text)],
        "check": ["check", str(text), "--against", str(text), "--threshold", "0"],
        "proofread": ["proofread", str(text)],
        "run-batch": ["run-batch", "-i", str(batch)],
        "verify": ["verify", str(summary)],
        "embed": ["embed", str(text)],
        "quiz": ["quiz", "make", str(text)],
        "tokens": ["tokens", str(text)],
        "similar": ["similar", "a greeting", str(text)],
        "filter": ["filter", "--threshold", "0", "someone greets", str(text)],
        "generate": ["generate", "poem", "--var", "topic=rain", *SHORT],
        "audit": ["audit", "sentiment", "--swap", "pronouns", str(people)],
        "models": ["models", "list"],
        "engine": ["engine", "list"],
        "merge": ["merge", str(part), "-o", str(tmp_path / "whole.csv")],
        "index": ["index", "add", "--embed", str(text)],
        "tm": ["tm", "list"],
        "prompts": ["prompts", "list"],
        "backends": ["backends", "list"],
        "calibrations": ["calibrations", "list"],
        "keys": ["keys", "list"],
        "redact": ["redact", str(text)],
        "config": ["config", "show"],
        "sessions": ["sessions", "list"],
        "logs": ["logs", "list"],
        "worker": ["worker", "list"],
        "doctor": ["doctor"],
        "completion": ["completion", "bash"],
        "help": ["help", "security"],
    }
    report = ["generate", "report", "rain", "--words", "60", *SHORT]
    more = [["models", "pull", here], ["models", "show", here], ["models", "verify"], report]
    listens = {"serve"}  # that is its purpose; tests/serve checks its clients
    asks = {"label"}  # it needs a terminal; it scores records as classify does
    shard = ["classify", "--labels", "good,bad", "--shard", "1/1", "-o", str(part), str(text)]
    described = ["summarize", "--provenance", "-o", str(summary), str(text), *SHORT]
    commands = [
        shard,
        described,
        *(verbs[command.name] for command in COMMANDS if command.name not in listens | asks),
        *more,
    ]
    codes, calls = watched(*commands, model=here)
    found = zip(commands, codes, strict=True)
    may_be_empty = report  # of random words, none may be left
    assert [argv for argv, code in found if code not in ({0, 1, 3} if argv is may_be_empty else {0, 3})] == []
    assert calls == []
    assert hub.asked == []


@pytest.mark.slow
def test_a_worker_opens_only_its_own_socket(watched, here, hub, monkeypatch):
    """The worker process listens to this user's commands, and to no network."""
    hub.asked.clear()
    with tempfile.TemporaryDirectory(prefix="llm", dir="/tmp") as runtime:  # a path short enough for sockets
        monkeypatch.setenv("LLMCLI_RUNTIME_DIR", runtime)
        monkeypatch.setenv("LLMCLI_WORKER", "on")
        commands = [["ask", "hi", *SHORT], ["ask", "ho", *SHORT], ["worker", "list"], ["worker", "stop"]]
        codes, calls = watched(*commands, model=here)
    assert (codes, calls, hub.asked) == ([0, 0, 0, 0], [], [])


@pytest.mark.slow
def test_a_pull_is_detected(watched, hub, tmp_path):
    """The monitor of the test above works: a download opens sockets, and strace sees them if it works."""
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
def test_pull_respects_offline_at_once(llm, hub, argv, env):
    """Whether an option, the Hub's own variables or a setting forbids the network, it is 69 with that origin."""
    run = llm("models", "pull", REPO, *argv, env=env)
    assert (run.code, run.out, hub.asked) == (69, "", [])
    assert (argv or list(env))[0] in run.err


def test_a_local_model_needs_no_network(llm, here, hub):
    """Offline, a local model is ready, also for pull; nothing is asked."""
    hub.asked.clear()
    assert llm("models", "pull", here, "--offline").code == 0
    assert llm("ask", "hi", "-m", here, "--offline").code == 0
    assert hub.asked == []
