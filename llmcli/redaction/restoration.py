"""Restore private values in a streamed answer, and report damaged placeholders."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.redaction.placeholders import PLACEHOLDER, TAG, Placeholder
from llmcli.redaction.redactor import UsedPlaceholders

_SEPARATOR = r"(?:\\?[_\-\u2010\u2011\u2013]|[ \u00a0])"
_NUMBER = rf"(?:\\|{_SEPARATOR}[0-9]{{0,9}})?"
_KIND = rf"(?:\\|{_SEPARATOR}(?:[^\W\d_]{{1,20}}{_NUMBER})?)?"
_BEGUN = re.compile(rf"(?i:P(?:I(?:I{_KIND})?)?)\Z")
"""The end of a text that may be the beginning of a placeholder."""
_DIGITS_BEGUN = re.compile(r"[0-9]+\Z")
_MAX_HELD_CHARS = 64
_WITH_DIGITS = re.compile(rf"{PLACEHOLDER.pattern}|(?P<digits>[0-9]+)")


class Restorer:
    """Restores the values of one answer. ``in_json``: they are inserted into JSON strings."""

    def __init__(self, used: UsedPlaceholders, *, in_json: bool = False) -> None:
        self._used = used
        self._in_json = in_json
        self._kinds = {placeholder.kind.upper() for placeholder in used.by_number.values()}
        self._pattern = _WITH_DIGITS if used.by_digits else PLACEHOLDER
        self._held = ""
        self._cut = False
        self.restored: Counter[int] = Counter()
        """How often each placeholder was restored, by number."""
        self.damaged: list[str] = []
        """Damaged placeholders, as the model wrote them."""

    def feed(self, text: str) -> str:
        """Take a piece; return the text that is final."""
        text = self._held + text
        start = max(0, len(text) - _MAX_HELD_CHARS)
        begun = _BEGUN.search(text, start) or (self._used.by_digits and _DIGITS_BEGUN.search(text, start)) or None
        end = begun.start() if begun else len(text)
        self._held = text[end:]
        return self._restore(text[:end])

    def finish(self, *, cut: bool = False) -> str:
        """Return the remaining text; ``cut``: the answer was truncated, so a placeholder at its end may be incomplete."""
        self._cut = cut
        text, self._held = self._held, ""
        return self._restore(text)

    def restore_json(self, value: Any) -> Any:
        """Return a JSON value that is complete, with the values restored in its strings, keys and numbers."""
        if isinstance(value, str):
            return self._restore(value)
        if isinstance(value, Mapping):
            return {self._restore(key): self.restore_json(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.restore_json(inner) for inner in value]
        if isinstance(value, int) and str(value) in self._used.by_digits:
            return int(self._restore(str(value)))
        return value

    def _restore(self, text: str) -> str:
        return self._pattern.sub(self._replacement, text)

    def _replacement(self, match: re.Match[str]) -> str:
        placeholder = self._meant(match)
        if placeholder is None:
            return match.group()
        self.restored[placeholder.number] += 1
        return as_json_text(placeholder.value) if self._in_json else placeholder.value

    def _meant(self, match: re.Match[str]) -> Placeholder | None:
        """Return the placeholder that a match refers to, None for other text; a damaged placeholder is recorded."""
        said = match.group()
        if said.isdigit():
            return self._used.by_digits.get(said)
        kind, number = match["kind"].upper(), match["number"]
        is_ours, joined = kind in self._kinds, " " not in said and "\u00a0" not in said
        placeholder = self._used.by_number.get(int(number)) if number else None
        if placeholder is not None and (placeholder.kind.upper() == kind or (joined and not is_ours)):
            return placeholder
        is_incomplete = self._cut and match.end() == len(match.string)
        if joined and (is_ours or (number and said.startswith(TAG))) and not is_incomplete:
            self.damaged.append(said)
        return None


def as_json_text(value: str) -> str:
    """Escape a value for a JSON string. A value that is valid there stays, since it may come from a JSON document."""
    try:
        json.loads(f'"{value}"')
    except ValueError:
        return json.dumps(value, ensure_ascii=False)[1:-1]
    return value


class StopFilter:
    """Ends an answer at the first of ``stop``, which may be split over pieces."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._held = ""
        self.stopped = False
        self.stop_string: str | None = None

    def feed(self, text: str) -> str:
        """Take a piece; return the final text before a stop string."""
        if self.stopped:
            return ""
        text = self._held + text
        places = [(text.find(stop), stop) for stop in self._stop if stop in text]
        if places:
            place, self.stop_string = min(places)
            self.stopped, self._held = True, ""
            return text[:place]
        held = max((_partial_stop_length(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """Return the rest."""
        text, self._held = self._held, ""
        return text


def _partial_stop_length(text: str, stop: str) -> int:
    """Return the length of the longest suffix of ``text`` that is a prefix of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
