"""``llm verify``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import GENERAL_OPTIONS, command
from llmcli.cli.parsing.parameters import Argument, Option


@command(
    *GENERAL_OPTIONS,
    examples="""
      llm verify summary.txt
      llm verify docs-fr/*.md
      llm verify answer.txt --text "When does the workshop open?"
      llm verify summary.txt --repeat
    """,
    listed=False,
)
def verify(
    ctx: CommandContext,
    outputs: Annotated[list[str], Argument(metavar="OUTPUT...", help="Files that --provenance has described.")],
    *,
    text: Annotated[
        list[str] | None,
        Option(
            "--text",
            metavar="TEXT",
            help="A text of the run that stands in no file: the question, labels, ...; - for the text that was piped in; "
            "repeatable.",
        ),
    ] = None,
    repeat: Annotated[bool, Option("--repeat", help="Run the command again, and compare its output.")] = False,
) -> int:
    """Check that an output and what it was made of are unchanged.

    --provenance has described them. Prints a line for the output, for its statement, and for each input, prompt file,
    model and adapter: ok, changed, missing, or unchecked. The exit code is 1 if something has changed, 66 if a file is
    missing, 65 if the statement is damaged, and 69 if its digests were made with another key than yours. llm models
    verify checks downloaded models.
    """
    from llmcli.cli.commands.verify.verify_run import run_verify

    return run_verify(ctx, outputs, text or [], repeats=repeat)
