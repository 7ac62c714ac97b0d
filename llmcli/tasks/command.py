"""A task in words becomes one command line for the user's shell. It is returned, never run."""

from __future__ import annotations

import json
import re
from collections.abc import Coroutine, Iterator, Mapping
from functools import cache
from typing import Any

from llmcli.backends.base import Backend
from llmcli.errors.incomplete_results import InvalidAnswer
from llmcli.fast_dataclass import frozen, replace
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.answers import Answer, Reading, ask_until, repeat_with
from llmcli.tasks.runner.constrained_answers import ask_constrained
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.runner.text_answers import ask_for_text, text_result
from llmcli.types import Priority, Request, Result, TaskEvent

COMMAND_PROMPT = "command"
MAX_TOKENS = 400
MAX_ATTEMPTS = 2
MAX_COMMAND_CHARS = 400
"""Characters that the schema of the prompt allows: a command that has them all may lack its end."""


@frozen
class ShellCommand:
    """A command line, and what it does in one sentence."""

    command: str
    explanation: str


@cache
def _unsafe_character() -> re.Pattern[str]:
    """Return the pattern of a character that is not displayed, or moves the cursor, in an edit buffer.

    Controls (C0, DEL, C1), line separators, zero-width characters and bidirectional controls.
    """
    return re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


def parse_command(answer: str) -> ShellCommand:
    """Return the command of an answer in JSON.

    Raises ``InvalidAnswer`` if the answer is of another form, or if the command is empty, may be cut, has several lines
    or contains characters that hide what would run.
    """
    try:
        fields = json.loads(answer)
        written, explanation = fields["command"], fields["explanation"].strip()
        command = written.strip()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidAnswer("command", detail="the model did not answer with a command") from error
    if not command:
        raise InvalidAnswer("command", detail="the command is empty")
    if len(written) >= MAX_COMMAND_CHARS:
        raise InvalidAnswer("command", detail=f"the command has {MAX_COMMAND_CHARS} characters or more, and may be cut")
    if _unsafe_character().search(command):
        raise InvalidAnswer("command", detail="the command contains line breaks or invisible characters")
    return ShellCommand(command, " ".join(_unsafe_character().sub(" ", explanation).split()))


def write_command(
    backend: Backend, prompts: PromptLibrary, task: str, shell: str, system: str, options: GenerationOptions
) -> Iterator[TaskEvent]:
    """Write the command for ``task``: progress, then one Result (fields command, explanation, shell), or ItemFailed.

    An answer that is not a single visible command line is requested once more; then the item fails
    (``InvalidAnswer``).
    """
    prompt = prompts.get(COMMAND_PROMPT)
    request = make_request(
        "command",
        prompt.render({"task": task, "shell": shell, "system": system}),
        prompt,
        options,
        max_tokens=max_answer_tokens(prompt, options, MAX_TOKENS),
        priority=Priority.INTERACTIVE,
    )
    yield from run_task(backend, lambda run: _answer_command(run, request, options, schema=prompt.schema, shell=shell))


async def _answer_command(
    run: TaskRun, request: Request, options: GenerationOptions, *, schema: Mapping[str, Any] | None, shell: str
) -> Result:
    """Return the command that a model answers with. Raises ``InvalidAnswer`` if two answers have none."""

    def constrain(request: Request) -> Request:
        return replace(request, schema=schema)

    def ask_model(request: Request) -> Coroutine[Any, Any, Answer]:
        return ask_for_text(run, request, options, shows_text=False)  # its reasoning is reported

    async def ask(request: Request) -> Reading[tuple[Answer, ShellCommand | InvalidAnswer]]:
        answer, _ = await ask_constrained(ask_model, request, [constrain])
        try:
            return Reading((answer, parse_command(answer.text)))
        except InvalidAnswer as error:
            return Reading((answer, error), error.detail)

    *_, last = await ask_until(ask, request, repeat_with(options), attempts=MAX_ATTEMPTS)
    answer, found = last.value
    if isinstance(found, InvalidAnswer):
        raise found
    fields = {"command": found.command, "explanation": found.explanation, "shell": shell}
    return replace(text_result(run, answer, options, prompt=COMMAND_PROMPT, fields=fields), text=found.command)
