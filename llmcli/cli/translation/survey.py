"""``--dry-run``: how much there is to do, and about how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli import wiring, wording
from llmcli.cli.context import Context
from llmcli.errors import LlmError, PartialError
from llmcli.types import ItemFailed, Phase

if TYPE_CHECKING:
    from llmcli.store.memory import Memory
    from llmcli.tasks.translate import Job
    from llmcli.tasks.translation.survey import Survey

_BATCH = 1.5
"""How many times faster than one answer many are on a CPU, in a batch."""
_READING = 3.0
"""How many times faster than it writes a model reads."""


def dry_run(cli: Context, jobs: Sequence[Job | ItemFailed], memory: Memory | None) -> int:
    """Write what there is to do, a line for each document and their sum; return the exit code."""
    from llmcli.tasks.translation.survey import survey

    rows, failed = [], []
    for job in jobs:
        try:
            if isinstance(job, ItemFailed):
                raise job.error
            with cli.status.waiting(Phase.WORKING, ""):
                found = survey(job, memory)
            rows.append(_row(cli, found))
        except LlmError as error:
            cli.interrupt.check()  # then it is no failure of this document
            failed.append(error)
            name = job.name if isinstance(job, ItemFailed) else job.document.name
            wording.show(error, cli.world, as_json=cli.flags.json, name=name)
    cli.table([*rows, _sum(rows)] if len(rows) > 1 and not cli.flags.json else rows)
    if not failed:
        return 0
    return PartialError.exit_code if rows else failed[0].exit_code


def _row(cli: Context, found: Survey) -> dict[str, Any]:
    speed = _speed(cli) if found.new else 1.0
    seconds = (found.answer / _BATCH + found.tokens / _READING) / speed if speed else None
    return {
        "name": found.name,
        "to": found.target,
        "from": found.source,
        "format": found.format,
        "segments": found.segments,
        "new": found.new,
        "tokens": found.tokens,
        "seconds": None if seconds is None else round(seconds, 1),
    }


def _sum(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"name": "total", "to": "", "from": "", "format": ""}
    for key in ("segments", "new", "tokens", "seconds"):
        numbers: list[Any] = [row[key] for row in rows]
        total[key] = None if None in numbers else round(sum(numbers), 1)
    return total


def _speed(cli: Context) -> float | None:
    """Return about how many tokens of one answer the model writes a second; None where that is not known."""
    from llmcli.cli.fitting import fitting
    from llmcli.models.gguf import read_header

    if wiring.elsewhere(cli):
        return None
    model = cli.model()
    return fitting(cli, shown=True).judge(read_header(model.path), model.size).tokens_per_second
