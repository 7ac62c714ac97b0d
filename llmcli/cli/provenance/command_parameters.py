"""The options and arguments of a command as a statement has them, and the command line that they are.

Numbers, switches, choices, and the names of files, models, columns and languages are in it as they were typed. Any
other text is private, since it may be a question or a label: only its keyed digest is in the statement.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from llmcli.cli.parsing.parameters import Argument, CommandParameter
from llmcli.fast_dataclass import frozen
from llmcli.provenance.digest_key import KEYED, DigestKey

_FILE_METAVARS = frozenset({"FILE", "[FILE]...", "SOURCE", "[SOURCE]...", "[ANSWER]", "NAME|FILE", "REFERENCE"})
_NAME_METAVARS = frozenset(
    {
        "MODEL",
        "FILE[:SCALE]",
        "LANG",
        "STYLE|@FILE",
        "FORMAT",
        "TYPE",
        "[KIND]",
        "CHAR",
        "I/N",
        "COLUMN",
        "GROUP",
    }
)
_NAMES = frozenset({"backend", "calibration", "column", "index", "label_column", "shell", "swap", "update"})
"""Parameters called ``NAME`` and the like whose values name something that is no text."""
_WRITTEN_FILES = frozenset({"output", "html", "memory", "plot", "report", "summary", "update"})
"""Parameters that name files which the command writes."""
_WHOLE_RUN = frozenset({"assignments", "provenance", "output", "force", "quiet", "verbose", "stats"})
"""Parameters that a statement leaves out: they do not say what the output was made of, or are its settings."""
STDIN = "-"


@frozen
class PrivateText:
    """A text of a run that the statement does not hold: what it is called on the command line, and its digest."""

    label: str
    digest: str


def describe_parameters(
    parameters: Sequence[CommandParameter], values: Mapping[str, Any], key: DigestKey
) -> dict[str, Any]:
    """Return the values that differ from their defaults, by the names of their parameters, as JSON values."""
    found = {}
    for parameter in parameters:
        value = values.get(parameter.name)
        if parameter.name in _WHOLE_RUN or value is None or value == parameter.default:
            continue
        if isinstance(value, list):
            texts = [" ".join(value)] if _is_prose(parameter) else value
            found[parameter.name] = [_describe_value(parameter, each, key) for each in texts]
        else:
            found[parameter.name] = _describe_value(parameter, value, key)
    return found


def _is_prose(parameter: CommandParameter) -> bool:
    return isinstance(parameter.declaration, Argument) and parameter.declaration.is_prose


def _describe_value(parameter: CommandParameter, value: Any, key: DigestKey) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bool | int | float) or (isinstance(value, str) and _is_public(parameter, value)):
        return value
    return {KEYED: digest_text(key, str(value))}


def digest_text(key: DigestKey, text: str) -> str:
    """Return the keyed digest of a text on the command line, as its bytes were typed."""
    return key.digest(os.fsencode(text))[KEYED]


def _is_public(parameter: CommandParameter, text: str) -> bool:
    """Whether the value of a parameter is a name, and no text of the user."""
    if text == STDIN:
        return True
    metavar = _metavar(parameter)
    if metavar in _FILE_METAVARS:
        return "://" not in text  # the address of a page may hold a token
    return metavar in _NAME_METAVARS or parameter.name in _NAMES or _named_file(parameter, text) is not None


def _metavar(parameter: CommandParameter) -> str:
    return str(parameter.declaration.keywords["metavar"])


def _named_file(parameter: CommandParameter, text: str) -> str | None:
    """Return the file that a value reads: itself, or behind an @; None for a text and for a file that is written."""
    if parameter.name in _WRITTEN_FILES:
        return None
    metavar = _metavar(parameter)
    if metavar in _FILE_METAVARS or (metavar == "SCHEMA" and text.endswith(".json") and os.path.isfile(text)):  # noqa: PTH113 (a Path raises for a long name)
        return text
    if metavar == "NAME=VALUE":
        text = text.partition("=")[2]
    takes_file = metavar in {"SCHEMA", "NAME=VALUE"} or metavar.endswith("|@FILE")
    return text[1:] if takes_file and text.startswith("@") and not text.startswith("@@") else None


def find_named_files(parameters: Sequence[CommandParameter], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the regular files that the values of parameters name, and that the command reads."""
    for parameter in parameters:
        value = values.get(parameter.name)
        for text in value if isinstance(value, list) else [value]:
            name = _named_file(parameter, text) if isinstance(text, str) else None
            if name and os.path.isfile(name):  # noqa: PTH113 (the same)
                yield name


def find_private_texts(parameters: Sequence[CommandParameter], described: Mapping[str, Any]) -> list[PrivateText]:
    """Return the texts that a statement's parameters do not hold."""
    labels = {parameter.name: label_of(parameter) for parameter in parameters}
    return [
        PrivateText(labels.get(name, name), str(each.get(KEYED, "")))
        for name, value in described.items()
        for each in (value if isinstance(value, list) else [value])
        if isinstance(each, Mapping)
    ]


def label_of(parameter: CommandParameter) -> str:
    """Return how people call a parameter: --focus, or PROMPT."""
    if isinstance(parameter.declaration, Argument):
        return _metavar(parameter).strip("[].")
    return str(max(parameter.declaration.names, key=len))


def format_words(
    parameters: Sequence[CommandParameter], described: Mapping[str, Any], texts: Mapping[str, str]
) -> list[str]:
    """Return the words of the command line with the parameters of a statement; ``texts``: the private ones by digest.

    What a statement of llm leaves out is no word, since another program may have written this one: no file but that of
    the caller is the output. Raises ``KeyError`` for a text that is missing.
    """

    def open_value(value: Any) -> str:
        return texts[value[KEYED]] if isinstance(value, Mapping) else str(value)

    options: list[str] = []
    arguments: list[str] = []
    for parameter in parameters:
        value = None if parameter.name in _WHOLE_RUN else described.get(parameter.name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if isinstance(parameter.declaration, Argument):
            arguments += map(open_value, values)
            continue
        name = max(parameter.declaration.names, key=len)
        options += [name if each is True else f"{name}={open_value(each)}" for each in values if each is not False]
    return [*options, "--", *arguments]
