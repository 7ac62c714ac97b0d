"""``llm completion``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.completion_scripts import Shell, binding_script, completion_script
from llmcli.cli.options import command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import UsageError


@command(
    "verbose",
    examples="""
      mkdir -p ~/.local/share/bash-completion/completions
      mkdir -p ~/.config/fish/completions
      llm completion bash > ~/.local/share/bash-completion/completions/llm
      llm completion zsh > "${fpath[1]}/_llm"
      llm completion fish > ~/.config/fish/completions/llm.fish
      llm completion powershell >> $PROFILE
      llm completion bash --bind '\\C-g' >> ~/.bashrc
    """,
    area=CommandArea.HOUSEKEEPING,
    listed=False,
)
def completion(
    ctx: CommandContext,
    shell: Annotated[Shell, Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
    bind: Annotated[
        str | None,
        Option(
            "--bind",
            metavar="KEY",
            help="Print the script of a key that turns the typed line into a command (llm command); "
            "the key as your shell writes it: \\\\C-g, ^G, ctrl-g, Ctrl+g.",
        ),
    ] = None,
) -> int:
    """Print the completion script for a shell.

    With --bind, it is the script of a key binding instead. The command that the key writes stands in the edit buffer:
    you read it, change it, and run it with Enter.
    """
    if bind is None:
        ctx.console.write_stdout(completion_script(shell))
        return 0
    try:
        ctx.console.write_stdout(binding_script(shell, bind))
    except ValueError as error:
        raise UsageError(f"--bind: {error}") from error
    return 0
