"""Texts given by options: the value itself, or ``@FILE``; and the variables of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import inputs
from llmcli.cli.input.standard_input import STDIN
from llmcli.errors import MissingError, UsageError


def read_text_value(ctx: CommandContext, option: str, value: str) -> str:
    """Return the text of an option; for ``@FILE`` the file's text without trailing newlines, as $(cat FILE) gives it.

    ``@@`` at the start is a literal ``@``; ``option`` names the option in errors. Raises ``UsageError``, and what
    ``read_document`` raises.
    """
    if not value.startswith("@") or value.startswith("@@"):
        return value.removeprefix("@")
    if value == "@":
        raise UsageError(f"{option}@ names no file", detail=f"Try: {option}@FILE, or @@ for a literal @")
    try:
        return inputs.read_document(ctx, value[1:]).text.rstrip("\r\n")
    except MissingError as error:
        raise MissingError(value[1:], kind="file of a variable", detail=error.detail) from error


def read_instructions(ctx: CommandContext, value: str) -> str:
    """Return the text of ``--system TEXT|@FILE``. Raises as ``read_text_value``."""
    return read_text_value(ctx, "--system ", inputs.decode_argument(value))


def read_variables(ctx: CommandContext, texts: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of the variables ``NAME=VALUE``, and ``["-"]`` if one of them is standard input.

    Raises ``UsageError``, and what ``read_text_value`` raises.
    """
    pairs = [_parse_assignment(inputs.decode_argument(text)) for text in texts]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--var sets {twice} twice")
    read = [value[1:] for _, value in pairs if value == f"@{STDIN}"]
    if len(read) > 1:
        raise UsageError("standard input can be read only once")
    return {name: read_text_value(ctx, f"--var {name}=", value) for name, value in pairs}, read


def _parse_assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--var expects NAME=VALUE, not {text!r}")
    return name.strip(), value
