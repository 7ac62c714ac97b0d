"""Find markers in streamed text: a piece is shown only once it cannot be part of a marker."""

from __future__ import annotations

from collections.abc import Sequence


def partial_match_length(text: str, needles: Sequence[str]) -> int:
    """Return the length of the longest suffix of ``text`` that is a proper prefix of one of ``needles``."""
    longest = min(len(text), max((len(needle) for needle in needles), default=1) - 1)
    for length in range(longest, 0, -1):
        tail = text[-length:]
        if any(len(needle) > length and needle.startswith(tail) for needle in needles):
            return length
    return 0


class ReasoningParser:
    """Splits a stream into reasoning and answer at the tags of the chat template."""

    def __init__(self, tags: tuple[str, str] | None, *, inside: bool) -> None:
        self._tags = tags
        self._in_reasoning = inside
        self._pending_text = ""
        self._before_answer = True  # an opening tag may still come; white space before it is dropped

    def feed(self, text: str, *, last: bool = False) -> tuple[str, str]:
        """Return the (reasoning, answer) that is certain so far; with ``last`` everything that is left."""
        if self._tags is None:
            return "", text
        reasoning, answer = "", ""
        text, self._pending_text = self._pending_text + text, ""
        while text:
            tag = self._tags[1] if self._in_reasoning else self._tags[0]
            before, found, after = text.partition(tag)
            if found and (self._in_reasoning or (self._before_answer and not before.strip())):
                reasoning += before if self._in_reasoning else ""
                self._in_reasoning = not self._in_reasoning
                self._before_answer = not self._in_reasoning
                text = after
                continue
            if self._in_reasoning:
                keep = 0 if last else partial_match_length(text, [tag])
                reasoning += text[: len(text) - keep]
                self._pending_text = text[len(text) - keep :]
                break
            if self._before_answer and not last and tag.startswith(text.lstrip()):
                self._pending_text = text  # white space, or the start of an opening tag
                break
            answer += text.lstrip("\n") if self._before_answer and self._tags else text
            self._before_answer = False
            break
        return reasoning, answer
