"""Texts on the command line: an option's value or ``@FILE``; variables of a prompt; words without quotes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import document_inputs, inputs
from llmcli.cli.input.inputs import STDIN
from llmcli.errors import EmptyInput, MissingError, UsageError


def _read_text_value(ctx: CommandContext, option: str, value: str) -> str:
    """Return the text of an option; for ``@FILE`` the file's text without trailing newlines, as $(cat FILE) gives it.

    ``@@`` at the start is a literal ``@``; ``option`` names the option in errors. Raises ``UsageError``, and what
    ``read_document`` raises.
    """
    if not value.startswith("@") or value.startswith("@@"):
        return value.removeprefix("@")
    if value == "@":
        raise UsageError(f"{option}@ names no file", detail=f"Try: {option}@FILE, or @@ for a literal @")
    try:
        return document_inputs.read_document(ctx, value[1:]).text.rstrip("\r\n")
    except MissingError as error:
        raise MissingError(value[1:], kind="file of a variable", detail=error.detail) from error


def read_option_text(ctx: CommandContext, option: str, value: str) -> str:
    """Return the text of an option such as ``--system TEXT|@FILE``.

    Raises as ``_read_text_value``, and ``EmptyInput`` for a blank file: the option would do nothing.
    """
    value = inputs.decode_argument(value)
    text = _read_text_value(ctx, f"{option} ", value)
    if value.startswith("@") and not text.strip():
        raise EmptyInput(value[1:])
    return text


def read_variables(ctx: CommandContext, texts: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of the variables ``NAME=VALUE``, and ``["-"]`` if one of them is standard input.

    Raises ``UsageError``, and what ``_read_text_value`` raises.
    """
    pairs = [_parse_assignment(inputs.decode_argument(text)) for text in texts]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--var sets {twice} twice")
    read = [value[1:] for _, value in pairs if value == f"@{STDIN}"]
    if len(read) > 1:
        raise UsageError("standard input can be read only once")
    return {name: _read_text_value(ctx, f"--var {name}=", value) for name, value in pairs}, read


def _parse_assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--var expects NAME=VALUE, not {text!r}")
    return name.strip(), value


_FILE_OPTIONS = ("-f", "--file")


def join_words(ctx: CommandContext, words: Sequence[str] | None, *, reads_files: bool = False) -> str | None:
    """Return the text that consists of ``words``; None without a word. ``reads_files``: the command has ``-f``.

    Raises ``UsageError`` if options stand between the words, since these may be part of the text, and if the words
    after the file of ``-f`` begin with other files, as the shell makes them of ``-f *.txt``. A file beside a text in
    quotes is one that the user wants to be read.
    """
    if not words:
        return None
    if len(words) > 1:
        if reads_files:
            _refuse_file_beside_text(words)
        _check_position(ctx.console.environment.argv, words)
    return " ".join(words)


def _refuse_file_beside_text(words: Sequence[str]) -> None:
    quoted = [word for word in words if any(map(str.isspace, word)) and not os.path.isfile(word)]  # noqa: PTH113 (a Path raises for a long name)
    file = next(filter(os.path.isfile, words), None) if quoted else None
    if file is not None:
        raise UsageError(f"{file} is a file, but stands in your text", detail=f"To read it: -f {shlex.quote(file)}")


def _check_position(argv: Sequence[str], words: Sequence[str]) -> None:
    line = list(argv)
    if "--" in line:
        line.remove("--")
    count = len(words)
    start = next((at for at in range(len(line) - count + 1) if line[at : at + count] == list(words)), None)
    if start is None:
        raise UsageError(
            "options stand between the words of your text",
            detail="Put the text in quotes, or the options before or after it.",
        )
    if _follows_file(line[:start]) and os.path.exists(words[0]):  # noqa: PTH110 (a Path raises for a long name)
        raise UsageError(
            f"{words[0]} is a file, but stands where your text begins",
            detail='Name each file with -f, or quote a pattern: -f "*.txt"',
        )


def _follows_file(before: Sequence[str]) -> bool:
    """Whether the last of the words ``before`` is the file of ``-f``."""
    *_, option, value = ("", "", *before)
    return option in _FILE_OPTIONS or value.startswith("--file=") or (value.startswith("-f") and value != "-f")
