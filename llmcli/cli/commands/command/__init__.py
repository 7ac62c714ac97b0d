"""``llm command``."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

from llmcli.cli import options
from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import inputs
from llmcli.cli.input.text_values import join_words
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.errors import UsageError
from llmcli.machine_needs import WRITING
from llmcli.types import Priority, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend

DEFAULT_SHELL = "sh"
_SYSTEM_NAMES = {"Darwin": "macOS"}


@options.command(
    examples="""
      llm command files larger than 1 GB changed this week
      llm command --shell fish "rename all .jpeg files to .jpg"
      llm command --json "free space on this disk" | jq -r .explanation
      llm completion bash --bind '\\C-g' >> ~/.bashrc
    """,
    model_task="chat",
    needs=WRITING,
    listed=False,
)
def command(
    ctx: CommandContext,
    task: Annotated[
        list[str] | None, Argument(metavar="TEXT...", help="What the command should do, in your words.", is_prose=True)
    ] = None,
    shell: Annotated[
        str | None,
        Option("--shell", metavar="NAME", help="Write it for this shell (default: yours, from $SHELL)."),
    ] = None,
) -> int:
    """Write a shell command for a task. It is printed, never run.

    Standard output is the command: one line, without control characters. On a terminal, a sentence on standard error
    explains it. Read the command before you run it: a model may be wrong. llm shell is the same command.
    """
    text = (join_words(ctx, task) or "").strip()
    if not text:
        raise UsageError("what should the command do?", detail='Try: llm command "files larger than 1 GB"')
    text = inputs.decode_argument(text)
    name = shell or PurePath(ctx.console.environment.environ.get("SHELL", "")).name or DEFAULT_SHELL
    system = _SYSTEM_NAMES.get(platform.system(), platform.system())

    def run(backend: Backend) -> Iterator[TaskEvent]:
        from llmcli.tasks.command import write_command

        generation = ctx.generation_options(priority=Priority.INTERACTIVE, reasoning=True)
        for event in write_command(backend, ctx.runtime.prompts, text, name, system, generation):
            yield event
            if isinstance(event, Result):
                ctx.console.write_note(str(event.fields["explanation"]))

    return render_task(ctx, run, DisplayOptions(markdown=False)).exit_code
