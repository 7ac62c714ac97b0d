"""Questions on the terminal: confirmation of removals, downloads and consent."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence

from llmcli.cli.console import sanitize, suggestion, wrapping
from llmcli.cli.console.console import Console
from llmcli.cli.console.messages import message_text
from llmcli.errors import ModelNotDownloaded, UsageError

_POLL_MS = 100


def can_ask(console: Console) -> bool:
    """Whether a question can be asked: both stdin and stderr are terminals."""
    return console.stdin_is_terminal and console.stderr_is_terminal


def ask_yes_no(console: Console, question: str, *, enter: bool = True) -> bool:
    """Ask a question on stderr; Enter means ``enter``, end of input means no.

    A signal or the deadline ends the wait.
    """
    columns = console.environment.columns(console.environment.stderr) - 1
    lines = wrapping.wrap_long_lines(f"{sanitize.single_line(question)} {'[Y/n]' if enter else '[y/N]'}", columns)
    answer = read_reply(console, "\n".join(lines) + " ")
    return answer in ({"y", "yes", ""} if enter else {"y", "yes"})


def read_reply(console: Console, question: str) -> str | None:
    """Write a question to stderr and return the typed line, stripped and in lower case; None at the end of input.

    A signal or the deadline ends the wait.
    """
    line = read_line(console, question)
    return None if line is None else line.lower()


def read_line(console: Console, question: str) -> str | None:
    """Write a question to stderr and return the typed line, stripped; None at the end of input.

    A signal or the deadline ends the wait.
    """
    with console.environment.use_keyboard():
        os.write(console.environment.stderr, question.encode())
        poll = select.poll()
        poll.register(console.environment.stdin, select.POLLIN)
        while not poll.poll(_POLL_MS):
            console.interrupt.check()
        answer = os.read(console.environment.stdin, 1000)
        if not answer:  # Ctrl-D leaves the cursor behind the question
            os.write(console.environment.stderr, b"\n")
    return answer.decode("utf-8", "replace").strip() if answer else None


def require_confirmation(console: Console, what: str, otherwise: Sequence[str], variables: Sequence[str]) -> bool:
    """Ask whether to do ``what``, which cannot be undone; Enter means no.

    Raises ``UsageError`` without a terminal; ``otherwise`` is the command that does not ask, and ``variables`` are
    those of the environment that choose its object.
    """
    if not can_ask(console):
        words = [*otherwise, *suggestion.format_option("--json", console.as_json)]
        again = suggestion.format_command(*words, environ=console.environment.environ, variables=variables)
        raise UsageError("confirmation needs a terminal", detail=f"Try: {again}")
    return ask_yes_no(console, f"llm: {what}?", enter=False)


def confirm_download(console: Console, missing: ModelNotDownloaded) -> bool:
    """Ask whether a missing model may be downloaded; False without a terminal."""
    if not can_ask(console):
        return False
    from llmcli.models.catalogue import load_catalogue

    entry = load_catalogue().get(missing.subject)
    about = f" (about {message_text.format_bytes(entry.size)})" if entry and entry.size else ""
    known = f" ({message_text.format_bytes(missing.size)})" if missing.size else about
    return ask_yes_no(console, f"llm: the model {missing.subject}{known} is not on this machine. Download it?")


def confirm_consent(console: Console, hosts: Sequence[str]) -> bool:
    """Ask whether data may be sent to these hosts, from now on; False without a terminal."""
    receivers = " and ".join(hosts)
    question = f"llm: {receivers} will receive what you type and the documents that you name. Send them from now on?"
    return can_ask(console) and ask_yes_no(console, question, enter=False)
