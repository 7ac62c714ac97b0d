"""``llm completion``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.completion_scripts import Shell, completion_script
from llmcli.cli.options import command
from llmcli.cli.parsing.parameters import Argument


@command(
    "verbose",
    examples="""
      mkdir -p ~/.local/share/bash-completion/completions
      mkdir -p ~/.config/fish/completions
      llm completion bash > ~/.local/share/bash-completion/completions/llm
      llm completion zsh > "${fpath[1]}/_llm"
      llm completion fish > ~/.config/fish/completions/llm.fish
      llm completion powershell >> $PROFILE
    """,
)
def completion(
    ctx: CommandContext,
    shell: Annotated[Shell, Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> int:
    """Print the completion script for a shell."""
    ctx.console.write_stdout(completion_script(shell))
    return 0
