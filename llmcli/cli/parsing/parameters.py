"""Options and arguments of commands as data: what a command declares in ``Annotated``, read without Typer.

Typer takes 20 ms to import and to build a parser, about as long as all the rest of a start. So commands declare their
parameters with the classes here. ``command_line`` parses the usual command lines by them; ``typer_parser`` turns them
into Typer's for help, completion and errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, get_type_hints

from llmcli.fast_dataclass import frozen

REQUIRED: Any = ...
"""Stands for the default of a parameter without one."""
HELP_ALL = "help_all"
"""The parameter of ``--help-all``, which every command has and no list of options shows."""
MAX_WHOLE_NUMBER = 10**12
"""The largest whole number that any parameter takes, of either sign: SQLite and slices hold 64 bits."""


Completer = str | Callable[..., Any]
"""What completes a value: the name of a function of ``completers``, or another function like those."""


class OptionSection(StrEnum):
    """The headings of options in help, manual pages and reference, in order."""

    OWN = "Options"
    RECORDS = "Records"
    CALIBRATION = "Calibration"
    OUTPUT = "Output"
    MODEL = "Model"
    PRIVACY = "Privacy"
    ENGINE = "Engine"


class Option:
    """An option: its names, such as ``-m`` and ``--model``, and Typer's keyword arguments for it.

    ``section`` is its heading. A ``rare`` option is shown by ``--help-all`` and not by ``--help``; so are all of the
    engine. No help, completion or reference has a ``hidden`` one, the former name of another. ``min`` and ``max`` bound a number, both inclusive. ``callback`` takes the value, the default too, and returns the
    final one; it raises ``ValueError`` with a message if the value is unusable.
    """

    __slots__ = ("callback", "is_rare", "keywords", "max", "min", "names", "section")

    def __init__(
        self,
        *names: str,
        help: str,  # noqa: A002 (Typer's names)
        metavar: str | None = None,
        min: float | None = None,  # noqa: A002
        max: float | None = None,  # noqa: A002
        callback: Callable[[Any], Any] | None = None,
        autocompletion: Completer | None = None,
        section: OptionSection = OptionSection.OWN,
        rare: bool = False,
        hidden: bool = False,
    ) -> None:
        self.names = names
        self.section = section
        self.is_rare = rare or section is OptionSection.ENGINE
        self.min = min
        self.max = max
        self.callback = callback
        self.keywords: dict[str, Any] = {
            "help": help,
            "metavar": metavar,
            "min": min,
            "max": max,
            "autocompletion": autocompletion,
            "hidden": hidden,
        }


class Argument:
    """A positional argument, and Typer's keyword arguments for it; ``is_prose``: a text that needs no quotes."""

    __slots__ = ("is_prose", "keywords")

    def __init__(
        self,
        *,
        help: str,  # noqa: A002 (Typer's name)
        metavar: str,
        autocompletion: Completer | None = None,
        is_prose: bool = False,
    ) -> None:
        self.is_prose = is_prose
        self.keywords: dict[str, Any] = {"help": help, "metavar": metavar, "autocompletion": autocompletion}


def require_usable_number(value: Any) -> None:
    """Raise ``ValueError`` if the value is, or holds, an infinite number, NaN, or a whole number that is too large."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, float) and not math.isfinite(each):
            raise ValueError(f"{each} is not finite")
        if isinstance(each, int) and abs(each) > MAX_WHOLE_NUMBER:
            raise ValueError(f"expected a whole number of at most {MAX_WHOLE_NUMBER}, not {each}")


def option_names(declaration: Any) -> tuple[str, ...]:
    """Return the names of an option of ours or of Typer's, in which the first one takes the place of a default."""
    if isinstance(declaration, Option):
        return declaration.names
    return (declaration.default, *declaration.param_decls)


@frozen
class CommandParameter:
    """A parameter of a command function: its name, its default or ``REQUIRED``, and its annotation.

    The annotation is ``Annotated[TYPE, DECLARATION, ...]`` with an ``Option``, an ``Argument``, or one of Typer's.
    """

    name: str
    default: Any
    annotation: Any

    @property
    def value_type(self) -> Any:
        """The type of the value."""
        return self.annotation.__origin__

    @property
    def declaration(self) -> Any:
        """The option or argument."""
        return self.annotation.__metadata__[0]


def read_parameters(function: Callable[..., Any]) -> Iterator[CommandParameter]:
    """Yield the parameters of a command function after the first one, which is its context."""
    hints = get_type_hints(function, include_extras=True)
    code: Any = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    values: tuple[Any, ...] = function.__defaults__ or ()
    keyword_values: Mapping[str, Any] = function.__kwdefaults__ or {}
    defaults = dict(zip(positional[len(positional) - len(values) :], values, strict=True)) | dict(keyword_values)
    for name in names:
        yield CommandParameter(name, defaults.get(name, REQUIRED), hints[name])


def class_annotations(cls: type) -> dict[str, Any]:
    """Return the annotations of a class and its bases, bases first, with those that are text evaluated."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        own = base.__dict__.get("__annotations__", {})  # noqa: RUF063 (inspect takes 4 ms to import)
        if any(isinstance(hint, str) for hint in own.values()):
            own = {name: hint for name, hint in get_type_hints(base, include_extras=True).items() if name in own}
        found |= own
    return found
