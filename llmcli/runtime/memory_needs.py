"""The memory that a model needs for each task, with the weights that the task would use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.models.footprint import WORKLOADS
from llmcli.models.gguf.header_parser import read_header
from llmcli.runtime import hardware_fit
from llmcli.runtime.model_weights import choose_weights
from llmcli.settings import AUTO_WEIGHTS, ORIGINAL_WEIGHTS

if TYPE_CHECKING:
    from llmcli.models.files.model_file import ModelFile
    from llmcli.models.gguf.header import Header
    from llmcli.models.library.model_library import ModelLibrary
    from llmcli.runtime.run_config import RunConfig

_CHARACTERS_PER_TOKEN = 4


def peak_bytes_by_task(config: RunConfig, models: ModelLibrary, model: ModelFile) -> dict[str, int]:
    """Return the peak bytes of a process with this model, by task, with the weights that the task would use.

    Raises ``BadModelFile`` and ``MissingError``.
    """
    policy = hardware_fit.build_fit_policy(config.settings, config.paths.cache, model_id=model.weights_sha256 or "")
    header = read_header(model.path)
    peaks = dict(policy.estimate(header, model.size).peak_bytes_by_task)
    for task in peaks:
        weights = _weights_of_task(config, models, model, task)
        if weights != ORIGINAL_WEIGHTS:
            stored, size = _stored_as(header, models, model, weights)
            peaks[task] = policy.estimate(stored, size).peak_bytes(task)
    return peaks


def _weights_of_task(config: RunConfig, models: ModelLibrary, model: ModelFile, task: str) -> str:
    """Return the type of weights that a command of a task would use for its usual job."""
    wanted = str(config.settings["weights"])
    if config.settings["deterministic"]:
        return ORIGINAL_WEIGHTS
    if wanted != AUTO_WEIGHTS:
        return wanted
    workload = WORKLOADS[task]
    return choose_weights(config, models, model, workload.needs, _CHARACTERS_PER_TOKEN * sum(workload.prompt_tokens))


def _stored_as(header: Header, models: ModelLibrary, model: ModelFile, weights: str) -> tuple[Header, int]:
    """Return header and bytes of a model's copy in a type; an estimate if there is no copy yet."""
    from llmcli.engine import derivation

    for copy in models.derived_weights.list_copies():
        if copy.key.source == model.weights_sha256 and copy.key.weights == weights:
            return read_header(copy.path), copy.size
    return header, derivation.derived_bytes(header, weights)
