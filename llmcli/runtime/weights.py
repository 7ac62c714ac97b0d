"""Which weights of a model answer: its own, or a copy in another type; and making that copy if the user asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.errors import UsageError
from llmcli.frozen_dataclass import frozen
from llmcli.settings import AUTO_WEIGHTS, ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from llmcli.app_paths import AppPaths
    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.derived_copy import DerivedCopy
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig
    from llmcli.settings import Settings


@frozen
class ChosenWeights:
    """The weights that a run uses: "original", or the type of ``copy``.

    ``automatic``: llm chose them, so it may go back to the original where they cannot be loaded.
    """

    weights: str = ORIGINAL_WEIGHTS
    copy: DerivedCopy | None = None
    automatic: bool = True

    def loaded_file(self, model: ModelFile) -> ModelFile:
        """Return the model as its weights will be loaded: path, size and hash are those of the copy."""
        if self.copy is None:
            return model
        from dataclasses import replace

        return replace(
            model, path=self.copy.path, size=self.copy.size, sha256=self.copy.sha256, parts=(self.copy.path,)
        )


ORIGINAL_CHOICE = ChosenWeights()


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
        from llmcli.runtime.derived_models import prepare_explicit

        return prepare_explicit(config, models, model, wanted)
    chosen = choose_weights(model, verb, settings, config.paths)
    if chosen == ORIGINAL_WEIGHTS:
        return ORIGINAL_CHOICE
    from llmcli.runtime.derived_models import find_usable

    return find_usable(config, models, model, chosen)
