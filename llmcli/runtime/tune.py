"""Measuring the settings of the KV cache for ``llm models tune``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import OutputError, Unsupported

if TYPE_CHECKING:
    from llmcli.models.library.model_library import ModelFile
    from llmcli.settings import Settings

_TUNED_JOBS = {
    "one short answer": ((64,), 0, (64,)),
    "one long answer": ((300,), 0, (1024,)),
    "one long prompt": ((4096,), 0, (128,)),
    "16 that begin alike": ((300,) * 16, 280, (128,) * 16),
    "16 different": ((300,) * 16, 0, (128,) * 16),
}
"""Name of a job: lengths of its prompts, tokens that they share, tokens of each answer."""


def tune_model(
    model: ModelFile, settings: Settings, cache: Path, on_progress: Callable[[int, int], None]
) -> dict[str, str]:
    """Measure, store the results, and return the settings that follow for several kinds of jobs.

    ``on_progress`` gets the number of measured settings and their total; an error that it raises ends the measurement.
    The results are stored in ``cache``. Raises ``Unsupported`` for models without a choice of settings, and what
    creating a context raises.
    """
    from llmcli.engine.llama import hardware
    from llmcli.engine.llama.context import CacheSettings
    from llmcli.engine.tuning import standin
    from llmcli.engine.tuning.cost_profile import AttentionGeometry, JobShape
    from llmcli.models.gguf.header_parser import read_header

    header = read_header(model.path)
    geometry = None if header.recurrent else AttentionGeometry.from_header(header)
    if geometry is None:
        raise Unsupported(model.name, detail="its memory allows no choice of settings")
    wanted = settings["threads"]
    threads = hardware.detect_cores().max_threads if wanted == "auto" else wanted
    path = standin.profile_path(cache, geometry, threads)
    try:
        profile = standin.measure(geometry, threads, on_progress)
        standin.save_profile(profile, path)
    except OSError as error:  # of a directory for temporary files, too
        raise OutputError(str(error.filename or path), detail=error.strerror or str(error)) from error
    allowed = [CacheSettings(unified, *kernel) for unified in (True, False) for kernel in profile.kernels]
    width, window = len(_TUNED_JOBS["16 different"][0]), header.arch_integer("attention.sliding_window") or 0
    return {
        name: str(profile.choose(JobShape(prompts, shared, outputs, width), allowed, geometry, window))
        for name, (prompts, shared, outputs) in _TUNED_JOBS.items()
    }
