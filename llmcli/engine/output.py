"""From the bytes of generated tokens to pieces of answer: UTF-8, reasoning apart, stop strings never leaking.

``AnswerStream`` is a chain of three small parts; the pieces it returns concatenate to the final text exactly.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Utf8Stream:
    """Bytes of tokens to text, holding back characters that are not complete yet."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """Return the characters that ``data`` completes."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """Return what is left; an incomplete character becomes U+FFFD."""
        return self._decoder.decode(b"", final=True)


def held_back(text: str, needles: Sequence[str]) -> int:
    """Return the length of the longest end of ``text`` that is a proper beginning of one of ``needles``."""
    longest = min(len(text), max((len(needle) for needle in needles), default=1) - 1)
    for length in range(longest, 0, -1):
        tail = text[-length:]
        if any(len(needle) > length and needle.startswith(tail) for needle in needles):
            return length
    return 0


class StopMatcher:
    """Finds the first stop string in a stream and never lets a part of it out."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Return what is safe to show; sets ``stopped`` when a stop string is complete and drops what follows."""
        if self.stopped:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        # the one that is complete first, so that the answer does not depend on how tokens cut it; then the longest
        found = [(index + len(stop), index) for stop in self._stops if (index := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        keep = held_back(text, self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return what was held back: the answer ended and it was no stop string."""
        text, self._held = self._held, ""
        return "" if self.stopped else text


class ReasoningSplitter:
    """Splits a stream into reasoning and answer at the template's own tags."""

    def __init__(self, tags: tuple[str, str] | None, *, inside: bool) -> None:
        self._tags = tags
        self._inside = inside
        self._held = ""
        self._fresh = True  # nothing of the answer was seen: an opening tag may come, white space before it is dropped

    def feed(self, text: str, *, last: bool = False) -> tuple[str, str]:
        """Return (reasoning, answer) of what is certain so far; with ``last`` of everything."""
        if self._tags is None:
            return "", text
        reasoning, answer = "", ""
        text, self._held = self._held + text, ""
        while text:
            tag = self._tags[1] if self._inside else self._tags[0]
            before, found, after = text.partition(tag)
            if found and (self._inside or (self._fresh and not before.strip())):
                reasoning += before if self._inside else ""
                self._inside = not self._inside
                self._fresh = not self._inside
                text = after
                continue
            if self._inside:
                keep = 0 if last else held_back(text, [tag])
                reasoning += text[: len(text) - keep]
                self._held = text[len(text) - keep :]
                break
            if self._fresh and not last and tag.startswith(text.lstrip()):
                self._held = text  # white space, or the beginning of an opening tag
                break
            answer += text.lstrip("\n") if self._fresh and self._tags else text
            self._fresh = False
            break
        return reasoning, answer


class AnswerStream:
    """Token bytes in, (reasoning, answer) out."""

    def __init__(self, stops: Sequence[str], tags: tuple[str, str] | None, *, inside: bool, lstrip: bool) -> None:
        """``lstrip``: the first piece begins with the space that SentencePiece models put before a text."""
        self._utf8 = Utf8Stream()
        self._splitter = ReasoningSplitter(tags, inside=inside)
        self._matcher = StopMatcher(stops)
        self._lstrip = lstrip

    @property
    def stopped(self) -> bool:
        """A stop string was complete."""
        return self._matcher.stopped

    def feed(self, data: bytes) -> tuple[str, str]:
        """Take the bytes of one token."""
        text = self._utf8.feed(data)
        if self._lstrip and text:
            text, self._lstrip = text.removeprefix(" "), False
        reasoning, answer = self._splitter.feed(text)
        return reasoning, self._matcher.feed(answer)

    def flush(self) -> tuple[str, str]:
        """Return what is left at the end."""
        reasoning, answer = self._splitter.feed(self._utf8.flush(), last=True)
        return reasoning, self._matcher.feed(answer) + self._matcher.flush()
