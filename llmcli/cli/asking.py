"""Questions to the person at the terminal."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence

from llmcli.cli import sanitize, suggestion, wording
from llmcli.cli.context import Context
from llmcli.errors import ModelNotHere, UsageError

_POLL_MS = 100


def possible(cli: Context) -> bool:
    """Whether somebody can be asked: both stdin and stderr are terminals."""
    return cli.world.terminal(cli.world.stdin) and cli.world.terminal(cli.world.stderr)


def yes(cli: Context, question: str, *, enter: bool = True) -> bool:
    """Ask a question on stderr; Enter means ``enter``, the end of input no. A signal or the deadline ends the waiting."""
    choices = "[Y/n]" if enter else "[y/N]"
    with cli.world.others_write():
        os.write(cli.world.stderr, f"{sanitize.line(question)} {choices} ".encode())
        poll = select.poll()
        poll.register(cli.world.stdin, select.POLLIN)
        while not poll.poll(_POLL_MS):
            cli.interrupt.check()
        answer = os.read(cli.world.stdin, 1000)
    meant = {"y", "yes", ""} if enter else {"y", "yes"}
    return bool(answer) and answer.decode("utf-8", "replace").strip().lower() in meant


def confirmed(cli: Context, what: str, otherwise: Sequence[str], variables: Sequence[str]) -> bool:
    """Ask whether to do ``what``, which cannot be undone; Enter means no.

    Raises ``UsageError`` where nobody can be asked; ``otherwise`` are the words of the command that does not ask, and
    ``variables`` those of the environment that decide to what it is done.
    """
    if not possible(cli):
        again = suggestion.command(*otherwise, environ=cli.world.environ, variables=variables)
        raise UsageError("there is nobody to ask", detail=f"Try: {again}")
    return yes(cli, f"llm: {what}?", enter=False)


def fetch(cli: Context, missing: ModelNotHere) -> bool:
    """Ask whether a missing model may be fetched; False where nobody can be asked or the network is off."""
    if cli.models.offline or not possible(cli):
        return False
    from llmcli.models.catalogue import load_catalogue

    entry = load_catalogue().get(missing.subject)
    about = f" (about {wording.size(entry.size)})" if entry and entry.size else ""
    known = f" ({wording.size(missing.size)})" if missing.size else about
    return yes(cli, f"llm: the model {missing.subject}{known} is not on this machine. Fetch it?")
