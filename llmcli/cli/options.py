"""The decorator that turns a function into a command with recurring options.

A command is a function ``command(ctx, its own parameters)``; ``@command(...)`` gives it the recurring options, collects
them in ``Flags`` and passes a ``CommandContext`` built from them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.flags import Flags, ShapesAnswer, shared_options
from llmcli.cli.parsing.parameters import Argument, CommandParameter, Option, read_parameters
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.cli.console.environment import Environment
    from llmcli.interrupt import Interrupt


@frozen
class Invocation:
    """How a command was called: its name, and what ``main`` hands over. Typer's context has the same attributes."""

    info_name: str
    obj: tuple[Environment, Interrupt]


FileOption = Annotated[
    list[str] | None,
    Option("-f", "--file", metavar="FILE", help="A document, directory or - for stdin; repeatable."),
]
SystemOption = Annotated[
    str | None, Option("-s", "--system", metavar="TEXT|@FILE", help="Instructions for the model, or @FILE with them.")
]
SessionOption = Annotated[
    str | None,
    Option(
        "--session",
        metavar="NAME",
        help="Continue this saved chat, or start it.",
        autocompletion="sessions",
    ),
]
ContinueOption = Annotated[bool, Option("--continue", help="Continue the chat used last.")]
VariablesOption = Annotated[
    list[str] | None,
    Option(
        "--var",
        metavar="NAME=VALUE",
        help="A variable of the prompt (@FILE: a file); repeatable.",
    ),
]
YesOption = Annotated[bool, Option("-y", "--yes", help="Do not ask.")]
FilesArgument = Annotated[list[str] | None, Argument(metavar="[FILE]...", help="Documents; - or none: standard input.")]

ALL_OPTIONS = tuple(option.name for option in shared_options())
GENERAL_OPTIONS = ("json", "quiet", "verbose")
"""For commands that do not run a model."""
_REPLACED_FILES = frozenset({"output", "html", "plot", "report", "summary"})
"""Parameters that name files whose content is lost when the command writes them."""


def reject_empty_values(function: Callable[..., int], advice: str = "Try: llm models list") -> Callable[..., int]:
    """Make a command refuse empty arguments: an unset shell variable would otherwise select something else.

    Omitted options are None.
    """

    @functools.wraps(function)
    def wrapper(**given: Any) -> int:
        for value in given.values():
            if value == "" or (isinstance(value, list) and "" in value):
                raise UsageError("an argument is empty (an unset variable?)", detail=advice)
        return function(**given)

    return wrapper


def refuse_overwriting(parameters: Sequence[CommandParameter], values: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` if a command would replace a file that it reads, or write a file twice."""
    replaced = [each for each in parameters if each.name in _REPLACED_FILES and values.get(each.name)]
    if not replaced:
        return
    from llmcli.cli.input.inputs import check_distinct
    from llmcli.cli.provenance.command_parameters import find_named_files, label_of

    roles = {each.name: "the output" if each.name == "output" else label_of(each) for each in replaced}
    reads = [("an input", name) for name in find_named_files(parameters, values)]
    check_distinct(reads, [(roles[name], values[name]) for name in roles])


def command(
    *names: str,
    without: Collection[str] = (),
    writes_text: bool = True,
    examples: str = "",
    tolerant: bool = False,
    flags: type[Flags] = Flags,
) -> Callable[[Callable[..., int | None]], Callable[..., int]]:
    """Add the recurring options called ``names`` (default: all) to a command, and pass it its context.

    ``without``: recurring options that it lacks. A command has --force exactly if it has -o.
    ``writes_text`` False: it reads states or scores of the model, and lacks the options about answers.
    ``examples``: the last lines of its help.
    ``tolerant``: it also works with a broken configuration.
    ``flags``: defines the options.

    The command returns its exit code, None for 0.
    """
    chosen = {*(names or (option.name for option in shared_options(flags)))} - {*without}
    chosen = chosen | {"force"} if "output" in chosen else chosen - {"force"}
    wanted = [
        option
        for option in shared_options(flags)
        if option.name in chosen and (writes_text or not any(isinstance(mark, ShapesAnswer) for mark in option.marks))
    ]

    records_provenance = any(option.name == "provenance" for option in wanted)

    def decorate(function: Callable[..., int | None]) -> Callable[..., int]:
        @functools.wraps(function)
        def wrapper(invocation: Invocation, **given: Any) -> int:
            shared = {option.name: given.pop(option.name) for option in wanted}
            typed = flags(**shared)
            environment, interrupt = invocation.obj
            verb = invocation.info_name
            with CommandContext(typed, environment, interrupt, verb=verb, tolerant=tolerant) as ctx:
                interrupt.check()  # the imports so far may have taken long
                refuse_overwriting(parameters, {**shared, **given})
                if records_provenance and ctx.runtime.settings["provenance"]:
                    ctx.record_provenance(parameters, given)
                code = function(ctx, **given) or 0
                if ctx.provenance is not None:
                    ctx.provenance.write(ctx.runtime)
                return code

        recurring = (CommandParameter(option.name, option.default, option.annotation) for option in wanted)
        parameters = (*read_parameters(function), *recurring)
        wrapper.parameters = parameters  # type: ignore[attr-defined]  # an attribute of a function
        wrapper.examples = examples  # type: ignore[attr-defined]  # an attribute of a function
        return wrapper

    return decorate
