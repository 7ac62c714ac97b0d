"""Questions on the terminal: confirmation of removals, downloads and consent."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import error_messages, sanitize, suggestion
from llmcli.errors import ModelNotDownloaded, UsageError

_POLL_MS = 100


def can_ask(ctx: CommandContext) -> bool:
    """Whether a question can be asked: both stdin and stderr are terminals."""
    return ctx.environment.is_terminal(ctx.environment.stdin) and ctx.environment.is_terminal(ctx.environment.stderr)


def ask_yes_no(ctx: CommandContext, question: str, *, enter: bool = True) -> bool:
    """Ask a question on stderr; Enter means ``enter``, the end of input no. A signal or the deadline ends the waiting."""
    choices = "[Y/n]" if enter else "[y/N]"
    with ctx.environment.suspend_painters():
        os.write(ctx.environment.stderr, f"{sanitize.single_line(question)} {choices} ".encode())
        poll = select.poll()
        poll.register(ctx.environment.stdin, select.POLLIN)
        while not poll.poll(_POLL_MS):
            ctx.interrupt.check()
        answer = os.read(ctx.environment.stdin, 1000)
    meant = {"y", "yes", ""} if enter else {"y", "yes"}
    return bool(answer) and answer.decode("utf-8", "replace").strip().lower() in meant


def require_confirmation(ctx: CommandContext, what: str, otherwise: Sequence[str], variables: Sequence[str]) -> bool:
    """Ask whether to do ``what``, which cannot be undone; Enter means no.

    Raises ``UsageError`` without a terminal; ``otherwise`` are the words of the command that does not ask, and
    ``variables`` those of the environment that decide to what it is done.
    """
    if not can_ask(ctx):
        again = suggestion.format_command(*otherwise, environ=ctx.environment.environ, variables=variables)
        raise UsageError("there is nobody to ask", detail=f"Try: {again}")
    return ask_yes_no(ctx, f"llm: {what}?", enter=False)


def confirm_download(ctx: CommandContext, missing: ModelNotDownloaded) -> bool:
    """Ask whether a missing model may be fetched; False without a terminal or when offline."""
    if ctx.models.offline or not can_ask(ctx):
        return False
    from llmcli.models.catalogue import load_catalogue

    entry = load_catalogue().get(missing.subject)
    about = f" (about {error_messages.format_bytes(entry.size)})" if entry and entry.size else ""
    known = f" ({error_messages.format_bytes(missing.size)})" if missing.size else about
    return ask_yes_no(ctx, f"llm: the model {missing.subject}{known} is not on this machine. Fetch it?")
