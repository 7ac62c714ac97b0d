"""The weights that were chosen for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.frozen_dataclass import frozen
from llmcli.settings import ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.derived_copy import DerivedCopy


@frozen
class ChosenWeights:
    """The weights that a run uses: "original", or the type of ``copy`` (None: a worker that runs finds it).

    ``automatic``: llm chose them, so it may go back to the original where they cannot be loaded.
    """

    weights: str = ORIGINAL_WEIGHTS
    copy: DerivedCopy | None = None
    automatic: bool = True

    def loaded_file(self, model: ModelFile) -> ModelFile:
        """Return the model as its weights will be loaded: path, size and hash are those of the copy."""
        if self.copy is None:
            return model
        from llmcli.frozen_dataclass import replace

        return replace(
            model, path=self.copy.path, size=self.copy.size, sha256=self.copy.sha256, parts=(self.copy.path,)
        )


ORIGINAL_CHOICE = ChosenWeights()
