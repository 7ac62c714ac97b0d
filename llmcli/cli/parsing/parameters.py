"""Options and arguments of commands as data: what a command declares in ``Annotated``, read and parsed without Typer.

Typer takes 20 ms to import and to build a parser, about as long as all the rest of a start. So commands declare their
parameters with the classes here, and ``parse_words`` parses the usual command lines by them. Only what is plainly right
is parsed so. Anything else (help, an unknown option, a value out of range, an option whose value begins with a dash,
...) is left to Typer, into whose parameters ``typer_parser`` turns these; it reports what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from types import UnionType
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
    engine. No help, completion or reference has a ``hidden`` one, the former name of another. ``min`` and ``max`` bound
    a number, both inclusive. ``callback`` takes the value, the default too, and returns the final one; it raises
    ``ValueError`` with a message if the value is unusable.
    """

    __slots__ = ("callback", "is_rare", "keywords", "max", "min", "names", "section")

    def __init__(
        self,
        *names: str,
        help: str,  # noqa: A002 (Typer's names)
        metavar: str | None = None,
        min: float | None = None,  # noqa: A002 (as above)
        max: float | None = None,  # noqa: A002 (as above)
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


# ---- command lines ---------------------------------------------------------------------------------------------------


class TyperFallback(Exception):
    """Typer has to parse these words."""


def parse_words(parameters: Sequence[CommandParameter], words: Sequence[str]) -> dict[str, Any] | None:
    """Return the value of each parameter from the words after a command's name; None if Typer has to parse them.

    Raises what the callbacks of the options raise, ``ValueError`` excepted.
    """
    try:
        given = _split_words(_options_by_name(parameters), words)
        return _assign_positional(parameters, given.pop("")) | {
            parameter.name: _option_value(parameter, given.get(parameter.name, []))
            for parameter in parameters
            if isinstance(parameter.declaration, Option)
        }
    except TyperFallback:
        return None


def _options_by_name(parameters: Sequence[CommandParameter]) -> dict[str, CommandParameter]:
    named = {}
    for parameter in parameters:
        declaration = parameter.declaration
        if isinstance(declaration, Option):
            named.update(dict.fromkeys(declaration.names, parameter))
        elif not isinstance(declaration, Argument):
            raise TyperFallback
    return named


def option_of(parameters: Sequence[CommandParameter], word: str) -> CommandParameter | None:
    """Return the option that a word names, alone or joined to its value; None if it names none of ``parameters``."""
    name = word.partition("=")[0] if word.startswith("--") else word[:2]
    return next((each for each in parameters if name in getattr(each.declaration, "names", ())), None)


def first_argument(parameters: Sequence[CommandParameter], words: Sequence[str]) -> str | None:
    """Return the first of ``argument_words``: None if there is none, or an unknown option before it."""
    return next(argument_words(parameters, words), None)


def argument_words(parameters: Sequence[CommandParameter], words: Sequence[str]) -> Iterator[str | None]:
    """Yield the words that are neither an option of ``parameters`` nor the value of one; None for an unknown option."""
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from rest
        elif len(word) == 1 or not word.startswith("-"):
            yield word
        elif (parameter := option_of(parameters, word)) is None:
            yield None
        else:
            is_joined = "=" in word if word.startswith("--") else len(word) > len("-m")
            if not _is_switch(parameter) and not is_joined:
                next(rest, None)


def _split_words(named: Mapping[str, CommandParameter], words: Sequence[str]) -> dict[str, list[str]]:
    """Return the texts given to each parameter, with those of the arguments under the name ""; a switch gets ""."""
    given: dict[str, list[str]] = {"": []}
    rest = iter(words)
    for word in rest:
        if word == "--":
            given[""] += rest
        elif len(word) == 1 or not word.startswith("-"):  # "-" is standard input
            given[""].append(word)
        else:
            name, equals, value = _split_option(word)
            parameter = named.get(name)
            if parameter is None or (_is_switch(parameter) and equals):
                raise TyperFallback
            if not _is_switch(parameter) and not equals:
                value = next(rest, "--")
                if value.startswith("-") and value != "-":
                    raise TyperFallback
            given.setdefault(parameter.name, []).append(value)
    return given


def _split_option(word: str) -> tuple[str, str, str]:
    """Return the name in a word, what joins it to a value, and the value: ``--a=b`` or ``-ab``; "" and "" if alone."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, equals, value
    if word[2:3] == "=":
        raise TyperFallback
    return word[:2], word[2:3], word[2:]


def _is_switch(parameter: CommandParameter) -> bool:
    return _single_type(parameter.value_type) is bool


def _single_type(wanted: Any) -> Any:
    """Return the type without ``| None``."""
    if isinstance(wanted, UnionType):
        types = [each for each in wanted.__args__ if each is not type(None)]
        return types[0] if len(types) == 1 else None
    return wanted


def _option_value(parameter: CommandParameter, texts: Sequence[str]) -> Any:
    callback = parameter.declaration.callback
    wanted = _single_type(parameter.value_type)
    if not texts:
        value = parameter.default
        if value is REQUIRED:
            raise TyperFallback
    elif wanted == list[str]:
        value = list(texts)
    else:
        value = _convert(wanted, texts[-1], parameter.declaration)
    if callback is None:
        return value
    try:
        return callback(value)
    except ValueError as error:
        raise TyperFallback from error


def _convert(wanted: Any, text: str, option: Option) -> Any:
    """Return the value that a text stands for."""
    if wanted is bool:
        return True
    if wanted is str:
        return text
    if wanted not in (int, float) and not (isinstance(wanted, type) and issubclass(wanted, Enum)):
        raise TyperFallback
    try:
        value = wanted(text)
        require_usable_number(value)
    except ValueError as error:
        raise TyperFallback from error
    if (option.min is not None and value < option.min) or (option.max is not None and value > option.max):
        raise TyperFallback
    return value


def _assign_positional(parameters: Sequence[CommandParameter], texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of the arguments; a list takes all that are left."""
    values: dict[str, Any] = {}
    rest = list(texts)
    for parameter in parameters:
        if isinstance(parameter.declaration, Argument):
            wanted = _single_type(parameter.value_type)
            if wanted not in (str, list[str]) or (parameter.default is REQUIRED and not rest):
                raise TyperFallback
            taken = rest[:1] if wanted is str else rest
            rest = rest[len(taken) :]
            values[parameter.name] = (taken if wanted is not str else taken[0]) if taken else parameter.default
    if rest:
        raise TyperFallback
    return values
