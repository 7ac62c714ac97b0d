"""The decorator that turns a function into a command with recurring options.

A command is a function ``command(ctx, its own parameters)``; ``@command(...)`` declares everything else about it, gives
it the recurring options, collects them in ``Flags`` and passes a ``CommandContext`` built from them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea, find_command
from llmcli.cli.flags import Affects, Flags, GivesSetting, SharedOption, Writes, shared_options
from llmcli.cli.parsing.parameters import Argument, CommandParameter, Option, read_parameters
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen
from llmcli.machine_needs import UNKNOWN_WORK, MachineNeeds

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
ContinueOption = Annotated[bool, Option("-c", "--continue", help="Continue the chat used last.")]
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

GENERAL_OPTIONS = ("json", "quiet", "verbose")
"""For commands that do not run a model."""
SHORTEN_ADVICE = "shorten the input"
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


class command:  # noqa: N801 (a decorator)
    """The declaration of a command, which is the decorator of its function.

    The decorated function has it as ``declaration``. It returns its exit code, None for 0.
    """

    def __init__(
        self,
        *options: str,
        without: Collection[str] = (),
        flags: type[Flags] = Flags,
        examples: str = "",
        area: CommandArea = CommandArea.LANGUAGE,
        listed: bool = True,
        also: str = "",
        model_task: str = "",
        overflow_advice: str = SHORTEN_ADVICE,
        needs: MachineNeeds = UNKNOWN_WORK,
        writes: Writes = Writes.TEXT,
        has_rows: bool = True,
        tolerant: bool = False,
    ) -> None:
        """Declare a command.

        ``options``: the recurring options of ``flags`` that it may have (default: all). It has those that suit what it
        ``writes``, what it ``needs`` from the machine, and whether its output ``has_rows``, one for each record; of
        these, ``without`` names those that something else makes meaningless. It has --force exactly if it has -o,
        and --set if an option of its gives a setting.
        ``examples``: the last lines of its help.
        ``area``, ``listed``, ``also`` and ``model_task`` are those of ``ListedCommand``.
        ``overflow_advice``: what to do when the input does not fit the context, in the imperative; "" if only a larger
        context helps.
        ``tolerant``: it also works with a broken configuration.
        """
        self.help = ""
        """The first line of the function's docstring."""
        self.parameters: tuple[CommandParameter, ...] = ()
        """The function's own parameters, then the recurring options."""
        self.examples = examples
        self.area = area
        self.listed = listed
        self.also = also
        self.model_task = model_task
        self.overflow_advice = overflow_advice
        self.needs = needs
        self.writes = writes
        self.has_rows = has_rows
        self._flags = flags
        self._tolerant = tolerant
        chosen = {*(options or (option.name for option in shared_options(flags)))} - {*without}
        chosen = chosen | {"force"} if "output" in chosen else chosen - {"force"}
        if any(
            isinstance(mark, GivesSetting)
            for each in shared_options(flags)
            if each.name in chosen
            for mark in each.marks
        ):
            chosen.add("assignments")
        self._shared = [each for each in shared_options(flags) if each.name in chosen and self._has_effect(each)]

    def _has_effect(self, option: SharedOption) -> bool:
        """Whether a recurring option can change anything."""
        effects = {
            Affects.ANSWER: self.writes is Writes.TEXT,
            Affects.EVALUATION: self.writes is not Writes.COUNTS,
            Affects.ROWS: self.has_rows,
        }
        return all(effects[mark] for mark in option.marks if isinstance(mark, Affects))

    def __call__(self, function: Callable[..., int | None]) -> Callable[..., int]:
        recurring = (CommandParameter(option.name, option.default, option.annotation) for option in self._shared)
        self.help = str(function.__doc__).splitlines()[0]
        self.parameters = (*read_parameters(function), *recurring)

        @functools.wraps(function)
        def wrapper(invocation: Invocation, **given: Any) -> int:
            return self._run(function, invocation, given)

        wrapper.declaration = self  # type: ignore[attr-defined]  # an attribute of a function
        return wrapper

    def _run(self, function: Callable[..., int | None], invocation: Invocation, given: dict[str, Any]) -> int:
        shared = {option.name: given.pop(option.name) for option in self._shared}
        environment, interrupt = invocation.obj
        context = CommandContext(
            self._flags(**shared),
            environment,
            interrupt,
            verb=invocation.info_name,
            needs=self.needs,
            writes=self.writes,
            tolerant=self._tolerant,
        )
        with context as ctx:
            interrupt.check()  # the imports so far may have taken long
            refuse_overwriting(self.parameters, {**shared, **given})
            if "provenance" in shared and ctx.runtime.settings["provenance"]:
                ctx.record_provenance(self.parameters, given)
            code = function(ctx, **given) or 0
            if ctx.provenance is not None:
                ctx.provenance.write(ctx.runtime)
            return code


def declaration_of(function: Any) -> command:
    """Return the declaration of a function made by ``@command``."""
    return cast("command", function.declaration)


def find_parameters(path: str) -> Sequence[CommandParameter]:
    """Return the parameters of the command that words such as "ask" or "quiz make" name; none if they name none."""
    word, _, rest = path.partition(" ")
    found = find_command(word)
    if found is None or found.is_group != bool(rest):
        return ()
    function = found.load()
    if found.is_group:
        function = next((each.callback for each in function.registered_commands if each.name == rest), None)
    return () if function is None else declaration_of(function).parameters
