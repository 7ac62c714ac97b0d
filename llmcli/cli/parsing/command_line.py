"""Parses the usual command lines, as Typer would, without importing Typer.

Only what is plainly right is parsed here. Anything else (help, an unknown option, a value out of range, an option whose
value begins with a dash, ...) is left to Typer, which parses the words again and reports what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import UnionType
from typing import Any

from llmcli.cli.parsing.parameters import REQUIRED, Argument, CommandParameter, Option, require_usable_number


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
    """Return the first of the words that is neither an option of ``parameters`` nor the value of one.

    None if there is none, or an unknown option before it.
    """
    rest = iter(words)
    for word in rest:
        if word == "--":
            return next(rest, None)
        if len(word) == 1 or not word.startswith("-"):
            return word
        parameter = option_of(parameters, word)
        if parameter is None:
            return None
        is_joined = "=" in word if word.startswith("--") else len(word) > len("-m")
        if not _is_switch(parameter) and not is_joined:
            next(rest, None)
    return None


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
