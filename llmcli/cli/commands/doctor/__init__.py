"""``llm doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.console import sanitize, wrapping
from llmcli.cli.options import GENERAL_OPTIONS, command
from llmcli.cli.parsing.parameters import Option
from llmcli.fast_dataclass import asdict
from llmcli.types import Phase

if TYPE_CHECKING:
    from llmcli.cli.commands.doctor.findings import Finding

_STATE_COLUMNS, _NAME_COLUMNS = 9, 15  # columns
_HEAD_COLUMNS = _STATE_COLUMNS + _NAME_COLUMNS
_MIN_TEXT_COLUMNS = 30
_NARROW_INDENT_COLUMNS = 2


@command(
    *GENERAL_OPTIONS,
    tolerant=True,
    examples="llm doctor\nllm doctor --network\nllm doctor --json | jq -c 'select(.state != \"ok\")'",
    area=CommandArea.HOUSEKEEPING,
)
def doctor(
    ctx: CommandContext,
    network: Annotated[
        bool,
        Option("--network", help="Also connect to the Hub and to the configured servers."),
    ] = False,
) -> int:
    """Report what this machine can run and what is wrong.

    Checks that were skipped, or done only in part, are "untested".
    """
    from llmcli.cli.commands.doctor.doctor_checks import run_checks
    from llmcli.cli.commands.doctor.findings import FindingState

    with ctx.console.status_line.waiting(Phase.CHECKING, "this machine"):
        findings = list(run_checks(ctx, network=network))
    if ctx.console.as_json:
        ctx.console.write_table([{"check": name, **asdict(finding)} for name, finding in findings])
    else:
        columns = ctx.console.columns if ctx.console.stdout_is_terminal else None
        ctx.console.write_stdout("".join(_format_finding(name, finding, columns) for name, finding in findings))
    return int(any(finding.state is FindingState.PROBLEM for _, finding in findings))


def _format_finding(name: str, finding: Finding, columns: int | None) -> str:
    """Return a finding for display, its text wrapped to ``columns`` beside its name, or below on a narrow terminal."""
    texts = [sanitize.single_line(text) for text in (finding.text, finding.next) if text]
    head = f"{finding.state:<{_STATE_COLUMNS}}{name:<{_NAME_COLUMNS}}"
    narrow = columns is not None and columns < _HEAD_COLUMNS + _MIN_TEXT_COLUMNS
    indent = _NARROW_INDENT_COLUMNS if narrow else _HEAD_COLUMNS
    if columns is not None:
        folded = (wrapping.wrap_words(text, columns - indent) for text in texts)
        texts = [line for lines in folded for line in lines]
    start = "\n" + " " * indent
    return (head.rstrip() + start if narrow else head) + start.join(texts) + "\n"
