"""One segment on its way to a translation: tries, checks, a second try that says what was wrong, smaller pieces.

What must not change is replaced by marks once, in the whole segment; pieces of it are pieces of the marked text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from llmcli.documents.pieces import sentences
from llmcli.documents.segments import Segment, Span
from llmcli.tasks.base import EMPTY_ANSWER, Answer, Tally, is_cut, raise_failure
from llmcli.tasks.languages import Language
from llmcli.tasks.together import Cancel
from llmcli.tasks.translation.checks import Expected, cleaned, fitted, problems
from llmcli.tasks.translation.emphasis import emphasis_problem, with_delimiters_apart
from llmcli.tasks.translation.glossary import Term
from llmcli.tasks.translation.marks import mark, put_marks
from llmcli.tasks.translation.translator import Surroundings, Translator, longest, tokens_for
from llmcli.types import Event, Finished, FinishReason, Request

TRIES = 2
"""Tries of a whole segment; after them each of its sentences has one."""
RUNAWAY = "the answer was far longer than a translation"
CUT = "the answer did not come to its end"


@dataclass(slots=True)
class _Part:
    """A piece of the marked text of ``tokens`` tokens; ``before`` and ``after`` are the white space around ``text``."""

    before: str
    text: str
    after: str
    tokens: int
    last: bool = False  # there is no other try
    attempt: int = 0
    answer: Answer = field(default_factory=Answer)
    stopped: bool = False
    translation: str | None = None
    problems: list[str] = field(default_factory=list)


class Unit:
    """A segment; ``translation`` is set when it is ``done``, to None where nothing could be found that is right.

    ``problems`` says why, or what was wrong at first; ``attempts`` counts requests. ``name`` begins the ids of its
    requests.
    """

    def __init__(
        self,
        translator: Translator,
        name: str,
        segment: Segment,
        source: Language | None,
        around: Surroundings,
        *,
        tally: Tally,
    ) -> None:
        self.segment = segment
        self.done = False
        self.translation: str | None = None
        self.problems: list[str] = []
        self.attempts = 0
        self.cut = self.cut_by_user = False
        """It was given up because an answer was cut, and that by the user's own limit."""
        self._translator = translator
        self._name = name
        self._source = source
        self._around = around
        self._tally = tally
        glossary = translator.wording.glossary
        self._marked = put_marks(segment.text, _spans(segment, glossary.kept_in(segment.text)))
        self._terms = tuple(glossary.used_in(self._marked.text))
        self._parts: list[_Part] = []
        self._running: dict[str, _Part] = {}
        self._made = ""  # the last answer, right or not
        self._accepted: str | None = None
        self._correction: _Part | None = None

    @property
    def marked(self) -> str:
        """The text as the model sees it."""
        return self._marked.text

    def do_without_model(self) -> None:
        """Settle on what takes the place of an answer, where the translator has that."""
        if self._translator.instead is not None:
            self.translation = self._marked.between(self._translator.instead)
            self.done = True

    def start(self, pieces: Sequence[tuple[str, int]]) -> Iterator[Request | Cancel]:
        """Yield the first requests; ``pieces``: the marked text, cut to sizes that fit, with the tokens of each."""
        if self.done:
            return
        self._parts = [_part(text, tokens) for text, tokens in pieces]
        for part in list(self._parts):
            yield from self._try(part)
        yield from self._finish_if_done()

    def take(self, event: Event) -> Iterator[Request | Cancel]:
        """Go on after an event about one of its requests; raises the failure of a request."""
        part = self._running.get(event.id)
        if part is None:  # of a try that was given up
            if isinstance(event, Finished):
                self._tally.add(event)
            return
        part.answer.take(event)
        if isinstance(event, Finished):
            del self._running[event.id]
            self._tally.add(event)
            yield from self._judge(part, event)
        elif part.answer.size > longest(part.text) and not part.stopped:
            part.stopped = True
            yield Cancel(event.id)

    # ---- tries ----------------------------------------------------------------------------------------------------

    def _try(self, part: _Part) -> Iterator[Request]:
        if not any(character.isalpha() for character in self._marked.without(part.text)):
            part.translation = part.text
            return
        part.attempt += 1
        self.attempts += 1
        part.answer, part.stopped = Answer(), False
        request_id = f"{self._name}.{self.attempts}"
        self._running[request_id] = part
        yield self._translator.request(
            request_id,
            part.text,
            tokens_for(part.tokens),
            source=self._source,
            around=self._around,
            terms=self._terms_in(part),
            marks=self._sample(part),
            problems=part.problems,
            attempt=part.attempt,
        )

    def _judge(self, part: _Part, finished: Finished) -> Iterator[Request | Cancel]:
        if not part.stopped:
            raise_failure(finished)
        answer = cleaned(part.text, part.answer.text)
        if self.segment.emphasis:
            answer = with_delimiters_apart(self._marked, part.text, answer)
        wrong = self._wrong(part, answer, finished)
        if part is self._correction:
            self._settle(self._accepted if wrong else answer)
            return
        if not wrong:
            part.translation = answer
            yield from self._finish_if_done()
            return
        part.problems = wrong
        self.problems = list(dict.fromkeys([*self.problems, *wrong]))
        self._made = answer
        by_user = bool(self._cut_by_user(finished))  # a second try would end at the same limit
        again = part.attempt < TRIES and not part.last and not by_user
        pieces = [] if part.last or again else sentences(part.text)
        if again:
            yield from self._try(part)
        elif len(pieces) > 1:
            yield from self._split(part, pieces)
        else:
            self.cut, self.cut_by_user = finished.reason is FinishReason.LENGTH, by_user
            yield from self._give_up()

    def _split(self, part: _Part, pieces: Sequence[str]) -> Iterator[Request | Cancel]:
        parts = [_part(piece, part.tokens * len(piece) // len(part.text) + 1) for piece in pieces]
        parts[0].before = part.before + parts[0].before
        parts[-1].after += part.after
        at = self._parts.index(part)
        self._parts[at : at + 1] = parts
        for each in parts:
            each.last = True
            yield from self._try(each)
        yield from self._finish_if_done()

    def _wrong(self, part: _Part, answer: str, finished: Finished) -> list[str]:
        """Return why an answer cannot be the translation of a part."""
        if part.stopped or len(answer) > longest(part.text):
            return [RUNAWAY]
        if finished.reason is FinishReason.LENGTH:
            return [self._cut_by_user(finished) or CUT]
        if not answer:
            return [EMPTY_ANSWER]
        width = self.segment.width
        if width is not None:
            answer = fitted(answer, width, part.text.count("\n") + 1)
        terms, emphasis = tuple(self._terms_in(part)), self.segment.emphasis
        expected = Expected(self._marked, self._source, self._translator.target, terms, width, emphasis)
        return problems(part.text, answer, expected)

    def _cut_by_user(self, finished: Finished) -> str:
        """Return that the user's own limit ended an answer, "" where it did not."""
        limited = finished.reason is FinishReason.LENGTH and not is_cut(finished, self._translator.options)
        return (
            f"the answer did not come to its end within {self._translator.options.max_tokens} tokens" if limited else ""
        )

    def _give_up(self) -> Iterator[Request | Cancel]:
        for request_id in self._running:
            yield Cancel(request_id)
        self._running.clear()
        yield from self._end(None)

    # ---- the end --------------------------------------------------------------------------------------------------

    def _finish_if_done(self) -> Iterator[Request | Cancel]:
        if all(part.translation is not None for part in self._parts) and not self._running:
            whole = "".join(f"{part.before}{part.translation}{part.after}" for part in self._parts)
            wrong = emphasis_problem(self._marked, self.marked, whole) if self.segment.emphasis else ""
            if wrong:  # each part is right, and what began in one does not end in another
                self.problems.append(f"the emphasis is not right: {wrong}")
            yield from self._end(None if wrong else whole)

    def _end(self, translation: str | None) -> Iterator[Request]:
        """Have what was not right at first corrected, where the user wants that, else settle on ``translation``."""
        draft = translation or self._made
        if self._translator.review is None or not self.problems or not draft:
            self._settle(translation)
            return
        self._accepted = translation
        self._correction = part = _part(self._marked.text, sum(part.tokens for part in self._parts))
        self.attempts += 1
        request_id = f"{self._name}.{self.attempts}"
        self._running[request_id] = part
        yield self._translator.correction(
            request_id,
            part.text,
            draft,
            tokens_for(part.tokens),
            source=self._source,
            terms=self._terms,
            marks=self._sample(part),
            problems=self.problems,
        )

    def _settle(self, translation: str | None) -> None:
        if translation is not None and self.segment.width is not None:
            translation = fitted(translation, self.segment.width, self.segment.text.count("\n") + 1)
        self.translation = None if translation is None else self._marked.restore(translation)
        self.done = True

    def _terms_in(self, part: _Part) -> list[Term]:
        glossary = self._translator.wording.glossary
        return glossary.used_in(part.text) if self._terms else []

    def _sample(self, part: _Part) -> str:
        numbers = self._marked.numbers(part.text)
        return mark(self._marked.sign, numbers[0]) if numbers else ""


def _part(text: str, tokens: int) -> _Part:
    core = text.strip()
    start = len(text) - len(text.lstrip()) if core else len(text)
    return _Part(text[:start], core, text[start + len(core) :], tokens)


def _spans(segment: Segment, kept: Sequence[tuple[int, int]]) -> list[Span]:
    """Return what gets marks: what the format protects, but numbers, and the terms of the glossary that stay."""
    spans = [span for span in segment.protected if span.kind != "number"]
    free = [Span(a, b, "term") for a, b in kept if not any(a < span.end and span.start < b for span in spans)]
    return sorted(spans + free, key=lambda span: span.start)
