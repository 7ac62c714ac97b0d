"""The engine in this process as a backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.configuration.engine_options import EngineOptions
from llmcli.interrupt import Interrupt

if TYPE_CHECKING:
    from llmcli.backends.base import Backend

__all__ = ["EngineOptions", "open_local_backend"]


def open_local_backend(
    path: Path,
    *,
    name: str,
    model_id: str,
    options: EngineOptions,
    interrupt: Interrupt,
    on_loading: Callable[[float], None] = lambda _share: None,
) -> Backend:
    """Start loading the model at ``path`` and return; see ``engine.engine.Engine`` for what it raises later.

    A model that was never loaded here, according to ``options.cache``, is checked first: see ``load_check.check_once``
    for what that raises. ``on_loading``: see ``Engine``.
    """
    from llmcli.engine.engine import Engine
    from llmcli.engine.llama import load_check

    if options.cache is not None:
        load_check.check_once(
            path,
            model_id,
            options.cache,
            gpu_layers=options.gpu_layers,
            stop=lambda: interrupt.error,
            adapters=options.adapters,
        )
    return Engine(path, name, model_id, options, lambda: interrupt.error, on_loading=on_loading)
