"""The draft model of a run: which one, and the checks before it is loaded beside the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmcli.errors import UsageError
from llmcli.settings import NO_DRAFT

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelFile
    from llmcli.runtime.run_config import RunConfig

DRAFTING_VERBS = frozenset({"ask", "chat", "generate", "summarize", "translate", "serve"})
"""Commands whose models write text; drafts are of no use for scores."""


def wants_draft(config: RunConfig, verb: str) -> bool:
    """Return whether the settings name a draft model that the command uses."""
    return config.settings["draft"] != NO_DRAFT and verb in DRAFTING_VERBS


def find_draft(config: RunConfig, model: ModelFile, find_verified: Callable[[str], ModelFile]) -> ModelFile | None:
    """Return the draft model of the settings, found and verified by ``find_verified``, to draft for ``model``.

    None if the configuration, not the command line, names ``model`` itself. A file that was never loaded here is
    tried first, in a separate process. Raises ``UsageError`` for ``--draft`` with the model itself, and what
    ``find_verified`` and ``check_once`` raise.
    """
    draft, origin = find_verified(config.settings["draft"]), config.settings.origin("draft")
    if draft.path.samefile(model.path):
        if origin.startswith("--"):
            raise UsageError(
                f"{draft.name} cannot draft for itself", detail="Try: --draft with a smaller model of the same family"
            )
        config.observer.explain(f"no draft model: {draft.name} is the model itself ({origin})")
        return None
    from llmcli.engine.llama import load_check

    load_check.check_once(
        draft.path,
        draft.sha256 or str(draft.path),
        config.paths.cache,
        gpu_layers=None if config.settings["gpu_layers"] == "auto" else config.settings["gpu_layers"],
        stop=lambda: config.interrupt.error,
    )
    config.observer.explain(f"draft model {draft.name} ({origin})")
    return draft
