"""``llm doctor``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from llmcli.cli import sanitize, wrapping
from llmcli.cli.context import Context
from llmcli.cli.options import GENERAL, command
from llmcli.types import Phase

if TYPE_CHECKING:
    from llmcli.cli.findings import Finding

_STATE, _NAME = 9, 15  # columns
_HEAD = _STATE + _NAME
_LEAST = 20


@command(
    *GENERAL,
    tolerant=True,
    examples="llm doctor\nllm doctor --network\nllm doctor --json | jq -c 'select(.state != \"ok\")'",
)
def doctor(
    cli: Context,
    network: Annotated[
        bool,
        typer.Option("--network", help="Open connections too: to the Hub and to the servers of the configuration."),
    ] = False,
) -> int:
    """Say what this machine can run and what is wrong.

    What a check did not try is "untested".
    """
    from llmcli.cli.diagnosis import examine
    from llmcli.cli.findings import State

    with cli.status.waiting(Phase.CHECKING, "this machine"):
        findings = list(examine(cli, network=network))
    if cli.flags.json:
        cli.table([{"check": name, **dataclasses.asdict(finding)} for name, finding in findings])
    else:
        columns = cli.world.columns(cli.world.stdout) if cli.world.terminal(cli.world.stdout) else None
        cli.write("".join(_lines(name, finding, columns) for name, finding in findings))
    return int(any(finding.state is State.PROBLEM for _, finding in findings))


def _lines(name: str, finding: Finding, columns: int | None) -> str:
    """Return a finding for people; what it says is folded to ``columns`` beside its name."""
    texts = [sanitize.line(text) for text in (finding.text, finding.next) if text]
    if columns is not None:
        folded = (wrapping.wrap(text, max(columns - _HEAD, _LEAST)) for text in texts)
        texts = [line for lines in folded for line in lines]
    head = f"{finding.state:<{_STATE}}{name:<{_NAME}}"
    return head + ("\n" + " " * _HEAD).join(texts) + "\n"
