"""The engine in this process as a backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.interrupt import Interrupt
from llmcli.types import EngineOptions

if TYPE_CHECKING:
    from llmcli.backends.base import Backend

__all__ = ["EngineOptions", "LocalBackend"]


def LocalBackend(path: Path, *, name: str, model_id: str, options: EngineOptions, interrupt: Interrupt) -> Backend:  # noqa: N802
    """Start loading the model at ``path`` and return at once; see ``engine.engine.Engine`` for what it raises later."""
    from llmcli.engine.engine import Engine

    return Engine(path, name, model_id, options, lambda: interrupt.error)
