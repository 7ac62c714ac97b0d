"""Measuring the settings of the KV cache for ``llm models tune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.errors import OutputError, Unsupported

if TYPE_CHECKING:
    from llmcli.cli.command_context import CommandContext
    from llmcli.models.library.model_library import ModelFile

_TUNED_JOBS = {
    "one short answer": ((64,), 0, (64,)),
    "one long answer": ((300,), 0, (1024,)),
    "one long prompt": ((4096,), 0, (128,)),
    "16 that begin alike": ((300,) * 16, 280, (128,) * 16),
    "16 different": ((300,) * 16, 0, (128,) * 16),
}
"""Name of a job: lengths of its prompts, tokens that they share, tokens of each answer."""


def tune_model(ctx: CommandContext, model: ModelFile) -> dict[str, str]:
    """Measure, keep what came out, and return the settings that it leads to for jobs of several kinds.

    Raises ``Unsupported`` for models that leave no choice, and what making a context raises.
    """
    from llmcli.cli.reporter import Reporter
    from llmcli.engine.llama import hardware
    from llmcli.engine.llama.context import CacheSettings
    from llmcli.engine.tuning import standin
    from llmcli.engine.tuning.cost_profile import AttentionGeometry, JobShape
    from llmcli.models.gguf.header import read_header
    from llmcli.types import Progress

    header = read_header(model.path)
    geometry = None if header.recurrent else AttentionGeometry.from_header(header)
    if geometry is None:
        raise Unsupported(model.name, detail="its memory allows no choice of settings")
    wanted = ctx.settings["threads"]
    threads = hardware.detect_cores().max_threads if wanted == "auto" else wanted
    reporter = Reporter(ctx)

    def progress(done: int, total: int) -> None:
        ctx.interrupt.check()
        reporter.show_progress(Progress(done, total, "settings"))

    path = standin.profile_path(ctx.paths.cache, geometry, threads)
    try:
        profile = standin.measure(geometry, threads, progress)
        standin.save_profile(profile, path)
    except OSError as error:  # of a directory for temporary files, too
        raise OutputError(str(error.filename or path), detail=error.strerror or str(error)) from error
    finally:
        reporter.close()
    allowed = [CacheSettings(unified, *kernel) for unified in (True, False) for kernel in profile.kernels]
    width, window = len(_TUNED_JOBS["16 different"][0]), header.arch_integer("attention.sliding_window") or 0
    return {
        name: str(profile.choose(JobShape(prompts, shared, outputs, width), allowed, geometry, window))
        for name, (prompts, shared, outputs) in _TUNED_JOBS.items()
    }
