"""A worker that kills itself once, after so many more events: ``llmcli.worker`` as an out-of-memory killer sees it.

The file named by ``LLAMA_TEST_KILL`` holds the number of events; it is removed before the kill. The variable begins with
"LLAMA_", so that workers inherit it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from llmcli.worker import protocol
from llmcli.worker.server import worker_main

VARIABLE = "LLAMA_TEST_KILL"


def main() -> None:
    """Run the worker."""
    dump_event, file, left = protocol.dump_event, Path(os.environ[VARIABLE]), None

    def dump_or_die(event):
        nonlocal left
        if file.exists():
            left = (int(file.read_text()) if left is None else left) - 1
            if left < 0:
                file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return dump_event(event)

    protocol.dump_event = dump_or_die
    worker_main.main(*sys.argv[1:])


if __name__ == "__main__":
    main()
