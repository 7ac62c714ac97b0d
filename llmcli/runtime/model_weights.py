"""The weights of a model that answer: its own, or a copy in another type, which is made here if the user asked for it.

Labels of two runs can be compared only if the same weights gave them. So the choice for them depends neither on the
size of an input, nor on a worker that runs, nor on a measurement that ends between two commands. It is made at the
first labelling command of a model and kept; ``llm models tune`` chooses anew, and the setting ``weights`` overrides it. A type of
16 bits is chosen where it can be: the numbers of a record then differ by less than .01 between machines, BF16 or F16,
since neither weights nor activations are rounded to 8 bits (``benchmarks/label_stability.py``).
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from llmcli.app_paths import tuning_file
from llmcli.engine_library import find_library
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
from llmcli.fast_dataclass import frozen, replace
from llmcli.files import private_files
from llmcli.models.files.paths import list_copied_types
from llmcli.settings import AUTO_WEIGHTS, DERIVED_TYPES, ORIGINAL_WEIGHTS
from llmcli.types import Phase, Progress
from llmcli.weights_times import REPRESENTATIVE_JOBS, WeightsTable, load_weights_table

if TYPE_CHECKING:
    from pathlib import Path

    from llmcli.engine.derivation import DerivationSource
    from llmcli.machine_needs import MachineNeeds
    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.derived_weights import DerivedCopy
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig


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
        from llmcli.fast_dataclass import replace

        return replace(
            model, path=self.copy.path, size=self.copy.size, sha256=self.copy.sha256, parts=(self.copy.path,)
        )


ORIGINAL_CHOICE = ChosenWeights()


_QUESTION_CHARACTERS = 1000
"""The longest question that counts as a short answer, with its documents."""


def choose_weights(
    config: RunConfig, models: ModelLibrary, model: ModelFile, needs: MachineNeeds, characters: int | None
) -> str:
    """Return the type that ``auto`` means for a command: "original" unless a measurement has shown that another pays.

    ``characters`` of the command's input, None if unknown. The copy in that type is used if it exists; it is not made
    here. Labels come from the type that was chosen for the first ones of the model. For them, and for a question, only
    small files are read, and nothing is imported, unless they are the first labels.
    """
    threads, sha256 = config.settings["threads"], model.weights_sha256 or ""
    path = tuning_file(config.paths.cache, sha256, threads)
    if needs.labels:
        kept = load_choice(config.paths.cache, sha256)
        measured = _measured_choice(path, MEASURED_WORK)
        return kept or _choose_first(config, models, model, measured)
    if needs.is_question and characters is not None and characters <= _QUESTION_CHARACTERS:
        return _measured_choice(path, "short answers") or ORIGINAL_WEIGHTS
    if not path.exists():
        return ORIGINAL_WEIGHTS
    from llmcli.weights_times import estimate_job

    table = load_weights_table(path)
    if table is None:
        return ORIGINAL_WEIGHTS
    most = config.settings["max_tokens"]
    job = estimate_job(needs, characters, None if most == "auto" else most)
    loaded = [ORIGINAL_WEIGHTS] if _worker_runs(config, model) else []
    if table.choose(job, table.types, loaded) == ORIGINAL_WEIGHTS:  # which copies there are does not matter
        return ORIGINAL_WEIGHTS
    return table.choose(job, list_copied_types(config.paths.derived_weights, sha256), loaded)


def _measured_choice(path: Path, work: str) -> str | None:
    """Return the type that was best for a kind of work when the model was measured; None if it was not."""
    import json

    try:
        choice = json.loads(path.read_bytes())["choices"][work]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # not measured, or damaged
        return None
    return choice if choice in {ORIGINAL_WEIGHTS, *DERIVED_TYPES} else None


def _worker_runs(config: RunConfig, model: ModelFile) -> bool:
    """Return whether a worker has the model in memory, probably with its original weights."""
    from llmcli.worker import runtime_dir

    key = runtime_dir.worker_key(model.path.absolute(), config.gpu_layers, config.environ, model.adapters_id)
    return runtime_dir.WorkerPaths(runtime_dir.find_runtime_dir(config.environ), key).socket.exists()


def resolve_weights(
    config: RunConfig, models: ModelLibrary, model: ModelFile, needs: MachineNeeds, characters: int | None = None
) -> ChosenWeights:
    """Return the weights of ``model`` for a run; a type that the user asked for is made first, with progress.

    For "auto", a copy that is missing (unless it is to label) or cannot be loaded is not used; a worker that runs finds
    it itself. Raises ``UsageError`` if ``--deterministic`` and ``--set weights=TYPE`` are given together; for an explicit
    type ``OutOfMemory`` and what ``derive_copy`` raises.
    """
    settings = config.settings
    wanted = settings["weights"]
    if wanted == ORIGINAL_WEIGHTS:
        return ORIGINAL_CHOICE
    if settings["deterministic"]:
        if wanted != AUTO_WEIGHTS and settings.origin("weights").startswith("--"):
            raise UsageError(
                f"--deterministic needs the original weights, not {wanted}", detail="Leave out --set weights."
            )
        return ORIGINAL_CHOICE
    if wanted != AUTO_WEIGHTS:
        return _prepare_explicit(config, models, model, wanted)
    chosen = choose_weights(config, models, model, needs, characters)
    return _find_automatic(config, models, model, chosen, made=needs.labels)


def _find_automatic(
    config: RunConfig, models: ModelLibrary, model: ModelFile, chosen: str, *, made: bool
) -> ChosenWeights:
    """Return the weights of a type that llm chose, else the original; ``made``: a copy that is missing is made."""
    if chosen == ORIGINAL_WEIGHTS:
        return ORIGINAL_CHOICE
    if made and config.settings["tune"] != "off":
        _make_if_missing(config, models, model, chosen)
    if config.settings["worker"] == "on" and _worker_runs(config, model):
        return ChosenWeights(chosen)

    return _find_usable(config, models, model, chosen)


def _derivation_source(model: ModelFile) -> DerivationSource:
    """Return a verified model as the source of copies. Raises ``DerivationRefused`` for one of unknown content."""
    from llmcli.engine.derivation import DerivationSource
    from llmcli.errors.model_errors import DerivationRefused

    if model.weights_sha256 is None:
        raise DerivationRefused(model.name, detail="its file was not verified")
    return DerivationSource(model.path, model.name, model.weights_sha256)


def _prepare_explicit(config: RunConfig, models: ModelLibrary, model: ModelFile, weights: str) -> ChosenWeights:
    """Return the copy of a model in a type, made first if need be; the original if it is of this type already.

    Disk and memory are checked before. Raises as ``derive_copy`` does, and ``OutOfMemory``.
    """
    source = _derivation_source(model)
    copy = models.derived_weights.find(source.key(weights), config.interrupt)
    if copy is None:
        from llmcli.engine import derivation
        from llmcli.models.gguf.header_parser import load_checked_header

        header = load_checked_header(model.path)
        if derivation.is_stored_as(header, weights):
            config.observer.explain(f"the weights of {model.name} are {weights} already")
            return ORIGINAL_CHOICE
        _require_limit(config, weights)
        _check_planned_memory(config, models, model, weights, derivation.derived_bytes(header, weights))
        copy = _make_copy(config, models, source, weights)
    _check_loadable(config, models, model, copy)
    return ChosenWeights(weights, copy, automatic=False)


def _make_if_missing(config: RunConfig, models: ModelLibrary, model: ModelFile, weights: str) -> None:
    """Make a copy that llm chose, if it can be made. Raises what ``interrupt.check`` raises."""
    store, source_id = models.derived_weights, model.weights_sha256
    if any(copy.key.source == source_id and copy.key.weights == weights for copy in store.list_copies()):
        return
    try:
        _make_copy(config, models, _derivation_source(model), weights)
    except (UnavailableError, TemporaryFailure, CannotCreate, OutputError, OutOfMemory, InternalError) as error:
        config.observer.explain(f"original weights: no copy in {weights} can be made: {error.detail or error.subject}")


def _check_planned_memory(config: RunConfig, models: ModelLibrary, model: ModelFile, weights: str, size: int) -> None:
    """Raise ``OutOfMemory`` if a copy of ``size`` bytes could not be loaded."""
    from llmcli.runtime.preflight import check_memory

    try:
        check_memory(replace(model, name=f"{model.name} in {weights}", size=size), config.settings, models)
    except OutOfMemory as error:
        error.fits = f"--set weights={ORIGINAL_WEIGHTS}"
        raise


def _make_copy(config: RunConfig, models: ModelLibrary, source: DerivationSource, weights: str) -> DerivedCopy:
    """Make a copy, with progress."""
    from llmcli.engine import derivation

    label = f"{source.name} in {weights}"

    def report(done: int, total: int) -> None:
        config.observer.report_progress(Progress(100 * done // total, 100, "percent", label, Phase.DERIVING))

    with config.observer.waiting(Phase.DERIVING, label):
        return derivation.derive_copy(source, weights, models.derived_weights, config.interrupt, on_progress=report)


def _find_usable(config: RunConfig, models: ModelLibrary, model: ModelFile, weights: str) -> ChosenWeights:
    """Return the copy of a model in a type, else the original if there is none, or none that can be used.

    Whether it fits the free memory is found out when it is loaded: a worker may have it in memory already.
    """
    from llmcli.errors.model_errors import DerivationRefused

    try:
        copy = models.derived_weights.find(_derivation_source(model).key(weights), config.interrupt)
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
    if settings.copies_bytes:
        return
    origin, lacks = settings.origin("weights"), "needs a copy of the model, but derived_weights is 0"
    if origin.startswith("--"):
        raise UsageError(
            f"{origin}={weights} {lacks} ({settings.origin('derived_weights')})",
            detail="Allow copies: set derived_weights to auto (llm config edit)",
        )
    raise ConfigError("weights", origin=origin, detail=f"{weights} {lacks}")


def _check_loadable(config: RunConfig, models: ModelLibrary, model: ModelFile, copy: DerivedCopy) -> None:
    """Load a copy that was never loaded in a child process first; one that cannot be loaded is removed.

    Raises ``DerivationRefused``, and as ``check_once``.
    """
    from llmcli.engine.llama import load_check

    cache = config.paths.cache
    if private_files.exists(load_check.marker_path(cache, copy.sha256)):
        return
    layers, stop = config.gpu_layers, lambda: config.interrupt.error
    try:
        load_check.check_once(copy.path, copy.sha256, cache, gpu_layers=layers, stop=stop)
    except BadModelFile as error:
        from llmcli.errors.model_errors import DerivationRefused

        models.derived_weights.remove_damaged(copy)
        raise DerivationRefused(f"{model.name} in {copy.key.weights}", detail=error.detail) from error


CALIBRATION_ORIGIN = "the calibration "
"""How the origin of weights begins that a calibration was made with."""
MEASURED_WORK = "scoring"
"""The kind of work in a measurement (``REPRESENTATIVE_JOBS``) whose choice counts."""

EXACT_TYPES = frozenset({"bf16", "f16"})
_MIN_NAMED_GAIN = 1.5
"""How many times as fast as the kept type another one must label to be named."""


def _choose_first(config: RunConfig, models: ModelLibrary, model: ModelFile, measured: str | None) -> str:
    """Return the type for a model's first labels; ``measured``: what a measurement has found best for them.

    Without a measurement it is the type of 16 bits that suits the processor, for a small model of which a copy can be
    made. Raises ``BadModelFile`` and ``MissingError``.
    """
    if measured in EXACT_TYPES or measured == ORIGINAL_WEIGHTS or config.settings["tune"] == "off":
        return measured if measured in EXACT_TYPES else ORIGINAL_WEIGHTS
    from llmcli.engine.llama import hardware
    from llmcli.engine.tuning.tuning_plan import find_exact_type

    if config.settings["gpu_layers"] != 0 and hardware.list_gpus():
        return ORIGINAL_WEIGHTS
    return find_exact_type(model.path, models.derived_weights) or ORIGINAL_WEIGHTS


def labelling_type(table: WeightsTable) -> str:
    """Return the type that labels: the best one for scoring that does not round to 8 bits."""
    exact = [name for name in table.types if name in EXACT_TYPES]
    return table.choose(REPRESENTATIVE_JOBS[MEASURED_WORK], exact, table.types)


def load_choice(cache: Path, model_id: str) -> str | None:
    """Return the type that was chosen for a model by the SHA-256 of its weights; None if none was, or it is unknown."""
    choice = _read_labelling(cache, model_id).get("weights")
    return choice if choice in {ORIGINAL_WEIGHTS, *DERIVED_TYPES} else None


def save_choice(cache: Path, model_id: str, weights: str) -> None:
    """Keep the choice for a model; without a directory that can be written to, the next command chooses again."""
    _update_labelling(cache, model_id, weights=weights)


def _read_labelling(cache: Path, model_id: str) -> dict[str, Any]:
    """Return what is kept about the labels of a model: the type of its weights, a faster one that was named, the engine."""
    try:
        return dict(json.loads(_choice_file(cache, model_id).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):  # nothing, or damaged
        return {}


def _update_labelling(cache: Path, model_id: str, **values: str) -> None:
    file, kept = _choice_file(cache, model_id), _read_labelling(cache, model_id)
    try:
        private_files.make_directory(file.parent)
        private_files.replace_file(file, json.dumps({**kept, **values}).encode())
    except OSError:
        return


def note_engine(config: RunConfig, model: ModelFile) -> None:
    """Say once if earlier labels of a model came from another engine than those of this run."""
    library, model_id = find_library(config.environ), model.weights_sha256
    if library is None or model_id is None:
        return
    cache = config.paths.cache
    kept = _read_labelling(cache, model_id).get("engine")
    if kept == library.label:
        return
    _update_labelling(cache, model_id, engine=library.label)
    if kept is not None:
        config.observer.warn(
            f"{model.name}: these labels come from the engine {library.label}, "
            f"earlier ones from {kept}; a few may differ"
        )


def note_weights(config: RunConfig, model: ModelFile, weights: str) -> None:
    """Keep the ``weights`` that label, if llm chose them first; say so if earlier labels came from others.

    If they are kept, and others were measured to be much faster since, one line says so once.
    """
    settings, cache, model_id = config.settings, config.paths.cache, model.weights_sha256
    kept = warn_of_change(config, model.name, model_id, weights)
    if not model_id or settings["weights"] != AUTO_WEIGHTS or settings["deterministic"]:
        return
    if kept is None:
        save_choice(cache, model_id, weights)
    elif kept == weights and settings.copies_bytes:
        _name_faster_weights(config, model.name, model_id, kept)


def _name_faster_weights(config: RunConfig, name: str, model_id: str, kept: str) -> None:
    """Say once that another type than the ``kept`` one labels much faster, and how to take it."""
    cache = config.paths.cache
    table = load_weights_table(tuning_file(cache, model_id, config.settings["threads"]))
    if table is None or kept not in table.types:
        return
    best, job = labelling_type(table), REPRESENTATIVE_JOBS[MEASURED_WORK]
    best_s = job.seconds(table.types[best].times)
    gain = job.seconds(table.types[kept].times) / best_s if best_s else 0.0
    if gain < _MIN_NAMED_GAIN or _read_labelling(cache, model_id).get("named_faster") == best:
        return
    _update_labelling(cache, model_id, named_faster=best)
    config.observer.warn(
        f"{name}: {best} weights label {gain:.1f} times as fast as the {kept} weights of its labels so far; "
        f"to change to them, after which some labels may differ: llm models tune {shlex.quote(name)}"
    )


def warn_of_change(config: RunConfig, name: str, model_id: str | None, weights: str) -> str | None:
    """Say so if earlier labels of a model came from others than ``weights``; return the type that is kept, if any."""
    kept = load_choice(config.paths.cache, model_id) if model_id else None
    if kept not in {None, weights} and not config.settings.origin("weights").startswith(CALIBRATION_ORIGIN):
        config.observer.warn(describe_change(name, str(kept), weights))
    return kept


def describe_change(model: str, kept: str, weights: str) -> str:
    """Return one sentence on labels that come from other weights than earlier ones."""
    return f"{model}: these labels come from {weights} weights, earlier ones from {kept} weights; some may differ"


def _choice_file(cache: Path, model_id: str) -> Path:
    return cache / "labels" / f"{model_id[:32]}.json"
