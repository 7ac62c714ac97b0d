"""``llm models search`` and ``llm models recommend``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from llmcli.cli import command_registry
from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import GENERAL_OPTIONS, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.errors import UsageError

_TASKS_OF_NO_COMMAND = ("code",)
"""Tasks of the catalogue without a command."""


def task_by_use() -> dict[str, str]:
    """Return the catalogue task for each use of a model: the task itself, or a command that needs it."""
    verbs = {command.name: command.model_task for command in command_registry.model_commands()}
    del verbs["label"]  # it prepares what classify does, with the same model
    del verbs["run-batch"]  # its requests are those of another program
    tasks = dict.fromkeys([*verbs.values(), *_TASKS_OF_NO_COMMAND])
    return {task: task for task in tasks} | dict(sorted(item for item in verbs.items() if item[0] not in tasks))


class ModelUse(StrEnum):
    """The use of a model: a task of the catalogue, or a command that needs one."""

    _ignore_ = "_members _use"
    _members = vars()
    for _use in task_by_use():
        _members[_use.upper()] = _use

    @property
    def task(self) -> str:
        """The task of the catalogue."""
        return task_by_use()[self.value]


_DEFAULT_USE = ModelUse("chat")


@command(
    *GENERAL_OPTIONS,
    "ctx",
    "offline",
    "timeout",
    examples="""
      llm models search qwen3 4b
      llm models search gemma --ctx 32768 --limit 3
      llm models search mistral small --json | jq -r 'select(.taken).name'
    """,
)
def search(
    ctx: CommandContext,
    words: Annotated[list[str], Argument(metavar="WORDS...", help="Parts of the name of a repository.")],
    limit: Annotated[
        int, Option("--limit", min=1, max=50, metavar="N", help="Show at most this many repositories.")
    ] = 10,
) -> int:
    """Search the Hub for GGUF models, and show what each needs and whether it fits this machine.

    Lists every quantization of each repository: its size, the memory it needs with the wanted context (--ctx), whether
    that fits memory and GPU, the estimated tokens per second, and which one llm models pull would choose. Reads
    the header of one file of each repository, a few megabytes.

    In a pipe, tab-separated: name, quantization, bytes, bytes needed, context, fits, on the GPU, tokens per second,
    taken, bits per weight, file, repository, licence, gated, downloads, updated.

    The exit code is 66 if nothing was found, and 3 if a repository did not answer or gave sizes but no header. The
    memory needs and the fit are then empty, unless the weights alone do not fit.
    """
    from llmcli.cli.commands.models import search_view

    wanted = " ".join(words).strip()
    if not wanted:
        raise UsageError("search for what?", detail="Try: llm models search qwen3")
    return search_view.show_search(ctx, wanted, limit)


@command(
    *GENERAL_OPTIONS,
    "ctx",
    examples="""
      llm models recommend
      llm models recommend --for translate --language fi --language sv
      llm models pull "$(llm models recommend --for summarize | head -n 1 | cut -f 1)"
    """,
)
def recommend(
    ctx: CommandContext,
    use: Annotated[ModelUse, Option("--for", help="What the model is for.")] = _DEFAULT_USE,
    language: Annotated[
        list[str] | None,
        Option(
            "--language",
            metavar="LANG",
            help="A language that the model must know: fi, French; repeatable.",
            autocompletion="languages",
        ),
    ] = None,
) -> int:
    """Recommend models of the catalogue for this machine, a task and languages, the best first.

    Lists only models that fit with the wanted context (--ctx). Those that read well at 10 tokens per second or more
    come first, those slower than reading speed last. Uses no network: sizes and speeds are estimates.

    In a pipe, tab-separated: name, task, bytes, bytes needed, context, fits, on the GPU, tokens per second, here,
    licence, languages, why.
    """
    from llmcli.cli.commands.models import search_view
    from llmcli.tasks.languages import parse_language

    codes = [parse_language(each).code for each in language or ()]
    return search_view.show_recommendations(ctx, use.task, codes)
