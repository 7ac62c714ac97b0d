"""``--dry-run``: the amount of work, and about how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.errors import LlmError, PartialError
from llmcli.fast_dataclass import asdict
from llmcli.files.atomic_file import require_writable
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.types import Phase

if TYPE_CHECKING:
    from llmcli.tasks.runner.work_estimate import WorkEstimate

SUMMED_WORK = ("calls", "tokens", "seconds")
"""The columns of any work."""
_MAX_WIDTH = 8
"""Requests of a job that are taken to run at once."""
_MAX_SHAPED_CALLS = 64
"""A job of more calls takes as many times longer."""


def write_estimates(
    ctx: CommandContext,
    names: Sequence[str],
    estimate: Callable[[int], WorkEstimate],
    *,
    other_outputs: Iterable[str | None] = (),
) -> int:
    """Write the work for each input and in total, as ``write_estimate_rows`` does; return the exit code.

    ``other_outputs``: the files beside that of -o.
    """

    def make_row(index: int) -> dict[str, Any]:
        return _estimate_row(ctx, estimate(index))

    outputs = (ctx.flags.output, *other_outputs)
    return write_estimate_rows(ctx, names, make_row, summed=("passages", *SUMMED_WORK), outputs=outputs)


def write_estimate_rows(
    ctx: CommandContext,
    names: Sequence[str],
    make_row: Callable[[int], dict[str, Any]],
    *,
    summed: Sequence[str],
    outputs: Iterable[str | None],
) -> int:
    """Write a line for each input and one with the sums of the columns ``summed``; return the exit code.

    ``make_row`` returns that of an input by its position; an ``LlmError`` that it raises is the failure of this input.
    The files that the command would write, ``outputs``, stay as they are (None: not given). Raises as
    ``require_writable`` if one could not be written.
    """
    for output in filter(None, outputs):
        require_writable(output)
    rows: list[dict[str, Any]] = []
    failed: list[LlmError] = []
    for index, name in enumerate(names):
        try:
            with ctx.console.status_line.waiting(Phase.WORKING, ""):
                rows.append(make_row(index))
        except LlmError as error:
            ctx.runtime.interrupt.check()  # not a failure of this input
            failed.append(error)
            ctx.console.write_error(error, name=name)
    total = [_total_row(rows, summed)] if len(rows) > 1 and not ctx.console.as_json else []
    ctx.console.write_table([*rows, *total])
    if not failed:
        return 0
    return PartialError.exit_code if rows else failed[0].exit_code


def _estimate_row(ctx: CommandContext, work: WorkEstimate) -> dict[str, Any]:
    """Return the row; of one call also the seconds before its answer, which do not depend on the answer's length."""
    before = _estimate_seconds(ctx, 1, work.prompt_tokens - work.reused_tokens, 0) if work.calls == 1 else None
    return {
        "name": work.name,
        "method": work.method,
        "passages": work.passages,
        **work_columns(ctx, work),
        "before_answer": before,
    }


def work_columns(ctx: CommandContext, work: WorkEstimate) -> dict[str, Any]:
    """Return the columns ``SUMMED_WORK``, and with --json the bounds of calls and tokens."""
    bounds = asdict(work.bounds) if ctx.console.as_json else {}
    evaluated = work.prompt_tokens - work.reused_tokens
    return {
        "calls": work.calls,
        "tokens": work.prompt_tokens,
        **bounds,
        "seconds": _estimate_seconds(ctx, work.calls, evaluated, work.answer_tokens),
    }


def _total_row(rows: Sequence[dict[str, Any]], summed: Sequence[str]) -> dict[str, Any]:
    """Return the row of sums below ``rows``; a sum of which a part is unknown is unknown."""
    total: dict[str, Any] = dict.fromkeys(rows[0], "") | {"name": "total"}
    for key in summed:
        numbers: list[Any] = [row[key] for row in rows]
        total[key] = None if None in numbers else round(sum(numbers), 1)
    return total


def _estimate_seconds(ctx: CommandContext, calls: int, prompt_tokens: int, answer_tokens: int) -> float | None:
    """Return about how long this machine takes for so many calls with so many tokens together; None if unknown."""
    if ctx.runtime.is_remote:
        return None
    if not calls:
        return 0.0
    from llmcli.engine.tuning.cost_profile import JobShape
    from llmcli.models.gguf.header_parser import read_header
    from llmcli.runtime.hardware_fit import estimate_seconds as estimate_job_seconds

    model = ctx.runtime.resolve_model()
    header = read_header(model.path)
    rate = ctx.runtime.fit_policy(shown=True).estimate(header, model.size).tokens_per_second
    if not rate:
        return None
    shaped = min(calls, _MAX_SHAPED_CALLS)
    shape = JobShape(
        (round(prompt_tokens / calls),) * shaped, 0, (round(answer_tokens / calls),) * shaped, min(calls, _MAX_WIDTH)
    )
    settings, cache, sha256 = ctx.runtime.settings, ctx.runtime.paths.cache, model.weights_sha256 or ""
    weights = ctx.runtime.weights or ORIGINAL_WEIGHTS
    seconds = estimate_job_seconds(settings, cache, header, shape, model_id=sha256, weights=weights, single=1 / rate)
    return round(seconds * calls / shaped, 1)
