"""What this machine has for a model, and what is said about the quantizations that a repository offers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from llmcli.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmcli.cli.command_context import CommandContext
    from llmcli.models.footprint import KVSettings, TaskWorkload
    from llmcli.models.gguf.header import Header
    from llmcli.models.hub.variants import Variant, VariantList
    from llmcli.models.library.model_library import ModelFile
    from llmcli.models.memory_estimate import FitPolicy, MachineResources, MemoryEstimate
    from llmcli.settings import Settings

_SMALLEST_KV_TYPE = "q8_0"
_SLOW_TOKENS_PER_S = 10


def planned_kv_type(settings: Settings) -> str:
    """Return the type of KV cache to plan with: of "auto", what takes least."""
    return _SMALLEST_KV_TYPE if settings["kv_type"] == "auto" else str(settings["kv_type"])


def measure_machine(settings: Settings) -> MachineResources:
    """Return the memory of this machine, and of its GPUs where layers may go there; what they share counts once."""
    from llmcli.engine.llama import hardware, memory_budget
    from llmcli.models.memory_estimate import MachineResources

    try:
        gpus = hardware.list_gpus() if settings["gpu_layers"] != 0 else []
        repacked = memory_budget.list_repacked_types()
    except Unsupported:  # no llama.cpp: a model can be fetched all the same
        gpus, repacked = [], frozenset()
    memory, shared = hardware.available_memory(), sum(gpu.free for gpu in gpus if gpu.shared)
    free = None if memory is None else max(0, memory - shared)
    return MachineResources(free, tuple(gpu.free for gpu in gpus), repacked_types=repacked)


def build_fit_policy(ctx: CommandContext, *, force: bool = False, shown: bool = False) -> FitPolicy:
    """Return what a downloaded model must fit; memory bandwidth is measured only where speed is ``shown``."""
    from llmcli.models.memory_estimate import FitPolicy

    @functools.cache
    def machine() -> MachineResources:
        import dataclasses

        from llmcli.engine.tuning.memory_bandwidth import load_or_measure_bandwidth

        rate = load_or_measure_bandwidth(ctx.paths.cache) if shown else None
        return dataclasses.replace(measure_machine(ctx.settings), memory_bandwidth=rate)

    context_tokens = ctx.settings["ctx"]
    return FitPolicy(
        machine,
        None if context_tokens == "auto" else context_tokens,
        planned_kv_type(ctx.settings),
        force,
        unsupported_reason,
        kv_settings_chooser(ctx),
    )


def kv_settings_chooser(ctx: CommandContext) -> Callable[[Header, TaskWorkload, int], KVSettings]:
    """Return the function that says which settings of the KV cache the engine would take for a job."""
    from llmcli.engine.llama import hardware
    from llmcli.engine.tuning.planner import Planner, UnloadedModel
    from llmcli.runtime.backend_factory import engine_options

    options = engine_options(ctx.settings, ctx.paths.cache.absolute())
    threads = options.threads or hardware.detect_cores().max_threads

    def choose(header: Header, workload: TaskWorkload, room: int) -> KVSettings:
        return Planner(UnloadedModel(header), options, threads).choose_for(workload, header, room)

    return choose


def peak_bytes_by_task(ctx: CommandContext, model: ModelFile) -> dict[str, int]:
    """Return the bytes that a process with this model takes at most, by the task that it does.

    Raises ``BadModelFile`` and ``MissingError``.
    """
    from llmcli.models.gguf.header_parser import read_header

    return dict(build_fit_policy(ctx).estimate(read_header(model.path), model.size).peak_bytes_by_task)


def unsupported_reason(header: Header) -> str:
    """Return why a model with this header cannot run here; "" where that is not known."""
    from llmcli.engine.llama import architecture

    try:
        return architecture.unsupported_reason(header)
    except Unsupported:  # no llama.cpp: a model can be fetched all the same
        return ""


def shows_variants(ctx: CommandContext) -> bool:
    """Whether the variants of a repository are shown: on a terminal, or with ``-v``."""
    return ctx.flags.verbose or (ctx.environment.is_terminal(ctx.environment.stderr) and not ctx.flags.quiet)


def show_variants(ctx: CommandContext, offers: VariantList) -> None:
    """Say on stderr what there is and what is taken: a table on a terminal, elsewhere a line each."""
    from llmcli.cli.console import error_messages, sanitize, table

    if not shows_variants(ctx):
        return
    environment, taken = ctx.environment, best_variant(offers)
    planned = f"with a context of {offers.selected.estimate.context_tokens:,} tokens"
    said = f"taking {taken.name} ({variant_summary(taken)} {planned})" if taken else f"nothing fits {planned}"
    if ctx.flags.json or not environment.is_terminal(environment.stderr):
        for offer in sort_by_size(offers):
            ctx.explain(f"{offer.name}: {variant_summary(offer)}")
        ctx.explain(said)
        return
    if len(offers.variants) > 1:
        rows = [variant_row(offer) | {"": "<" if offer is taken else ""} for offer in sort_by_size(offers)]
        error_messages.write_stderr(
            environment,
            table.render_table(rows, as_json=False, terminal=True, columns=environment.columns(environment.stderr))[
                :-1
            ],
        )
    if taken:  # else the refusal says it
        error_messages.write_stderr(environment, f"llm: {sanitize.single_line(said)}")


def sort_by_size(offers: VariantList) -> list[Variant]:
    """Return the quantizations, the smallest first."""
    return sorted(offers.variants, key=lambda offer: offer.size)


def best_variant(offers: VariantList) -> Variant | None:
    """Return the quantization that is taken by default; None where none fits."""
    return None if offers.selected.estimate.fits is False else offers.selected


def variant_row(offer: Variant) -> dict[str, Any]:
    """Return the columns of an offer for people."""
    from llmcli.cli.console import error_messages

    return {
        "quant": offer.quantization or offer.file,
        "size": error_messages.format_bytes(offer.size),
        "needs": format_needed(offer.estimate),
        "peak": format_peak(offer.estimate),
        "fits": format_fit(offer.estimate),
        "tokens/s": format_rate(offer.estimate.tokens_per_second),
    }


def variant_summary(offer: Variant) -> str:
    """Return the columns of an offer as a sentence."""
    from llmcli.cli.console import error_messages

    speed = format_rate(offer.estimate.tokens_per_second)
    return (
        f"{error_messages.format_bytes(offer.size)}, fits: {format_fit(offer.estimate)}, "
        f"{f'about {speed} tokens/s, ' if speed else ''}{memory_clause(offer.estimate)}"
    )


def format_needed(fit: MemoryEstimate, task: str = "chat") -> str:
    """Return what a model takes that does a task, as people read it; without its header the weights are the least."""
    from llmcli.cli.console import error_messages

    return f"{'' if fit.header_known else 'at least '}{error_messages.format_bytes(fit.peak_bytes(task))}"


def format_peak(fit: MemoryEstimate) -> str:
    """Return what a model takes at most, whatever it does; "" where that is not known."""
    from llmcli.cli.console import error_messages

    return error_messages.format_bytes(fit.max_peak_bytes) if fit.header_known else ""


def memory_clause(fit: MemoryEstimate) -> str:
    """Return as a clause what a model takes for an answer, and for jobs of many."""
    return f"needs {format_needed(fit)}" + (
        f" for an answer, at most {format_peak(fit)} for a large job" if fit.header_known else ""
    )


def fit_columns(fit: MemoryEstimate, task: str = "chat") -> dict[str, Any]:
    """Return the columns of what a model needs for programs; bytes, tokens."""
    speed = fit.tokens_per_second
    return {
        "size": fit.weight_bytes,
        "needs": fit.peak_bytes(task) if fit.header_known else None,
        "context": fit.context_tokens,
        "fits": fit.fits,
        "on_gpu": fit.fits_on_gpu,
        "tokens_per_second": None if speed is None else round(speed, 1),
    }


def format_fit(fit: MemoryEstimate) -> str:
    """Return whether a model fits, as people read it."""
    if fit.fits_on_gpu:
        return "on the GPU"
    if fit.fits and fit.machine.gpu_free_bytes:
        return "GPU in part"
    return {True: "yes", False: "no", None: "not known"}[fit.fits]


def format_rate(tokens_per_second: float | None) -> str:
    """Return an estimate without digits that it does not have."""
    if tokens_per_second is None:
        return ""
    return f"{tokens_per_second:.0f}" if tokens_per_second >= _SLOW_TOKENS_PER_S else f"{tokens_per_second:.1f}"
