"""Which weights of a model answer: its own, or a copy in another type; and making that copy if the user asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.errors import UsageError
from llmcli.runtime.weights.chosen_weights import ORIGINAL_CHOICE, ChosenWeights
from llmcli.settings import AUTO_WEIGHTS, ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from llmcli.app_paths import AppPaths
    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig
    from llmcli.settings import Settings


def choose_weights(model: ModelFile, verb: str, settings: Settings, paths: AppPaths) -> str:
    """Return the type that ``auto`` means for a command: "original" unless a measurement has shown that another pays.

    The copy in that type is used if it exists; it is not made here.
    """
    del model, verb, settings, paths  # nothing is measured yet
    return ORIGINAL_WEIGHTS


def resolve_weights(config: RunConfig, models: ModelLibrary, model: ModelFile, verb: str = "") -> ChosenWeights:
    """Return the weights of ``model`` for a run; a type that the user asked for is made first, with progress.

    For "auto", a copy that is missing or cannot be loaded is not used. Raises ``UsageError`` if
    ``--deterministic`` and ``--weights TYPE`` are given together; for an explicit type ``OutOfMemory`` and what
    ``derive_copy`` raises.
    """
    settings = config.settings
    wanted = settings["weights"]
    if wanted == ORIGINAL_WEIGHTS:
        return ORIGINAL_CHOICE
    if settings["deterministic"]:
        if wanted != AUTO_WEIGHTS and settings.origin("weights").startswith("--"):
            raise UsageError(
                f"--deterministic needs the original weights, not --weights {wanted}", detail="Leave one of them out."
            )
        return ORIGINAL_CHOICE
    if wanted != AUTO_WEIGHTS:
        from llmcli.runtime.weights.derived_models import prepare_explicit

        return prepare_explicit(config, models, model, wanted)
    chosen = choose_weights(model, verb, settings, config.paths)
    if chosen == ORIGINAL_WEIGHTS:
        return ORIGINAL_CHOICE
    from llmcli.runtime.weights.derived_models import find_usable

    return find_usable(config, models, model, chosen)
