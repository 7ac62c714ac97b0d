"""``python -m llmcli.worker SOCKET PLAN``: the worker's process, started by ``start.Starter`` and by nobody else.

SOCKET is the number of a listening socket's descriptor, PLAN a ``start.Plan`` as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import resource
import socket
import sys
import time
from pathlib import Path

from llmcli.engine import native
from llmcli.worker.engines import Engines
from llmcli.worker.start import BACKLOG, INHERITED, Plan

_DESCRIPTORS = 8192


def say(text: str) -> None:
    """Write a line to the log; never a word of anybody's prompt."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {os.getpid()} {text}\n"
    with contextlib.suppress(OSError):  # a full disk ends no worker
        os.write(2, line.encode("utf-8", "replace"))


def main(descriptor: str, plan_text: str) -> None:
    """Serve until there is nothing to do for long enough, or a signal comes."""
    faulthandler.enable()  # a crash in native code says which, in the log
    native.on_abort = lambda message: say(f"aborts: {message}")
    listening = socket.socket(fileno=int(descriptor))
    os.set_inheritable(listening.fileno(), False)
    listening.listen(BACKLOG)  # again, so that who connects is told this process as its peer
    for limit in INHERITED:
        soft, hard = resource.getrlimit(limit)
        wanted = hard if limit != resource.RLIMIT_NOFILE else min(hard, _DESCRIPTORS)
        resource.setrlimit(limit, (max(soft, wanted), hard))
    plan = Plan(**json.loads(plan_text))
    say(f"starts: {plan.name}, {plan.path}")
    engines = Engines(Path(plan.path), plan.name, plan.model_id, plan.gpu_layers)
    # the model is being loaded while this is imported
    from llmcli.worker.server import Server

    with contextlib.closing(engines):
        asyncio.run(Server(plan, engines, listening, say).serve_worker())
    say("ended")


if __name__ == "__main__":
    main(*sys.argv[1:])
