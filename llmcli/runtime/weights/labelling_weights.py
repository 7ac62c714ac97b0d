"""The type of weights that labels records: chosen at the first labelling command of a model, and kept.

Labels of two runs can be compared only if the same weights gave them. So the choice depends neither on the size of an input,
nor on a worker that runs, nor on a measurement that ends between two commands. ``llm models tune`` chooses anew;
``--weights`` overrides it.

A type of 16 bits is chosen where it can be: the numbers of a record then differ by less than .01 between machines, BF16 or
F16, since neither weights nor activations are rounded to 8 bits (``benchmarks/label_stability.py``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llmcli.files import private_files
from llmcli.settings import AUTO_WEIGHTS, DERIVED_TYPES, ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig

LABELLING_VERBS = frozenset({"sentiment", "classify", "filter", "label"})
CALIBRATION_ORIGIN = "the calibration "
"""How the origin of weights begins that a calibration was made with."""
MEASURED_WORK = "scoring"
"""The kind of work in a measurement (``REPRESENTATIVE_JOBS``) whose choice counts."""

EXACT_TYPES = frozenset({"bf16", "f16"})


def choose_first(config: RunConfig, models: ModelLibrary, model: ModelFile, measured: str | None) -> str:
    """Return the type for a model's first labels; ``measured``: what a measurement has found best for them.

    Without a measurement it is the type of 16 bits that suits the processor, for a small model of which a copy can be made.
    Raises ``BadModelFile`` and ``MissingError``.
    """
    if measured in EXACT_TYPES or measured == ORIGINAL_WEIGHTS or config.settings["tune"] == "off":
        return measured if measured in EXACT_TYPES else ORIGINAL_WEIGHTS
    from llmcli.engine.llama import hardware
    from llmcli.engine.tuning.model_tuning import find_exact_type

    if config.settings["gpu_layers"] != 0 and hardware.list_gpus():
        return ORIGINAL_WEIGHTS
    return find_exact_type(model.path, models.derived_weights) or ORIGINAL_WEIGHTS


def load_choice(cache: Path, model_id: str) -> str | None:
    """Return the type that was chosen for a model by the SHA-256 of its weights; None if none was, or it is unknown."""
    try:
        choice = json.loads(_file(cache, model_id).read_bytes())["weights"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # not chosen, or damaged
        return None
    return choice if choice in {ORIGINAL_WEIGHTS, *DERIVED_TYPES} else None


def save_choice(cache: Path, model_id: str, weights: str) -> None:
    """Keep the choice for a model; without a directory that can be written to, the next command chooses again."""
    file = _file(cache, model_id)
    try:
        private_files.make_directory(file.parent)
        private_files.replace_file(file, json.dumps({"weights": weights}).encode())
    except OSError:
        return


def note_weights(config: RunConfig, model: ModelFile, weights: str) -> None:
    """Keep the ``weights`` that label, if llm chose them first; say so if earlier labels came from others."""
    settings, cache, model_id = config.settings, config.paths.cache, model.weights_sha256
    kept = load_choice(cache, model_id) if model_id else None
    if kept not in {None, weights} and not settings.origin("weights").startswith(CALIBRATION_ORIGIN):
        config.observer.warn(describe_change(model.name, str(kept), weights))
    elif model_id and kept is None and settings["weights"] == AUTO_WEIGHTS and not settings["deterministic"]:
        save_choice(cache, model_id, weights)


def describe_change(model: str, kept: str, weights: str) -> str:
    """Return one sentence on labels that come from other weights than earlier ones."""
    return f"{model}: these labels come from {weights} weights, earlier ones from {kept} weights; some may differ"


def _file(cache: Path, model_id: str) -> Path:
    return cache / "labels" / f"{model_id[:32]}.json"
