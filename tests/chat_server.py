"""Chats on terminals with a scripted model: processes forked from one that has imported everything, so they start at once.

As a script it reads requests, one JSON object a line: ``start`` a chat on a terminal, or ``wait`` for the end of one.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import string
import subprocess
import sys
import threading
import time

import scripted
from scripted import Reply, last_message
from terminal import ROOT

PATIENCE_S = 20
MAX_ECHOED_CHARS = 1000
STALLED = "a text on which the model gets no further"
"""A request about this text, other than a message, gets no answer."""


def paragraph(number: int) -> str:
    """Return a long paragraph about names that occur in no other one."""
    choice = random.Random(number)
    names = ("".join(choice.choices(string.ascii_lowercase, k=12)).title() for _ in range(4))
    return f"{number} " + " ".join(f"The quick brown fox jumps over {name}." for name in names)


ANSWERS = {
    "stall": Reply("so far", stalls=True),
    "silence": Reply(stalls=True),
    "controls": "left\x1b]0;evil\x07right \x1b[31mred\x9b2J\u202eend",
    "repeat": "again and again " * 2000,
    "long": "\n\n".join(map(paragraph, range(40))) + "\n\nThe end.",
    "tour": """\
## Three days by bicycle

The route follows the river, so that it stays **flat**:

1. *Day one*: 42 km to the old mill, on a quiet road
2. *Day two*: 38 km through the forest; take water with you
3. *Day three*: back by train with `RB 26`

```sh
llm ask -f weather.txt "Will it rain on Friday?"
```

> The mill is closed on Mondays.
""",
    "blocks": "First block.\n\nSecond block.\n\nThird block, which is open",
}


def answer(request):
    """Return the answer that belongs to a message, or the message itself."""
    said = last_message(request).strip()
    if STALLED in said and said != STALLED:
        return Reply(stalls=True)
    return ANSWERS.get(
        said, f"You said: {said}" if len(said) < MAX_ECHOED_CHARS else f"{said.count(chr(10)) + 1} lines"
    )


class LoadingBackend(scripted.ScriptedBackend):
    """A model whose first loading does not end before a signal."""

    loaded = False

    def info(self):
        """Return what the model can do, once it is loaded."""
        if "SCRIPTED_LOADING" in os.environ and not self.loaded:
            self.loaded = True
            os.write(2, b"loading")
            while not self.interrupt.requested:
                time.sleep(0.01)
            self.interrupt.check()
        return super().info()


class ChatServer:
    """Starts chats; ``close`` it at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chat_server"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _request(self, **fields) -> int:
        with self._lock:
            print(json.dumps(fields), file=self._process.stdin, flush=True)
            return int(self._process.stdout.readline())

    def start(self, argv, tty, env, cwd) -> int:
        """Start ``llm ARGV`` on the terminal ``tty``; return the id of the process."""
        return self._request(argv=argv, tty=tty, env=env, cwd=cwd)

    def wait(self, pid) -> int:
        """Return the exit code of a process, negative for a signal."""
        return self._request(wait=pid)

    def close(self) -> None:
        """End the process from which chats are forked."""
        self._process.communicate()


def serve() -> None:
    """Answer requests until the end of the input."""
    import prompt_toolkit  # noqa: F401 (imported once, before the forks)
    import rich.markdown  # noqa: F401 (as above)

    import llmcli.cli.commands.chat.chat_commands
    import llmcli.cli.commands.chat.line_editor
    from llmcli.cli.commands.chat import chat
    from llmcli.runtime import backend_factory

    assert chat
    backend_factory.open_local_backend = lambda *_, name, interrupt, **__: LoadingBackend(
        answer,
        model=name,
        interrupt=interrupt,
        context=int(os.environ.get("SCRIPTED_CONTEXT", "200000")),
        stops_repetition=True,
    )
    llmcli.cli.commands.chat.chat_commands.slash_commands()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(_wait_for_end(request["wait"]), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            _run_chat(request)


def _wait_for_end(pid) -> int:
    """Return the exit code of a process; one that does not end is killed."""
    handle = os.pidfd_open(pid)
    if not select.select([handle], [], [], PATIENCE_S)[0]:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run_chat(request) -> None:
    from llmcli.cli.main import run

    os.setsid()
    terminal = os.open(request["tty"], os.O_RDWR)  # the first one of a session controls it
    for descriptor in (0, 1, 2):
        os.dup2(terminal, descriptor)
    os.close(terminal)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["llm", *request["argv"]]
    run()


if __name__ == "__main__":
    serve()
