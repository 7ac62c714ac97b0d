"""``python -m llmcli.worker SOCKET CONFIG``: the worker's process, started by ``WorkerLauncher`` alone."""

from __future__ import annotations

import sys

from llmcli.worker.server.worker_main import main

if __name__ == "__main__":
    main(*sys.argv[1:])
