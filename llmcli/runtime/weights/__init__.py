"""Which weights of a model answer: its own, or a copy in another type; and making that copy if the user asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.app_paths import tuning_file
from llmcli.errors import UsageError
from llmcli.runtime.weights import labelling_weights
from llmcli.runtime.weights.chosen_weights import ORIGINAL_CHOICE, ChosenWeights
from llmcli.settings import AUTO_WEIGHTS, DERIVED_TYPES, ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig


_QUESTION_VERBS = ("ask", "chat")
_QUESTION_CHARACTERS = 1000
"""The longest question that counts as a short answer, with its documents."""


def choose_weights(config: RunConfig, models: ModelLibrary, model: ModelFile, verb: str, characters: int | None) -> str:
    """Return the type that ``auto`` means for a command: "original" unless a measurement has shown that another pays.

    ``characters`` of the command's input, None if unknown. The copy in that type is used if it exists; it is not made
    here. Labels come from the type that was chosen for the first ones of the model. For them, and for a question, only
    small files are read, and nothing is imported, unless they are the first labels.
    """
    sha256 = model.weights_sha256 or ""
    path = tuning_file(config.paths.cache, sha256, config.settings["threads"])
    if verb in labelling_weights.LABELLING_VERBS:
        kept = labelling_weights.load_choice(config.paths.cache, sha256)
        measured = _measured_choice(path, labelling_weights.MEASURED_WORK)
        return kept or labelling_weights.choose_first(config, models, model, measured)
    if verb in _QUESTION_VERBS and characters is not None and characters <= _QUESTION_CHARACTERS:
        return _measured_choice(path, "short answers") or ORIGINAL_WEIGHTS
    if not path.exists():
        return ORIGINAL_WEIGHTS
    from llmcli.runtime.weights.job_estimate import estimate_job
    from llmcli.weights.weights_times import load_weights_table

    table = load_weights_table(path)
    if table is None:
        return ORIGINAL_WEIGHTS
    most = config.settings["max_tokens"]
    job = estimate_job(verb, characters, None if most == "auto" else most)
    available = [copy.key.weights for copy in models.derived_weights.list_copies() if copy.key.source == sha256]
    return table.choose(job, available, [ORIGINAL_WEIGHTS] if _worker_runs(config, model) else [])


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

    layers = None if config.settings["gpu_layers"] == "auto" else config.settings["gpu_layers"]
    key = runtime_dir.worker_key(model.path.absolute(), layers, config.environ, model.adapters_id)
    return runtime_dir.WorkerPaths(runtime_dir.find_runtime_dir(config.environ), key).socket.exists()


def resolve_weights(
    config: RunConfig, models: ModelLibrary, model: ModelFile, verb: str = "", characters: int | None = None
) -> ChosenWeights:
    """Return the weights of ``model`` for a run; a type that the user asked for is made first, with progress.

    For "auto", a copy that is missing (unless it is to label) or cannot be loaded is not used; a worker that runs finds it itself. Raises ``UsageError`` if
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
    chosen = choose_weights(config, models, model, verb, characters)
    return _find_automatic(config, models, model, chosen, made=verb in labelling_weights.LABELLING_VERBS)


def _find_automatic(
    config: RunConfig, models: ModelLibrary, model: ModelFile, chosen: str, *, made: bool
) -> ChosenWeights:
    """Return the weights of a type that llm chose, else the original; ``made``: a copy that is missing is made."""
    if chosen == ORIGINAL_WEIGHTS:
        return ORIGINAL_CHOICE
    if made and config.settings["tune"] != "off":
        from llmcli.runtime.weights.derived_models import make_if_missing

        make_if_missing(config, models, model, chosen)
    if config.settings["worker"] == "on" and _worker_runs(config, model):
        return ChosenWeights(chosen)
    from llmcli.runtime.weights.derived_models import find_usable

    return find_usable(config, models, model, chosen)
