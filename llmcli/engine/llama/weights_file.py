"""The file that holds the weights of a model: its own, or a copy of it in another type (derived weights)."""

from __future__ import annotations

from pathlib import Path

from llmcli import engine_library
from llmcli.app_paths import DERIVED_DIRECTORY
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama import bindings
from llmcli.errors.model_errors import DerivedWeightsMissing
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.models.library.derived_weights import DerivedKey, DerivedWeightsStore, HeldCopy
from llmcli.settings import ORIGINAL_WEIGHTS

_RECIPE = "1"
"""Changes when copies of the same type are made differently."""


def build_id() -> str:
    """Return what the copies made here depend on: the recipe, the engine, and the processor.

    The processor does not change a copy, but it decides whether a copy pays, and machines may share a cache.
    """
    return f"{_RECIPE} {bindings.engine_id()} {engine_library.processor_name()}"


def derived_key(model_id: str, weights: str) -> DerivedKey:
    """Return the key of a model's copy in a type; ``model_id`` is the SHA-256 of its file."""
    return DerivedKey(model_id, weights, build_id())


@frozen
class WeightsSource:
    """Which file a model is loaded from: ``path``, or with ``weights`` a copy of it in ``cache``.

    ``model_id``: the SHA-256 of ``path``; ``name`` is the model's name. Both serve to find the copy.
    """

    path: Path
    weights: str = ORIGINAL_WEIGHTS
    name: str = ""
    model_id: str = ""
    cache: Path | None = None

    @classmethod
    def from_options(cls, path: Path, name: str, model_id: str, options: EngineOptions) -> WeightsSource:
        """Return the source that engine options choose."""
        if options.weights == ORIGINAL_WEIGHTS:
            return cls(path)
        return cls(path, options.weights, name, model_id, options.cache)

    def open(self) -> OpenWeights:
        """Return the file to load. Raises ``DerivedWeightsMissing``."""
        if self.weights == ORIGINAL_WEIGHTS:
            return OpenWeights(self.path)
        held = None
        if self.cache is not None:
            store = DerivedWeightsStore(self.cache / DERIVED_DIRECTORY, limit_bytes=0)
            held = store.hold(derived_key(self.model_id, self.weights))
        if held is None:
            raise DerivedWeightsMissing(self.name, weights=self.weights)
        return OpenWeights(held.copy.path, held)

    def refuse_damaged_copy(self, weights: OpenWeights) -> None:
        """Remove a copy that cannot be loaded, and raise ``DerivedWeightsMissing``, if it is damaged."""
        if weights.copy is not None and self.cache is not None:
            store = DerivedWeightsStore(self.cache / DERIVED_DIRECTORY, limit_bytes=0)
            if store.remove_if_damaged(weights.copy, Interrupt()):
                raise DerivedWeightsMissing(self.name, weights=self.weights)


class OpenWeights:
    """A file of weights; a ``copy`` stays in its store until ``close``."""

    def __init__(self, path: Path, held: HeldCopy | None = None) -> None:
        self.path = path
        self.copy = None if held is None else held.copy
        self._held = held

    def close(self) -> None:
        """Release a copy."""
        if self._held is not None:
            self._held.close()
