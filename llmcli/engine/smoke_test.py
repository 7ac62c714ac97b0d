"""Loads a model file as the engine does, generates two tokens, and scores one, which must have finite logits.

As a program (``python -m llmcli.engine.smoke_test FILE GPU_LAYERS TIMEOUT ADAPTERS``) it is the child of
``load_check``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from llmcli.config.engine_options import EngineOptions, LoraAdapter, load_adapters
from llmcli.engine.engine import Engine
from llmcli.engine.llama import bindings
from llmcli.engine.llama.load_check import AUTO_LAYERS, EXIT_KNOWN_ERROR
from llmcli.errors import LlmError, LogitOverflow
from llmcli.types import Finished, Message, Request, Role, Sampling


def smoke_test(path: Path, gpu_layers: int | None, adapters: tuple[LoraAdapter, ...] = ()) -> None:
    """Load the model at ``path`` in this process, generate two tokens and score one. Raises what the engine raises."""
    options = EngineOptions(gpu_layers=gpu_layers, adapters=adapters)
    engine = Engine(path, path.name, "probe", options, lambda: None)
    with engine.open() as job:
        hello = (Message(Role.USER, "hello"),)
        job.submit(Request("probe", hello, max_tokens=2, sampling=Sampling(temperature=0), ignore_eos=True))
        job.submit(Request("scored", hello, candidates=(" hello",)))
        job.close_input()
        for event in job:
            if isinstance(event, Finished) and event.error is not None:
                raise event.error


def _write_stderr(text: str) -> None:
    os.write(2, text.encode())


def _main(path: str, layers: str, timeout_s: str, adapters: str = "") -> None:
    """Test the file and end the process: with 0, or ``EXIT_KNOWN_ERROR`` for an error that the engine will meet too."""
    import resource

    signal.alarm(int(float(timeout_s)) + 1)  # in case the parent is gone
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bindings.on_abort = lambda message: _write_stderr(message + "\n")
    try:
        smoke_test(Path(path), None if layers == AUTO_LAYERS else int(layers), load_adapters(adapters))
    except LogitOverflow as error:
        _write_stderr(f"{error.detail}\n")
        os.abort()  # as for a failed assertion
    except (LlmError, MemoryError):
        os._exit(EXIT_KNOWN_ERROR)
    os._exit(0)  # without freeing the model


if __name__ == "__main__":
    _main(*sys.argv[1:])
