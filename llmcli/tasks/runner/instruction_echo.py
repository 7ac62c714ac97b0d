"""Removes what an answer repeats of its request, above all where a model was told what was wrong.

A small model answers "The summary is no list." when it is told so. Of an answer that is shown while it is written, only
its beginning can be removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher

from llmcli.documents.sentences import find_sentences, sentence_ends
from llmcli.fast_dataclass import replace
from llmcli.tasks.runner.answers import Answer, DeltaSink
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import ReasoningDelta, Request, Role, TextDelta

_MIN_COMMON_WORDS = 4
"""Words in a row that a sentence of an answer shares with one of the instructions."""
_MIN_COMMON_SHARE = 0.75
"""Share of the words in a row, of the shorter sentence."""
_MIN_FIRST_WORDS = 3
"""Words of a sentence that is the beginning of one of the instructions."""
_WORD = re.compile(r"\w+")
_DETERMINERS = frozenset(["a", "an", "the", "each", "every", "that", "this", "these", "those", "my", "your", "its"])
_LIST_MARK = re.compile(r"[ \t]*(?:(?:[-*+\u2022>]|#{1,6}|\d{1,3}[.)])[ \t]+)*")


async def ask_without_echo(
    run: TaskRun,
    request: Request,
    instructions: str,
    *,
    on_delta: DeltaSink | None = None,
    unit_text: str = "",
) -> Answer:
    """Return an answer without what it repeats of ``instructions``, the words of the request around its text.

    The other arguments and errors are as in ``TaskRun.ask``. ``on_delta`` gets what is removed, too.
    """
    answer = await run.ask(request, on_delta=on_delta, unit_text=unit_text)
    return without_instructions(answer, request, instructions)


class LeadingEchoFilter:
    """Passes an answer to ``sink`` without the sentences at its beginning that repeat its request (a ``DeltaSink``).

    So the text is held back until its first sentence is complete. ``instructions`` are as in ``ask_without_echo``.
    """

    def __init__(self, sink: DeltaSink, request: Request, instructions: str) -> None:
        self._sink = sink
        self._repeated = _split_instructions(instructions)
        self._quotable = _quotable_text(_find_sources(request), instructions)
        self._held = ""
        self._num_dropped = 0
        self._passes = not self._repeated

    def __call__(self, delta: TextDelta | ReasoningDelta) -> None:
        """Take a piece."""
        if isinstance(delta, TextDelta) and not self._passes:
            self._held += delta.text
            self._release(delta.id, last=False)
        else:
            self._sink(delta)

    def restart(self) -> bool:
        """Expect the answer from its beginning; return False if a part of it has been passed on."""
        self._held, self._num_dropped, self._passes = "", 0, not self._repeated
        return self._sink.restart()

    def finish(self, answer: Answer) -> Answer:
        """Pass on what is held back of an answer, which has ended; return it as it was passed on."""
        if not self._passes:
            self._release(answer.finished.id, last=True)
        if not self._passes and self._held:  # it has no words
            self._sink(TextDelta(answer.finished.id, self._held))
        return replace(answer, text=answer.text[self._num_dropped :]) if self._num_dropped else answer

    def _release(self, request_id: str, *, last: bool) -> None:
        """Drop complete sentences that repeat one, and pass on what begins with another."""
        if self._num_dropped:
            self._drop(0)
        while (end := self._first_sentence_end(last=last)) is not None:
            spans = find_sentences(self._held[:end])
            if not all(_repeats(self._held[start:stop], self._repeated, self._quotable) for start, stop in spans):
                self._passes = True
                self._sink(TextDelta(request_id, self._held))
                return
            self._drop(end)

    def _drop(self, end: int) -> None:
        """Drop the first ``end`` characters of what is held back, and the ends of lines after them."""
        left = self._held[end:].lstrip("\r\n")
        self._num_dropped += len(self._held) - len(left)
        self._held = left

    def _first_sentence_end(self, *, last: bool) -> int | None:
        """Return where the first sentence ends, with its line or before the next one; None if that is not certain."""
        begin = 0
        for line in self._held.splitlines(keepends=True):
            end = begin + len(line)
            if any(find_sentences(line)):
                ends = sentence_ends(line)
                if len(ends) > 1 and any(map(str.isalnum, line[ends[0] :])):
                    return begin + ends[0]
                return end if last or line.endswith("\n") else None
            begin = end
        return None


def without_instructions(answer: Answer, request: Request, instructions: str) -> Answer:
    """Return an answer to ``request`` without what it repeats of ``instructions``, as in ``ask_without_echo``."""
    return replace(answer, text=remove_instructions(answer.text, instructions, _find_sources(request)))


def _find_sources(request: Request) -> list[str]:
    """Return the texts that an answer may quote."""
    return [message.content for message in request.messages if message.role is not Role.ASSISTANT]


def remove_instructions(text: str, instructions: str, sources: Iterable[str] = ()) -> str:
    """Return a text without the sentences that repeat a sentence of ``instructions``, and without lines so emptied.

    A sentence may differ in determiners, in its first words, or in how it goes on. One that stands in one of the
    ``sources``, apart from the instructions in them, is a quotation and stays.
    """
    repeated = _split_instructions(instructions)
    if not repeated:
        return text
    quotable = _quotable_text(sources, instructions)
    kept: list[str] = []
    skips_blank = False  # of the blank lines around a line that is removed, those above it stay
    for line in text.splitlines(keepends=True):
        cleaned = _clean_line(line, repeated, quotable)
        if cleaned is None:
            skips_blank = not kept or not kept[-1].strip()
        elif cleaned.strip() or not skips_blank:
            kept.append(cleaned)
            skips_blank = False
    left = "".join(kept)
    if left == text:
        return text
    words = left.rstrip()
    return words + left[len(words) :].splitlines(keepends=True)[0] if words != left else words


def _split_instructions(instructions: str) -> list[list[str]]:
    """Return the words of each sentence."""
    return [words for words in map(_split_words, _split_sentences(instructions)) if words]


def _quotable_text(sources: Iterable[str], instructions: str) -> str:
    """Return the sources without the instructions in them, in lower case."""
    return "\n".join(_without(source, instructions) for source in sources).casefold()


def _clean_line(line: str, repeated: Sequence[Sequence[str]], quotable: str) -> str | None:
    """Return a line without the sentences that repeat one; None if nothing is left of it."""
    spans = [(start, end) for start, end in find_sentences(line) if _repeats(line[start:end], repeated, quotable)]
    if not spans:
        return line
    words = line.rstrip("\r\n")
    mark = _LIST_MARK.match(words)[0]  # type: ignore[index]  # it matches everything
    end_of_line = line[len(words) :]
    for start, end in reversed(spans):
        words = words[:start] + words[end:].lstrip(" ")
    words = _LIST_MARK.sub("", words, count=1)
    return f"{mark}{words.rstrip()}{end_of_line}" if any(map(str.isalnum, words)) else None


def _repeats(sentence: str, repeated: Sequence[Sequence[str]], quotable: str) -> bool:
    words = _split_words(sentence)
    return any(_shares_words(words, other) for other in repeated) and sentence.casefold() not in quotable


def _shares_words(words: Sequence[str], other: Sequence[str]) -> bool:
    """Whether enough words in a row are the same, or few words are those with which the other sentence begins."""
    shorter = min(len(words), len(other))
    if len(words) >= _MIN_FIRST_WORDS and words == other[: len(words)]:
        return True
    if shorter < _MIN_COMMON_WORDS:
        return False
    common = SequenceMatcher(None, words, other, autojunk=False).find_longest_match().size
    return common >= max(_MIN_COMMON_WORDS, _MIN_COMMON_SHARE * shorter)


def _split_words(text: str) -> list[str]:
    """Return the words without determiners; "not a list" is "no list"."""
    words = ("no" if word == "not" else word for word in _WORD.findall(text.casefold()))
    return [word for word in words if word not in _DETERMINERS]


def _split_sentences(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from (line[start:end] for start, end in find_sentences(line))


def _without(text: str, instructions: str) -> str:
    for line in filter(str.strip, instructions.splitlines()):
        text = text.replace(line, "")
    return text
