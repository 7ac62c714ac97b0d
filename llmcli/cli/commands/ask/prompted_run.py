"""One question with a prompt of the user's own, from its inputs to its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.ask.answer_display import AnswerOptions
from llmcli.cli.input import question_inputs, source_inputs
from llmcli.cli.input.inputs import STDIN, decode_argument
from llmcli.cli.input.text_values import read_variables
from llmcli.errors import BadVariables, UsageError
from llmcli.prompts.prompt_library import find_own_prompt
from llmcli.tasks.ask.prompted_question import (
    QUESTION_VARIABLES,
    ask_with_prompt,
    fill_record_variables,
    fill_variables,
)
from llmcli.types import TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.cli.records.record_run import RecordRunSpec


def make_prompted_task(
    ctx: CommandContext,
    name: str,
    words: str | None,
    files: Sequence[str],
    variables: Sequence[str],
    wanted: AnswerOptions,
) -> Callable[[Backend], Iterator[TaskEvent]]:
    """Read the inputs, and return the task that answers with the prompt called ``name``.

    Raises as ``find_own_prompt``, ``read_variables``, ``fill_variables`` and ``read_texts``.
    """
    prompt = find_own_prompt(ctx.runtime.prompts, name)
    given, read = read_variables(ctx, variables)
    question = None if words in {None, STDIN} else decode_argument(words or "")
    named = [*files, *([STDIN] if words == STDIN else [])]
    documents, failed = question_inputs.read_texts(ctx, named, reads_stdin=not read, requires_named=False)
    values = fill_variables(prompt, given, question, documents)
    options = wanted.generation_options(ctx)
    try:
        prompt.render(values)
    except BadVariables as error:
        advice = "Pipe the text in, name a file with -f, or set a variable: --var NAME=VALUE"
        if documents and set(error.missing) <= set(QUESTION_VARIABLES):
            advice = 'Ask in words, too: llm ask -p NAME "QUESTION" < FILE'
        raise UsageError(error.subject, detail=advice) from error

    def task(backend: Backend) -> Iterator[TaskEvent]:
        events = ask_with_prompt(backend, prompt, values, options)
        events = source_inputs.add_source_notes(events, documents, one_answer=True)
        return source_inputs.append_failed(events, failed)

    return task


def prompted_spec(
    ctx: CommandContext, name: str, words: str | None, variables: Sequence[str], system: str
) -> RecordRunSpec:
    """Return how each record is answered with the prompt called ``name``. Raises as ``make_prompted_task``."""
    from llmcli.cli.records.record_run import generate_spec

    prompt = find_own_prompt(ctx.runtime.prompts, name)
    given, _ = read_variables(ctx, variables)
    question = None if words is None else decode_argument(words)
    return generate_spec(ctx, prompt, fill_record_variables(prompt, given, question), system=system)
