"""What ``llm models search`` and ``llm models recommend`` show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmcli.cli import fitting, sanitize, suggestion, table, wording
from llmcli.cli.context import Context
from llmcli.cli.reporter import Reporter
from llmcli.errors import LlmError, PartialError
from llmcli.models import recommend as recommending
from llmcli.models.fit import Fit
from llmcli.models.offers import Offer
from llmcli.models.recommend import Recommendation
from llmcli.models.search import Repository
from llmcli.types import ItemFailed, Notice, Progress


def search(cli: Context, words: str, limit: int) -> int:
    """Show the repositories of the Hub that match, each as soon as it is known; returns the exit code."""
    reporter = Reporter(cli)
    failures: list[LlmError] = []
    shown = 0
    try:
        for event in cli.models.search(words, limit, fitting.fitting(cli, shown=True), cli.interrupt):
            if isinstance(event, Progress):
                reporter.progress(event)
            elif isinstance(event, Notice):
                reporter.notice(event.text)
            elif isinstance(event, ItemFailed):
                assert isinstance(event.error, LlmError)
                failures.append(event.error)
                reporter.error(event.error, event.name)
            else:
                reporter.result_comes()
                _show(cli, event, first=not shown)
                reporter.result_ended()
                shown += 1
    finally:
        reporter.close()
    code = (PartialError if shown else failures[0]).exit_code if failures else 0
    reporter.outcome(code, ())
    return code


def _show(cli: Context, repository: Repository, *, first: bool) -> None:
    """Write a repository: a group of lines on a terminal, elsewhere a line for each quantization."""
    world, found, offers = cli.world, repository.found, repository.offers
    best = fitting.best(offers)
    if cli.flags.json or not world.terminal(world.stdout):
        about = {
            "repository": found.repo,
            "licence": found.licence,
            "gated": found.gated,
            "downloads": found.downloads,
            "updated": found.updated,
        }
        cli.table(
            [_offered(offer, taken=offer is best) | about | _peak(offer.fit) for offer in fitting.by_size(offers)]
        )
        return
    if first:
        pull = suggestion.command("models", "pull", "REPOSITORY", *suggestion.option("--ctx", cli.flags.ctx))
        cli.prose(f'Marked with "<": what {pull} takes on this machine.\n')
    facts = [found.licence, "gated" if found.gated else None, f"context {offers.taken.fit.context:,}"]
    facts += [f"{found.downloads:,} downloads a month" if found.downloads else None]
    facts += [None if best else "nothing fits"]
    cli.prose("\n" + sanitize.line(f"{found.repo} ({', '.join(filter(None, facts))})"))
    rows = [fitting.row(offer) | {"": "<" if offer is best else ""} for offer in fitting.by_size(offers)]
    cli.write(table.render(rows, as_json=False, terminal=True, columns=world.columns(world.stdout)))


def _offered(offer: Offer, *, taken: bool) -> dict[str, Any]:
    """Return the columns of an offer for programs; sizes in bytes."""
    return {
        "name": offer.name,
        "quantization": offer.quantization,
        **fitting.figured(offer.fit),
        "taken": taken,
        "bits": None if offer.bits is None else round(offer.bits, 2),
        "file": offer.file,
    }


def _peak(fit: Fit) -> dict[str, Any]:
    """Return the column that was added last: what the model takes at most, whatever it does."""
    return {"peak": fit.most if fit.known else None}


def recommend(cli: Context, task: str, languages: Sequence[str]) -> int:
    """Show the models of the catalogue that suit; returns the exit code."""
    picks = recommending.recommend(cli.models.catalogue(), task, languages, fitting.fitting(cli, shown=True))
    here = {model.catalogue for model in cli.models.list() if not model.missing}
    rows = [_recommended(pick, task, languages, here=pick.entry.name in here) for pick in picks]
    if cli.flags.json or not cli.world.terminal(cli.world.stdout):
        cli.table(rows)
        return 0
    name, why = rows[0]["name"], rows[0]["why"]
    pull = suggestion.command("models", "pull", name, *suggestion.option("--ctx", cli.flags.ctx))
    advice = "" if rows[0]["here"] else f" Fetch it with: {pull}"
    cli.prose(sanitize.line(f"{name}: {why}.{advice}") + "\n\n")
    cli.table([_for_people(pick, row) for pick, row in zip(picks, rows, strict=True)])
    return 0


def _recommended(pick: Recommendation, task: str, languages: Sequence[str], *, here: bool) -> dict[str, Any]:
    """Return the columns of a recommendation for programs; sizes in bytes."""
    why = ["here already"] if here else []
    why += [pick.entry.about]
    why += [f"its makers name {', '.join(languages)}"] if languages else []
    why += [] if pick.fluent else ["slow here"]
    return {
        "name": pick.entry.name,
        "task": task,
        **fitting.figured(pick.fit, task),
        "here": here,
        "licence": pick.entry.licence,
        "languages": pick.entry.languages,
        "why": "; ".join(why),
        **_peak(pick.fit),
    }


def _for_people(pick: Recommendation, row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a recommendation for a terminal."""
    return {
        "name": row["name"],
        "size": wording.size(row["size"]),
        "needs": wording.size(row["needs"]),
        "fits": fitting.verdict(pick.fit),
        "tokens/s": fitting.rate(row["tokens_per_second"]),
        "why": row["why"],
    }
