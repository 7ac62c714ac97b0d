"""The options that recur, each defined once, and the decorator that adds them to a command.

A command is a function ``command(ctx, its own parameters)``; ``@command(...)`` gives it the recurring options, gathers
them into ``Flags`` and passes a ``CommandContext`` made of them.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import typer

from llmcli.cli import completers
from llmcli.cli.command_context import CommandContext
from llmcli.errors import UsageError
from llmcli.frozen_dataclass import frozen

SEED_MAX = 2**32 - 1


def _require_finite(value: float | None) -> float | None:
    """Refuse the numbers that no range keeps out."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not finite")
    return value


@frozen
class Flags:
    """The recurring options as typed; None where not given."""

    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Name, file or repository of the model.",
            autocompletion=completers.models,
        ),
    ] = None
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            metavar="NAME",
            help="Where the model runs: local, or a server of the configuration.",
            autocompletion=completers.backends,
        ),
    ] = None
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="Run it on the server at this address (OpenAI's protocol)."),
    ] = None
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write there instead of standard output.")
    ] = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each result.")] = False
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, metavar="N", help="Longest answer, in tokens.")
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature", min=0.0, metavar="T", help="0 takes the likeliest token always.", callback=_require_finite
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=SEED_MAX, metavar="N", help="Repeat the same random choices.")
    ] = None
    deterministic: Annotated[
        bool | None, typer.Option("--deterministic", help="Bit-identical answers, alone or in a batch.")
    ] = None
    reasoning: Annotated[bool, typer.Option("--reasoning", help="Show a thinking model's reasoning on stderr.")] = False
    ctx: Annotated[int | None, typer.Option("--ctx", min=64, metavar="N", help="Context in tokens.")] = None
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, metavar="N", help="Threads (default: the cores that are free).")
    ] = None
    gpu_layers: Annotated[
        str | None, typer.Option("--gpu-layers", metavar="N|auto", help="Layers on the GPU (auto: as many as fit).")
    ] = None
    kv_type: Annotated[
        str | None,
        typer.Option(
            "--kv-type",
            metavar="TYPE",
            help="Type of the KV cache: auto, f16, q8_0, bf16.",
            autocompletion=completers.kv_types,
        ),
    ] = None
    pull: Annotated[bool | None, typer.Option("--pull", help="Fetch a missing model without asking.")] = None
    offline: Annotated[bool | None, typer.Option("--offline", help="Never open a network connection.")] = None
    yes: Annotated[bool, typer.Option("--yes", help="Let the server have what is sent; do not ask.")] = False
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Run the model in this process.")] = False
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Do not read standard input.")] = False
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.001, metavar="S", help="Give up after S seconds (exit 124).")
    ] = None
    stats: Annotated[bool, typer.Option("--stats", help="Tokens, speed, threads, memory and energy on stderr.")] = False
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No warnings and no progress.")] = False
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more on stderr; log a bug's traceback.")] = False


FileOption = Annotated[
    list[str] | None, typer.Option("-f", "--file", metavar="FILE", help="A document; repeatable; - is standard input.")
]
YesOption = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
FilesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[FILE]...", help="Documents; - or none: standard input.")
]

ALL_OPTIONS = tuple(field.name for field in fields(Flags))
GENERAL_OPTIONS = ("json", "quiet", "verbose")
"""For commands that run no model."""


def reject_empty_values(function: Callable[..., int], advice: str = "Try: llm models list") -> Callable[..., int]:
    """Let a command refuse every text that is given and empty: a variable that is not set would name another thing.

    Options whose text may be left out are None by default.
    """

    @functools.wraps(function)
    def wrapper(**given: Any) -> int:
        for value in given.values():
            if value == "" or (isinstance(value, list) and "" in value):
                raise UsageError("a name is empty (a variable that is not set?)", detail=advice)
        return function(**given)

    return wrapper


def command(
    *names: str, examples: str = "", tolerant: bool = False
) -> Callable[[Callable[..., int | None]], Callable[..., int]]:
    """Add the recurring options called ``names`` (default: all) to a command and pass it a ``CommandContext``.

    ``examples`` are the lines that end its help; ``tolerant``: the command works with a broken configuration too. The
    command returns its exit code, None for 0.
    """
    hints = get_type_hints(Flags, include_extras=True)
    wanted = [field for field in fields(Flags) if not names or field.name in names]

    def decorate(function: Callable[..., int | None]) -> Callable[..., int]:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
            for field in wanted
        ]
        context = inspect.Parameter("typer_context", keyword, annotation=typer.Context)

        @functools.wraps(function)
        def wrapper(typer_context: typer.Context, **given: Any) -> int:
            flags = Flags(**{field.name: given.pop(field.name) for field in wanted})
            environment, interrupt = typer_context.obj
            with CommandContext(
                flags, environment, interrupt, verb=typer_context.info_name or "", tolerant=tolerant
            ) as ctx:
                interrupt.check()  # what was imported until here took longer than many a command
                return function(ctx, **given) or 0

        parameters = [*(p.replace(kind=keyword) for p in own), *shared, context]
        wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapper.examples = "\b\nExamples:\n  " + inspect.cleandoc(examples).replace("\n", "\n  ")  # type: ignore[attr-defined]
        return wrapper

    return decorate
