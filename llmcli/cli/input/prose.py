"""A text that stands on the command line in several words, without quotes."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.errors import UsageError

_FILE_OPTIONS = ("-f", "--file")


def join_words(ctx: CommandContext, words: Sequence[str] | None) -> str | None:
    """Return the text that consists of ``words``; None without a word.

    Raises ``UsageError`` if options stand between the words, since these may be part of the text, and if the words after
    the file of ``-f`` begin with other files, as the shell makes them of ``-f *.txt``.
    """
    if not words:
        return None
    if len(words) > 1:
        _check_position(ctx.console.environment.argv, words)
    return " ".join(words)


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
    if _follows_file(line[:start]):
        import os

        if os.path.exists(words[0]):  # noqa: PTH110 (a Path raises for a long name)
            raise UsageError(
                f"{words[0]} is a file, but stands where your text begins",
                detail='Name each file with -f, or quote a pattern: -f "*.txt"',
            )


def _follows_file(before: Sequence[str]) -> bool:
    """Whether the last of the words ``before`` is the file of ``-f``."""
    *_, option, value = ("", "", *before)
    return option in _FILE_OPTIONS or value.startswith("--file=") or (value.startswith("-f") and value != "-f")
