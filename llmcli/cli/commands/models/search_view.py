"""The output of ``llm models search`` and ``llm models recommend``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import sanitize, suggestion, table
from llmcli.cli.console.messages import message_text
from llmcli.cli.render import model_events
from llmcli.cli.reporter import Reporter
from llmcli.errors import LlmError, PartialError
from llmcli.models import recommend as recommending
from llmcli.models.hub.variants import FoundRepository, Variant
from llmcli.models.memory_estimate import MemoryEstimate
from llmcli.models.recommend import Recommendation
from llmcli.types import ItemFailed, Notice, Progress


def show_search(ctx: CommandContext, words: str, limit: int) -> int:
    """Show the matching repositories of the Hub, each as soon as it is known; returns the exit code."""
    reporter = Reporter(ctx.console)
    failures: list[LlmError] = []
    shown = 0
    try:
        for event in ctx.runtime.models.search(words, limit, ctx.runtime.fit_policy(shown=True), ctx.runtime.interrupt):
            if isinstance(event, Progress):
                reporter.show_progress(event)
            elif isinstance(event, Notice):
                reporter.warn(event.text)
            elif isinstance(event, ItemFailed):
                assert isinstance(event.error, LlmError)
                failures.append(event.error)
                reporter.report_error(event.error, event.name)
            else:
                reporter.begin_result()
                _show_repository(ctx, event, first=not shown)
                reporter.end_result()
                shown += 1
    finally:
        reporter.close()
    code = (PartialError if shown else failures[0]).exit_code if failures else 0
    reporter.report_outcome(code, ())
    return code


def _show_repository(ctx: CommandContext, repository: FoundRepository, *, first: bool) -> None:
    """Write a repository: a group of lines on a terminal, otherwise a line for each quantization."""
    environment, found, offers = ctx.console.environment, repository.info, repository.variants
    best = model_events.best_variant(offers)
    if ctx.console.as_json or not environment.is_terminal(environment.stdout):
        about = {
            "repository": found.repo,
            "licence": found.licence,
            "gated": found.gated,
            "downloads": found.downloads,
            "updated": found.updated_at,
        }
        ctx.console.write_table(
            [
                _variant_columns(offer, taken=offer is best) | about | _peak_column(offer.estimate)
                for offer in model_events.sort_by_size(offers)
            ]
        )
        return
    if first:
        pull = suggestion.format_command(
            "models", "pull", "REPOSITORY", *suggestion.format_option("--ctx", ctx.flags.ctx)
        )
        ctx.console.write_wrapped(f'"<" marks what {pull} chooses on this machine.\n')
    facts = [found.licence, "gated" if found.gated else None, f"context {offers.selected.estimate.context_tokens:,}"]
    facts += [f"{found.downloads:,} downloads a month" if found.downloads else None]
    facts += [None if best else "nothing fits"]
    ctx.console.write_wrapped("\n" + sanitize.single_line(f"{found.repo} ({', '.join(filter(None, facts))})"))
    rows = [
        model_events.variant_row(offer) | {"": "<" if offer is best else ""}
        for offer in model_events.sort_by_size(offers)
    ]
    ctx.console.write_stdout(
        table.render_table(rows, as_json=False, terminal=True, columns=environment.columns(environment.stdout))
    )


def _variant_columns(offer: Variant, *, taken: bool) -> dict[str, Any]:
    """Return the columns of an offer for programs; sizes in bytes."""
    return {
        "name": offer.name,
        "quantization": offer.quantization,
        **model_events.fit_columns(offer.estimate),
        "taken": taken,
        "bits": None if offer.bits_per_weight is None else round(offer.bits_per_weight, 2),
        "file": offer.file,
    }


def _peak_column(fit: MemoryEstimate) -> dict[str, Any]:
    """Return the last column: the peak memory of the model over all tasks."""
    return {"peak": fit.max_peak_bytes if fit.header_known else None}


def show_recommendations(ctx: CommandContext, task: str, languages: Sequence[str]) -> int:
    """Show the suitable models of the catalogue; returns the exit code."""
    picks = recommending.recommend_models(
        ctx.runtime.models.catalogue_entries(), task, languages, ctx.runtime.fit_policy(shown=True)
    )
    here = {model.catalogue for model in ctx.runtime.models.list() if not model.missing}
    rows = [_recommendation_columns(pick, task, languages, here=pick.entry.name in here) for pick in picks]
    if not ctx.console.writes_for_people:
        ctx.console.write_table(rows)
        return 0
    name, why = rows[0]["name"], rows[0]["why"]
    pull = suggestion.format_command("models", "pull", name, *suggestion.format_option("--ctx", ctx.flags.ctx))
    advice = "" if rows[0]["here"] else f" Download it with: {pull}"
    ctx.console.write_wrapped(sanitize.single_line(f"{name}: {why}.{advice}") + "\n\n")
    ctx.console.write_table([_recommendation_for_terminal(pick, row) for pick, row in zip(picks, rows, strict=True)])
    return 0


def _recommendation_columns(pick: Recommendation, task: str, languages: Sequence[str], *, here: bool) -> dict[str, Any]:
    """Return the columns of a recommendation for programs; sizes in bytes."""
    why = ["here already"] if here else []
    why += [pick.entry.about]
    why += [f"supports {', '.join(languages)}"] if languages else []
    why += ["slow here"] if pick.is_slow else []
    return {
        "name": pick.entry.name,
        "task": task,
        **model_events.fit_columns(pick.estimate, task),
        "here": here,
        "licence": pick.entry.licence,
        "languages": pick.entry.languages,
        "why": "; ".join(why),
        **_peak_column(pick.estimate),
    }


def _recommendation_for_terminal(pick: Recommendation, row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a recommendation for a terminal."""
    return {
        "name": row["name"],
        "size": message_text.format_bytes(row["size"]),
        "needs": message_text.format_bytes(row["needs"]),
        "fits": model_events.format_fit(pick.estimate),
        "tokens/s": model_events.format_rate(row["tokens_per_second"]),
        "why": row["why"],
    }
