"""A question on the terminal: the text, wrapped and without control sequences, the keys, the progress."""

from __future__ import annotations

from collections.abc import Mapping

from llmcli.cli.commands.label.label_keys import QUIT, SKIP, UNDO
from llmcli.cli.console import sanitize
from llmcli.cli.console.console import Console
from llmcli.cli.console.wrapping import wrap_words

_OTHER_LINES = 7
"""Of a question, beside its text."""
_MIN_TEXT_LINES = 3


def show_question(console: Console, text: str, keys: Mapping[str, str], progress: str) -> None:
    """Write a question to the terminal, in its present size; the rest of a long text is left out, which is said."""
    environment = console.environment
    columns = max(20, environment.columns(environment.stderr) - 1)
    shown = max(_MIN_TEXT_LINES, environment.rows(environment.stderr) - _OTHER_LINES)
    lines = [
        part for line in sanitize.strip_controls(text).expandtabs().splitlines() for part in wrap_words(line, columns)
    ]
    if len(lines) > shown:
        lines = [*lines[:shown], f"({len(lines) - shown} more lines)"]
    names: dict[str, list[str]] = {}
    for key, label in keys.items():
        names.setdefault(label, []).append(key)
    choices = "  ".join(f"[{'/'.join(found)}] {sanitize.single_line(label)}" for label, found in names.items())
    others = f"[{UNDO}] undo  [{SKIP}] skip  [{QUIT}] quit"
    foot = [part for line in (choices, f"{progress}  {others}") for part in wrap_words(line, columns)]
    console.write_stderr("\n".join(["-" * columns, *lines, "", *foot]))
