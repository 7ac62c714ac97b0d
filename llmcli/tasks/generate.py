"""generate: a kind of text (one prompt file each) and its variables become that text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from llmcli.backends.base import Backend
from llmcli.errors import MissingError, UsageError
from llmcli.tasks.base import Options, answer_limit, make_request, one_answer
from llmcli.templates import Library, Prompt
from llmcli.templates.contracts import GENERATE
from llmcli.types import Priority, TaskEvent

MAX_TOKENS = 2048
INPUT_VARIABLES = ("text", "input")


def kinds(prompts: Library) -> list[str]:
    """Return the kinds of text there are prompt files for, sorted; no file is opened."""
    return [name.removeprefix(GENERATE) for name in prompts.names(GENERATE)]


def generate(  # noqa: PLR0917 (named by the caller, in the order of the command line)
    backend: Backend, prompts: Library, kind: str, variables: Mapping[str, str], text: str | None, options: Options
) -> Iterator[TaskEvent]:
    """Write a text of ``kind``: Deltas, then one Result, or ItemFailed.

    ``text`` is what stdin held, None when it was not read; it becomes the variable ``text`` or ``input`` of the prompt.
    Raises ``MissingError`` (kind "prompt", with the kinds that are spelled alike) and ``UsageError`` (variables that
    are unknown, missing or wrong; text for a prompt that takes none).
    """
    prompt = _prompt(prompts, kind)
    values = dict(variables)
    if text is not None and text.strip():
        values[_input_variable(prompt, kind, variables)] = text
    request = make_request(
        "generate",
        prompt.render(values),
        prompt,
        options,
        max_tokens=answer_limit(prompt, options, MAX_TOKENS),
        priority=Priority.INTERACTIVE,
    )
    if prompt.output != "text":
        request = replace(request, schema=prompt.schema, labels=prompt.labels)
    yield from one_answer(backend, request, options, prompt=prompt.name, name=kind)


def _prompt(prompts: Library, kind: str) -> Prompt:
    try:
        return prompts.get(GENERATE + kind)
    except MissingError as error:
        near = difflib.get_close_matches(kind, kinds(prompts), n=3, cutoff=0.5)
        raise MissingError(kind, kind=error.kind, suggestions=near or kinds(prompts)) from error


def _input_variable(prompt: Prompt, kind: str, given: Mapping[str, str]) -> str:
    for name in INPUT_VARIABLES:
        if name in prompt.variables and name not in given:
            return name
    takes = ", ".join(f"--var {name}=..." for name in prompt.variables)
    raise UsageError(f"generate {kind} reads no text from stdin; it takes {takes or 'no variables'}")
