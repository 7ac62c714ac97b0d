"""The display while a model or an engine is downloaded, checked or imported, and the report on a repository's files.

The report is a table on a terminal, otherwise a line each.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from llmcli.cli.console import sanitize, table
from llmcli.cli.console.console import Console
from llmcli.cli.console.messages import message_text
from llmcli.cli.reporter import Reporter
from llmcli.models.library.model_library import ModelFile
from llmcli.types import Notice, Progress

if TYPE_CHECKING:
    from llmcli.engine_library import EngineLibrary
    from llmcli.models.hub.variants import Variant, VariantList
    from llmcli.models.memory_estimate import MemoryEstimate
    from llmcli.runtime.run_config import ModelEvent

_SLOW_TOKENS_PER_S = 10


def _show_variants(console: Console, offers: VariantList) -> None:
    """Report the quantizations and the choice on stderr: a table on a terminal, otherwise a line each."""
    if not console.shows_notes:
        return
    taken = best_variant(offers)
    planned = f"with a context of {offers.selected.estimate.context_tokens:,} tokens"
    said = f"choosing {taken.name} ({_variant_summary(taken)} {planned})" if taken else f"nothing fits {planned}"
    if console.as_json or not console.stderr_is_terminal:
        for offer in sort_by_size(offers):
            console.explain(f"{offer.name}: {_variant_summary(offer)}")
        console.explain(said)
        return
    if len(offers.variants) > 1:
        rows = [variant_row(offer) | {"": "<" if offer is taken else ""} for offer in sort_by_size(offers)]
        columns = console.environment.columns(console.environment.stderr)
        console.write_stderr(table.render_table(rows, as_json=False, terminal=True, columns=columns)[:-1])
    if taken:  # the refusal reports this
        console.write_message(f"llm: {sanitize.single_line(said)}")


def sort_by_size(offers: VariantList) -> list[Variant]:
    """Return the quantizations, the smallest first."""
    return sorted(offers.variants, key=lambda offer: offer.size)


def best_variant(offers: VariantList) -> Variant | None:
    """Return the default quantization; None if none fits."""
    return None if offers.selected.estimate.fits is False else offers.selected


def variant_row(offer: Variant) -> dict[str, Any]:
    """Return the columns of an offer for people."""
    return {
        "quant": offer.quantization or offer.file,
        "size": message_text.format_bytes(offer.size),
        "needs": _format_needed(offer.estimate),
        "peak": _format_peak(offer.estimate),
        "fits": format_fit(offer.estimate),
        "tokens/s": format_rate(offer.estimate.tokens_per_second),
    }


def _variant_summary(offer: Variant) -> str:
    """Return the columns of an offer as a sentence."""
    speed = format_rate(offer.estimate.tokens_per_second)
    return (
        f"{message_text.format_bytes(offer.size)}, fits: {format_fit(offer.estimate)}, "
        f"{f'about {speed} tokens/s, ' if speed else ''}{_memory_clause(offer.estimate)}"
    )


def _format_needed(fit: MemoryEstimate) -> str:
    """Return the memory of a model for a chat, for display; without its header, at least that of the weights."""
    return f"{'' if fit.header_known else 'at least '}{message_text.format_bytes(fit.peak_bytes())}"


def _format_peak(fit: MemoryEstimate) -> str:
    """Return the peak memory of a model over all tasks, for display; "" if unknown."""
    return message_text.format_bytes(fit.max_peak_bytes) if fit.header_known else ""


def _memory_clause(fit: MemoryEstimate) -> str:
    """Return a clause about a model's memory for one answer and for large jobs."""
    return f"needs {_format_needed(fit)}" + (
        f" for an answer, at most {_format_peak(fit)} for a large job" if fit.header_known else ""
    )


def fit_columns(fit: MemoryEstimate, task: str = "chat") -> dict[str, Any]:
    """Return the columns about a model's needs for programs; bytes, tokens."""
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
    """Return whether a model fits, for display."""
    if fit.fits_on_gpu:
        return "on the GPU"
    if fit.fits and fit.machine.gpu_free_bytes:
        return "GPU in part"
    return {True: "yes", False: "no", None: "not known"}[fit.fits]


def format_rate(tokens_per_second: float | None) -> str:
    """Return an estimate, rounded to its precision."""
    if tokens_per_second is None:
        return ""
    return f"{tokens_per_second:.0f}" if tokens_per_second >= _SLOW_TOKENS_PER_S else f"{tokens_per_second:.1f}"


def show_model_events(console: Console, events: Iterator[ModelEvent]) -> ModelFile:
    """Show the events of a model, with a progress bar on a terminal, and return the model: the last item."""
    reporter = Reporter(console)
    try:
        reporter.begin()
        for event in events:
            if isinstance(event, Progress):
                reporter.show_progress(event)
            elif isinstance(event, Notice):
                reporter.warn(event.text)
            elif isinstance(event, ModelFile):
                model = event
            else:
                _show_variants(console, event)
    finally:
        reporter.close()
    return model


def show_installation(console: Console, events: Generator[Progress, None, EngineLibrary]) -> EngineLibrary:
    """Show the progress of an installation on a terminal, and return the library that it installs."""
    reporter = Reporter(console)
    try:
        reporter.begin()
        while True:
            try:
                reporter.show_progress(next(events))
            except StopIteration as end:
                library: EngineLibrary = end.value
                return library
    finally:
        reporter.close()
