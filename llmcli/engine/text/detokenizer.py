"""Turns the bytes of generated tokens into text: UTF-8 decoding, reasoning, stop strings, repetition.

``OutputProcessor`` is a chain of small parts; the pieces that it returns concatenate exactly to the final text.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from llmcli.text_stream import ReasoningParser, RepetitionGuard, partial_match_length
from llmcli.types import RepetitionPolicy


class Utf8Decoder:
    """Turns bytes of tokens into text; holds back incomplete characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """Return the characters that ``data`` completes."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """Return the rest; an incomplete character becomes U+FFFD."""
        return self._decoder.decode(b"", final=True)


class StopStringMatcher:
    """Finds the first stop string in a stream and never returns a part of it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._pending_text = ""
        self.matched: str | None = None
        """The stop string that was found."""

    def feed(self, text: str) -> str:
        """Return the text that is safe to show; at a complete stop string set ``matched`` and drop what follows."""
        if self.matched is not None:
            return ""
        if not self._stops:
            return text
        text = self._pending_text + text
        # the string that is complete first, so that the answer does not depend on token boundaries; then the longest
        found = [(index + len(stop), index) for stop in self._stops if (index := text.find(stop)) >= 0]
        if found:
            end, start = min(found)
            self.matched = text[start:end]
            self._pending_text = ""
            return text[:start]
        keep = partial_match_length(text, self._stops)
        self._pending_text = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return the text that was held back: the answer ended, so it was no stop string."""
        text, self._pending_text = self._pending_text, ""
        return "" if self.matched is not None else text


class OutputProcessor:
    """Turns token bytes into (reasoning, answer)."""

    def __init__(
        self,
        stops: Sequence[str],
        tags: tuple[str, str] | None,
        *,
        inside: bool,
        lstrip: bool,
        repetition: RepetitionPolicy = RepetitionPolicy.OFF,
    ) -> None:
        """``lstrip``: remove the space that SentencePiece models put before a text from the first piece."""
        self._decoder = Utf8Decoder()
        self._reasoning_parser = ReasoningParser(tags, inside=inside)
        self._stop_matcher = StopStringMatcher(stops)
        self._lstrip = lstrip
        self._reasoning_guard, self._answer_guard = RepetitionGuard(repetition), RepetitionGuard(repetition)

    @property
    def stop_string(self) -> str | None:
        """The stop string that ended the answer."""
        return self._stop_matcher.matched

    @property
    def repeats(self) -> bool:
        """Whether the answer or the reasoning repeats itself, so that it must end."""
        return self._answer_guard.stopped or self._reasoning_guard.stopped

    def feed(self, data: bytes) -> tuple[str, str]:
        """Process the bytes of one token; return (reasoning, answer)."""
        text = self._decoder.feed(data)
        if self._lstrip and text:
            text, self._lstrip = text.removeprefix(" "), False
        reasoning, answer = self._reasoning_parser.feed(text)
        return self._reasoning_guard.feed(reasoning), self._answer_guard.feed(self._stop_matcher.feed(answer))

    def flush(self) -> tuple[str, str]:
        """Return the rest at the end."""
        reasoning, answer = self._reasoning_parser.feed(self._decoder.flush(), last=True)
        answer = self._stop_matcher.feed(answer) + self._stop_matcher.flush()
        return (
            self._reasoning_guard.feed(reasoning) + self._reasoning_guard.flush(),
            self._answer_guard.feed(answer) + self._answer_guard.flush(),
        )
