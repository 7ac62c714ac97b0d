"""generate: a kind of text (one prompt file each) and its variables become a text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from llmcli.backends.base import Backend
from llmcli.errors import MissingError, UsageError
from llmcli.prompts import Prompt, PromptLibrary
from llmcli.prompts.contracts import GENERATE_PREFIX
from llmcli.tasks.execution.single_request import run_single_request
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request, max_answer_tokens
from llmcli.types import Priority, TaskEvent

MAX_TOKENS = 2048
INPUT_VARIABLES = ("text", "input")


def list_kinds(prompts: PromptLibrary) -> list[str]:
    """Return the kinds of text that have prompt files, sorted; no file is opened."""
    return [name.removeprefix(GENERATE_PREFIX) for name in prompts.names(GENERATE_PREFIX)]


def generate(  # noqa: PLR0917 (named by the caller, in the order of the command line)
    backend: Backend,
    prompts: PromptLibrary,
    kind: str,
    variables: Mapping[str, str],
    text: str | None,
    options: GenerationOptions,
) -> Iterator[TaskEvent]:
    """Write a text of ``kind``: Deltas, then one Result, or ItemFailed.

    ``text`` is the text from stdin, None if it was not read; it becomes the variable ``text`` or ``input`` of the
    prompt. Raises ``MissingError`` (kind "prompt", with similar kinds) and ``UsageError`` (unknown, missing or invalid
    variables; text for a prompt that takes none).
    """
    prompt = find_kind(prompts, kind)
    values = dict(variables)
    if text is not None and text.strip():
        values[_input_variable(prompt, kind, variables)] = text
    request = make_request(
        "generate",
        prompt.render(values),
        prompt,
        options,
        max_tokens=max_answer_tokens(prompt, options, MAX_TOKENS),
        priority=Priority.INTERACTIVE,
    )
    if prompt.output != "text":
        request = replace(request, schema=prompt.schema, labels=prompt.labels)
    yield from run_single_request(backend, request, options, prompt=prompt.name, name=kind)


def find_kind(prompts: PromptLibrary, kind: str) -> Prompt:
    """Return the prompt of a kind of text. Raises ``MissingError`` (with similar kinds) and ``UsageError``."""
    try:
        return prompts.get(GENERATE_PREFIX + kind)
    except MissingError as error:
        near = difflib.get_close_matches(kind, list_kinds(prompts), n=3, cutoff=0.5)
        raise MissingError(kind, kind=error.kind, suggestions=near or list_kinds(prompts)) from error


def _input_variable(prompt: Prompt, kind: str, given: Mapping[str, str]) -> str:
    for name in INPUT_VARIABLES:
        if name in prompt.variables and name not in given:
            return name
    takes = ", ".join(f"--var {name}=..." for name in prompt.variables)
    raise UsageError(f"generate {kind} reads no text from stdin; it takes {takes or 'no variables'}")
