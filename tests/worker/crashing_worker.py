"""A worker that a certain word crashes: ``llmcli.worker`` whose engine aborts like a failed assertion of llama.cpp."""

from __future__ import annotations

import os
import sys

from llmcli.engine.engine import Engine
from llmcli.engine.llama import bindings
from llmcli.worker.server import worker_main

WORD = "killer"


def main() -> None:
    """Run the worker."""
    submit = Engine.submit

    def fatal(self, request, sink):
        if any(WORD in message.content for message in request.messages):
            bindings.on_abort("/somewhere/ggml.c:1: GGML_ASSERT(word != killer) failed")
            os.abort()
        submit(self, request, sink)

    Engine.submit = fatal
    worker_main.main(*sys.argv[1:])


if __name__ == "__main__":
    main()
