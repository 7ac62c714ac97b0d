"""One question in a saved chat: its turns are the context, and the question and the answer are added to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.ask.answer_display import AnswerOptions, render_answer
from llmcli.cli.commands.chat import recorder
from llmcli.cli.commands.chat.active_chat import overflow_policy
from llmcli.cli.input import question_inputs, source_inputs
from llmcli.fast_dataclass import replace
from llmcli.tasks.ask.prompted_question import join_documents
from llmcli.tasks.chat.conversation import Conversation
from llmcli.types import TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend


def ask_in_session(
    ctx: CommandContext,
    words: str | None,
    files: Sequence[str],
    wanted: AnswerOptions,
    *,
    session: str | None,
    go_on: bool,
    system: str | None,
) -> int:
    """Answer a question in the chat called ``session``, or with ``go_on`` in the chat used last; return the exit code.

    The documents stand before the question. ``system`` replaces the instructions of the chat, unless it is None. Raises
    what ``read_question`` and ``choose_recorder`` raise.
    """
    question, documents, failed = question_inputs.read_question(ctx, words, files)
    message = "\n\n".join(filter(None, [join_documents(documents), question])) if documents else question
    kept = recorder.choose_recorder(ctx, session, go_on=go_on, off=False, system=system)
    ctx.on_exit(kept.forget_orphaned_states)
    added = ""  # to the instructions of this answer, not of the whole chat
    if wanted.schema is not None:
        from llmcli.cli.commands.ask.schema_answer import schema_instructions

        added = schema_instructions(wanted.schema)

    def task(backend: Backend) -> Iterator[TaskEvent]:
        conversation = Conversation(
            backend,
            ctx.runtime.prompts,
            replace(wanted.generation_options(ctx), system=""),
            system="\n\n".join(filter(None, [kept.session.system, added])),
            saved=kept,
            policy=overflow_policy(ctx, kept.session),
        )
        events = source_inputs.add_source_notes(conversation.send(message), documents, one_answer=True)
        return source_inputs.append_failed(events, failed)

    try:
        code = render_answer(ctx, task, wanted)
    finally:
        kept.flush_warnings()
    return code or kept.exit_code
