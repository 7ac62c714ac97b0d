"""``llm completion``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmcli.cli.completion import Shell, script
from llmcli.cli.context import Context
from llmcli.cli.options import command


@command(
    "verbose",
    examples="""
      llm completion bash > ~/.local/share/bash-completion/completions/llm
      llm completion zsh > "${fpath[1]}/_llm"
      llm completion fish > ~/.config/fish/completions/llm.fish
      llm completion powershell >> $PROFILE
    """,
)
def completion(
    cli: Context,
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> int:
    """Print the completion script for a shell."""
    cli.write(script(shell))
    return 0
