"""The model that is recommended to a user who has none: for a command and this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.cli import command_registry
from llmcli.errors import ModelTooLarge, UnavailableError
from llmcli.models.recommend import Recommendation, recommend_models

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.models.memory_estimate import FitPolicy

_DEFAULT_TASK = "chat"


def recommended_model(models: ModelLibrary, policy: FitPolicy, verb: str) -> Recommendation | None:
    """Return the best model for ``verb`` that fits this machine and is no toy; None if there is none."""
    command = command_registry.find_command(verb)
    task = _DEFAULT_TASK if command is None or not command.model_task else command.model_task
    try:
        picks = recommend_models(models.catalogue_entries(), task, (), policy)
    except (ModelTooLarge, UnavailableError):
        return None
    return next((pick for pick in picks if not pick.is_toy), None)
