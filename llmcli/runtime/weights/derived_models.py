"""Making and finding copies of models in other types for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.errors import (
    BadModelFile,
    CannotCreate,
    ConfigError,
    InternalError,
    OutOfMemory,
    OutputError,
    TemporaryFailure,
    UnavailableError,
    UsageError,
)
from llmcli.errors.model_errors import DerivationRefused, DerivedWeightsMissing
from llmcli.files import private_files
from llmcli.frozen_dataclass import replace
from llmcli.runtime.weights.chosen_weights import ORIGINAL_CHOICE, ChosenWeights
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.engine.derivation.derivation import DerivationSource
    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.derived_copy import DerivedCopy
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig


LOAD_FAILURES = (OutOfMemory, DerivedWeightsMissing)
"""Errors after which the original weights can still answer."""


def derivation_source(model: ModelFile) -> DerivationSource:
    """Return a verified model as the source of copies. Raises ``DerivationRefused`` for one of unknown content."""
    from llmcli.engine.derivation.derivation import DerivationSource

    if model.weights_sha256 is None:
        raise DerivationRefused(model.name, detail="its file was not verified")
    return DerivationSource(model.path, model.name, model.weights_sha256)


def prepare_explicit(config: RunConfig, models: ModelLibrary, model: ModelFile, weights: str) -> ChosenWeights:
    """Return the copy of a model in a type, made first if need be; the original if it is of this type already.

    Disk and memory are checked before. Raises as ``derive_copy`` does, and ``OutOfMemory``.
    """
    source = derivation_source(model)
    copy = models.derived_weights.find(source.key(weights), config.interrupt)
    if copy is None:
        from llmcli.engine.derivation import weight_types
        from llmcli.models.gguf.header_parser import load_checked_header

        header = load_checked_header(model.path)
        if weight_types.is_stored_as(header, weights):
            config.observer.explain(f"the weights of {model.name} are {weights} already")
            return ORIGINAL_CHOICE
        _require_limit(config, weights)
        _check_planned_memory(config, models, model, weights, weight_types.derived_bytes(header, weights))
        copy = _make_copy(config, models, source, weights)
    _check_loadable(config, models, model, copy)
    return ChosenWeights(weights, copy, automatic=False)


def make_if_missing(config: RunConfig, models: ModelLibrary, model: ModelFile, weights: str) -> None:
    """Make a copy that llm chose, if it can be made. Raises what ``interrupt.check`` raises."""
    store, source_id = models.derived_weights, model.weights_sha256
    if any(copy.key.source == source_id and copy.key.weights == weights for copy in store.list_copies()):
        return
    try:
        _make_copy(config, models, derivation_source(model), weights)
    except (UnavailableError, TemporaryFailure, CannotCreate, OutputError, OutOfMemory, InternalError) as error:
        config.observer.explain(f"original weights: no copy in {weights} can be made: {error.detail or error.subject}")


def _check_planned_memory(config: RunConfig, models: ModelLibrary, model: ModelFile, weights: str, size: int) -> None:
    """Raise ``OutOfMemory`` if a copy of ``size`` bytes could not be loaded."""
    from llmcli.runtime.preflight import check_memory

    try:
        check_memory(replace(model, name=f"{model.name} in {weights}", size=size), config.settings, models)
    except OutOfMemory as error:
        error.fits = f"--weights {ORIGINAL_WEIGHTS}"
        raise


def _make_copy(config: RunConfig, models: ModelLibrary, source: DerivationSource, weights: str) -> DerivedCopy:
    """Make a copy, with progress."""
    from llmcli.engine.derivation import derivation

    label = f"{source.name} in {weights}"

    def report(done: int, total: int) -> None:
        config.observer.report_progress(Progress(100 * done // total, 100, "percent", label, Phase.DERIVING))

    with config.observer.waiting(Phase.DERIVING, label):
        return derivation.derive_copy(source, weights, models.derived_weights, config.interrupt, on_progress=report)


def find_usable(config: RunConfig, models: ModelLibrary, model: ModelFile, weights: str) -> ChosenWeights:
    """Return the copy of a model in a type, else the original if there is none, or none that can be used.

    Whether it fits the free memory is found out when it is loaded: a worker may have it in memory already.
    """
    try:
        copy = models.derived_weights.find(derivation_source(model).key(weights), config.interrupt)
        if copy is None or _exceeds_worker_memory(copy, config):
            return ORIGINAL_CHOICE
        _check_loadable(config, models, model, copy)
    except (DerivationRefused, BadModelFile, OutOfMemory) as error:
        config.observer.explain(f"original weights: those in {weights} cannot be used: {error.detail or error.subject}")
        return ORIGINAL_CHOICE
    return ChosenWeights(weights, copy)


def _exceeds_worker_memory(copy: DerivedCopy, config: RunConfig) -> bool:
    """Return whether the limit for all workers is smaller than a copy."""
    limit = config.settings["worker.memory"]
    return limit != "auto" and copy.size > int(limit) << 20


def _require_limit(config: RunConfig, weights: str) -> None:
    """Raise an error if the settings allow no copies."""
    settings = config.settings
    if settings["derived_weights"]:
        return
    origin = settings.origin("weights")
    if origin.startswith("--"):
        raise UsageError(
            f"{origin} {weights} needs a copy of the model, but derived_weights is 0 ({settings.origin('derived_weights')})",
            detail="Allow copies: set derived_weights to 4096 (llm config edit)",
        )
    raise ConfigError("weights", origin=origin, detail=f"{weights} needs a copy of the model, but derived_weights is 0")


def _check_loadable(config: RunConfig, models: ModelLibrary, model: ModelFile, copy: DerivedCopy) -> None:
    """Load a copy that was never loaded in a child process first; one that cannot be loaded is removed.

    Raises ``DerivationRefused``, and as ``check_once``.
    """
    from llmcli.engine.llama import load_check

    cache = config.paths.cache
    if private_files.exists(load_check.marker_path(cache, copy.sha256)):
        return
    layers = None if config.settings["gpu_layers"] == "auto" else config.settings["gpu_layers"]
    try:
        load_check.check_once(copy.path, copy.sha256, cache, gpu_layers=layers, stop=lambda: config.interrupt.error)
    except BadModelFile as error:
        models.derived_weights.remove_damaged(copy)
        raise DerivationRefused(f"{model.name} in {copy.key.weights}", detail=error.detail) from error
