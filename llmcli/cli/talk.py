"""The talk of ``llm chat``: with a person at a terminal, or with a pipe that gives a message a line."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from llmcli.cli import wording
from llmcli.cli.context import Context
from llmcli.cli.lines import stdin_lines
from llmcli.cli.output import deliver
from llmcli.errors import Interrupted, PartialError
from llmcli.tasks.chat import Conversation

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

_LOOK_S = 0.1
_HELP = """\
/help   this list
/reset  forget what was said
/exit   leave, as Ctrl-D does
Ctrl-C stops an answer. Alt-Enter begins a new line."""


class Talk:
    """One conversation and the way its messages come in."""

    def __init__(self, cli: Context, conversation: Conversation) -> None:
        self._cli = cli
        self._conversation = conversation

    def with_pipe(self) -> int:
        """Answer each line of standard input; returns 0, 3 or the first failure's code."""
        codes = [self._answer(record.text) for record in stdin_lines(self._cli) if record.text.strip()]
        failed = [code for code in codes if code]
        return PartialError.exit_code if failed and len(failed) < len(codes) else (failed or [0])[0]

    def with_person(self) -> int:
        """Talk until the person leaves. Ctrl-C stops an answer, or empties the line; it does not end the program."""
        session = _session(self._cli)
        self._say("Ctrl-C stops an answer, Ctrl-D leaves, /help says more.")
        while True:
            try:
                text = session.prompt("> ", pre_run=self._watch).strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return 0
            if text in {"/exit", "/quit"}:
                return 0
            if text:
                self._handle(text)

    def _handle(self, text: str) -> None:
        if text == "/help":
            self._say(_HELP)
        elif text == "/reset":
            self._conversation.reset()
            self._say("What was said is forgotten.")
        elif text.startswith("/") and text[1:].isalpha():
            self._say(f"There is no {text}. /help lists what there is.")
        else:
            try:
                self._answer(text)
            except Interrupted:
                self._cli.interrupt.clear()

    def _answer(self, text: str) -> int:
        return deliver(self._cli, lambda: self._conversation.say(text))

    def _say(self, text: str) -> None:
        if not self._cli.flags.quiet:
            wording.say(self._cli.world, text)

    def _watch(self) -> None:
        """Let a signal or the deadline end the waiting for a message."""
        from prompt_toolkit.application import get_app

        app, interrupt = get_app(), self._cli.interrupt

        async def watch() -> None:
            while interrupt.error is None:  # noqa: ASYNC110 (a signal handler may not wake an event)
                await asyncio.sleep(_LOOK_S)
            app.exit(exception=interrupt.error)

        app.create_background_task(watch())


def _session(cli: Context) -> PromptSession[str]:
    """Return the line editor on the world's terminal; the prompt goes to stderr where stdout is no terminal."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.data_structures import Size
    from prompt_toolkit.input import create_input
    from prompt_toolkit.output.vt100 import Vt100_Output

    shown = cli.world.stdout if cli.world.terminal(cli.world.stdout) else cli.world.stderr
    return PromptSession(
        input=create_input(os.fdopen(os.dup(cli.world.stdin), encoding="utf-8", errors="replace")),
        # a terminal that does not answer where its cursor is would get a warning and a delay at every prompt
        output=Vt100_Output(
            os.fdopen(os.dup(shown), "w", encoding="utf-8", errors="replace"),
            lambda: Size(cli.world.rows(shown), cli.world.columns(shown)),
            term=cli.world.environ.get("TERM"),
            enable_cpr=False,
        ),
    )
