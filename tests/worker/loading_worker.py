"""A worker that loads its model until it is stopped, like a file of many gigabytes."""

from __future__ import annotations

import sys
import time

from llmcli.engine.llama import model
from llmcli.errors import InternalError
from llmcli.worker.server import worker_main


def load(path, *, keep_going, **_):
    """Load endlessly."""
    while keep_going():
        time.sleep(0.01)
    raise InternalError(str(path), detail="cancelled")


if __name__ == "__main__":
    model.Model = load
    worker_main.main(*sys.argv[1:])
