"""The options of a prompt file: names, types, ranges (those of ``types.Sampling``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llmcli.prompts.prompt_file import PromptOptions


def _number_reader(low: float, high: float = math.inf, *, above: bool = False) -> Callable[[Any], float | None]:
    """Return a reader of numbers from ``low`` (``above``: greater than it) to ``high``; None for anything else."""

    def read(value: Any) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return float(value) if low <= value <= high and not (above and value == low) else None

    return read


def _read_count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def _read_stop(value: Any) -> tuple[str, ...] | None:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        return None
    return tuple(texts)


_OPTION_READERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "temperature": (_number_reader(0), "a number of at least 0"),
    "max_tokens": (_read_count, "a whole number of at least 1"),
    "stop": (_read_stop, "a text or a list of texts, none empty"),
    "top_k": (_read_count, "a whole number of at least 1"),
    "top_p": (_number_reader(0, 1, above=True), "a number above 0, up to 1"),
    "min_p": (_number_reader(0, 1), "a number from 0 to 1"),
    "repeat_penalty": (_number_reader(0, above=True), "a number above 0"),
}


def read_options(value: object) -> tuple[PromptOptions, list[tuple[str, str]]]:
    """Return the options and their problems as (key, sentence); ``given`` None stands for no options."""
    if value is None:
        return PromptOptions(), []
    if not isinstance(value, dict):
        return PromptOptions(), [("", f"options must be a mapping with {', '.join(_OPTION_READERS)}")]
    values: dict[str, Any] = {}
    wrong = []
    for key, given in value.items():
        if key not in _OPTION_READERS:
            wrong.append((str(key), f"unknown key options {key} (known: {', '.join(_OPTION_READERS)})"))
            continue
        read, expected = _OPTION_READERS[key]
        parsed = read(given)
        if parsed is None:
            wrong.append((key, f"options {key} must be {expected}, not {given!r}"))
        else:
            values[key] = parsed
    return PromptOptions(**values), wrong
