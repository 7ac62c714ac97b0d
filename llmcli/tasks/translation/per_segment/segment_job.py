"""The translation of one segment: attempts, checks, a retry that names the problems, smaller pieces.

The whole segment is masked once; its pieces are pieces of the masked text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmcli.documents.chunking import split_sentences
from llmcli.documents.segments import Segment, Span
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.frozen_dataclass import field, slotted
from llmcli.tasks.execution.document_jobs import CancelRequest
from llmcli.tasks.runner.answers import (
    EMPTY_ANSWER_MESSAGE,
    ResponseBuffer,
    UsageTally,
    is_truncated,
    raise_request_error,
)
from llmcli.tasks.translation.glossary import Term
from llmcli.tasks.translation.languages import Language
from llmcli.tasks.translation.per_segment.answer_checks import (
    REPETITION_PROBLEM,
    AnswerRequirements,
    clean_answer,
    find_problems,
    wrap_to_width,
)
from llmcli.tasks.translation.per_segment.emphasis_check import emphasis_problem, fix_delimiter_spacing
from llmcli.tasks.translation.per_segment.masking import format_mask, mask_spans
from llmcli.tasks.translation.per_segment.retry_decision import NextStep, decide_next_step
from llmcli.tasks.translation.translator import (
    SegmentContext,
    Translator,
    max_translation_chars,
    max_translation_tokens,
)
from llmcli.text_stream import REPETITION_LIMIT
from llmcli.types import Event, Finished, FinishReason, Request

RUNAWAY_MESSAGE = "the answer was far longer than a translation"
TRUNCATED_MESSAGE = "the answer is incomplete"
UNRESTORED_MESSAGE = "codes that stand for private text are changed or missing"


@slotted
class _SegmentPiece:
    """A piece of the masked text of ``tokens`` tokens; ``before`` and ``after``: the white space around ``text``."""

    before: str
    text: str
    after: str
    tokens: int
    is_last_attempt: bool = False  # without a retry
    attempt: int = 0
    response: ResponseBuffer = field(default_factory=ResponseBuffer)
    is_cancelled: bool = False
    translation: str | None = None
    found_problems: list[str] = field(default_factory=list)


class SegmentJob:
    """The job of a segment; once it is ``done``, ``translation`` is set, to None if no valid one was found.

    ``problems`` says why, or lists the problems of earlier attempts; ``attempts`` counts requests. The ids of its
    requests begin with ``name``.
    """

    def __init__(
        self,
        translator: Translator,
        name: str,
        segment: Segment,
        source: Language | None,
        around: SegmentContext,
        *,
        tally: UsageTally,
    ) -> None:
        self.segment = segment
        self.done = False
        self.translation: str | None = None
        self.problems: list[str] = []
        self.attempts = 0
        self.is_truncated = self.is_truncated_by_user = False
        """Whether it was given up because an answer was cut, and whether the user's own limit cut it."""
        self.refusal: AnswerRefused | None = None
        """The refusal for which it was given up."""
        self._translator = translator
        self._name = name
        self._source = source
        self._context = around
        self._tally = tally
        glossary = translator.brief.glossary
        self._masked = mask_spans(segment.text, _spans_to_mask(segment, glossary.find_untranslated(segment.text)))
        self._terms = tuple(glossary.find_translated(self._masked.text))
        self._pieces: list[_SegmentPiece] = []
        self._running: dict[str, _SegmentPiece] = {}
        self._last_answer = ""  # the last answer, valid or not
        self._accepted_translation: str | None = None
        self._correction: _SegmentPiece | None = None

    @property
    def masked_text(self) -> str:
        """The text that the model sees."""
        return self._masked.text

    def apply_stub(self) -> None:
        """Complete the job with the translator's ``stub_translate``, if there is one."""
        if self._translator.stub_translate is not None:
            self.translation = self._masked.transform_unmasked(self._translator.stub_translate)
            self.done = True

    def start(self, pieces: Sequence[tuple[str, int]]) -> Iterator[Request | CancelRequest]:
        """Yield the first requests; ``pieces``: the masked text, split to fit, with the token count of each piece."""
        if self.done:
            return
        self._pieces = [_make_piece(text, tokens) for text, tokens in pieces]
        for piece in list(self._pieces):
            yield from self._start_attempt(piece)
        yield from self._finish_if_done()

    def handle_event(self, event: Event) -> Iterator[Request | CancelRequest]:
        """Handle an event of one of its requests; raises the failure of a request."""
        piece = self._running.get(event.id)
        if piece is None:  # of an abandoned attempt
            if isinstance(event, Finished):
                self._tally.add(event)
            return
        piece.response.add_event(event)
        if isinstance(event, Finished):
            del self._running[event.id]
            self._tally.add(event)
            yield from self._evaluate_answer(piece, event)
        elif piece.response.size > max_translation_chars(piece.text) and not piece.is_cancelled:
            piece.is_cancelled = True
            yield CancelRequest(event.id)

    # ---- attempts ----------------------------------------------------------------------------------------------------

    def _start_attempt(self, piece: _SegmentPiece) -> Iterator[Request]:
        if not any(character.isalpha() for character in self._masked.strip_masks(piece.text)):
            piece.translation = piece.text
            return
        piece.attempt += 1
        self.attempts += 1
        piece.response, piece.is_cancelled = ResponseBuffer(), False
        request_id = f"{self._name}.{self.attempts}"
        self._running[request_id] = piece
        yield self._translator.make_translation_request(
            request_id,
            piece.text,
            max_translation_tokens(piece.tokens),
            source=self._source,
            around=self._context,
            terms=self._piece_terms(piece),
            marks=self._example_mask(piece),
            problems=piece.found_problems,
            attempt=piece.attempt,
        )

    def _evaluate_answer(self, piece: _SegmentPiece, finished: Finished) -> Iterator[Request | CancelRequest]:
        if isinstance(finished.error, AnswerRefused):
            yield from self._give_up_refused(piece, finished.error)
            return
        if not piece.is_cancelled:
            raise_request_error(finished)
        answer = clean_answer(piece.text, piece.response.text)
        if self.segment.emphasis:
            answer = fix_delimiter_spacing(self._masked, piece.text, answer)
        wrong = self._answer_problems(piece, answer, finished)
        if piece is self._correction:
            self._complete(self._accepted_translation if wrong else answer)
            return
        if wrong:
            piece.found_problems = wrong
            self.problems = list(dict.fromkeys([*self.problems, *wrong]))
            self._last_answer = answer
        by_user = bool(self._user_limit_message(finished))
        sentences = split_sentences(piece.text) if wrong else []
        step = decide_next_step(
            is_valid=not wrong,
            attempt=piece.attempt,
            is_last_attempt=piece.is_last_attempt,
            ended_by_user=by_user,
            sentences=len(sentences),
        )
        if step is NextStep.ACCEPT:
            piece.translation = answer
            yield from self._finish_if_done()
        elif step is NextStep.RETRY:
            yield from self._start_attempt(piece)
        elif step is NextStep.SPLIT:
            yield from self._retry_by_sentences(piece, sentences)
        else:
            self.is_truncated, self.is_truncated_by_user = finished.reason is FinishReason.LENGTH, by_user
            yield from self._abandon()

    def _retry_by_sentences(self, piece: _SegmentPiece, sentences: Sequence[str]) -> Iterator[Request | CancelRequest]:
        parts = [_make_piece(text, piece.tokens * len(text) // len(piece.text) + 1) for text in sentences]
        parts[0].before = piece.before + parts[0].before
        parts[-1].after += piece.after
        at = self._pieces.index(piece)
        self._pieces[at : at + 1] = parts
        for each in parts:
            each.is_last_attempt = True
            yield from self._start_attempt(each)
        yield from self._finish_if_done()

    def _answer_problems(self, piece: _SegmentPiece, answer: str, finished: Finished) -> list[str]:
        """Return why an answer is no valid translation of a piece."""
        if piece.is_cancelled or len(answer) > max_translation_chars(piece.text):
            return [RUNAWAY_MESSAGE]
        if finished.reason is FinishReason.LENGTH:
            why = REPETITION_PROBLEM if finished.limit == REPETITION_LIMIT else TRUNCATED_MESSAGE
            return [self._user_limit_message(finished) or why]
        if not answer:
            return [EMPTY_ANSWER_MESSAGE]
        if finished.unrestored:
            return [UNRESTORED_MESSAGE]
        width = self.segment.max_width
        if width is not None:
            answer = wrap_to_width(answer, width, piece.text.count("\n") + 1)
        terms, emphasis = tuple(self._piece_terms(piece)), self.segment.emphasis
        expected = AnswerRequirements(self._masked, self._source, self._translator.target, terms, width, emphasis)
        return find_problems(piece.text, answer, expected)

    def _user_limit_message(self, finished: Finished) -> str:
        """Return the message that the user's own limit ended an answer, "" if it did not."""
        limited = finished.reason is FinishReason.LENGTH and not is_truncated(finished, self._translator.options)
        return (
            f"the answer is incomplete: it reached the limit of {self._translator.options.max_tokens} tokens"
            if limited
            else ""
        )

    def _abandon(self) -> Iterator[Request | CancelRequest]:
        yield from self._cancel_running()
        yield from self._review_or_complete(None)

    def _give_up_refused(self, piece: _SegmentPiece, refusal: AnswerRefused) -> Iterator[CancelRequest]:
        """Complete without a translation, or without the review that was refused."""
        if piece is self._correction:
            self._complete(self._accepted_translation)
            return
        self.refusal = refusal
        self.problems.append(f"{refusal.subject} refuses to answer: {refusal.detail}")
        yield from self._cancel_running()
        self._complete(None)

    def _cancel_running(self) -> Iterator[CancelRequest]:
        for request_id in self._running:
            yield CancelRequest(request_id)
        self._running.clear()

    # ---- the end --------------------------------------------------------------------------------------------------

    def _finish_if_done(self) -> Iterator[Request | CancelRequest]:
        if all(piece.translation is not None for piece in self._pieces) and not self._running:
            whole = "".join(f"{piece.before}{piece.translation}{piece.after}" for piece in self._pieces)
            wrong = emphasis_problem(self._masked, self.masked_text, whole) if self.segment.emphasis else ""
            if wrong:  # each piece is valid, but emphasis that begins in one does not end in another
                self.problems.append(f"the emphasis is wrong: {wrong}")
            yield from self._review_or_complete(None if wrong else whole)

    def _review_or_complete(self, translation: str | None) -> Iterator[Request]:
        """Request a review of a segment with problems if the user wants that, else complete with ``translation``."""
        draft = translation or self._last_answer
        if self._translator.review_prompt is None or not self.problems or not draft:
            self._complete(translation)
            return
        self._accepted_translation = translation
        self._correction = piece = _make_piece(self._masked.text, sum(each.tokens for each in self._pieces))
        self.attempts += 1
        request_id = f"{self._name}.{self.attempts}"
        self._running[request_id] = piece
        yield self._translator.make_review_request(
            request_id,
            piece.text,
            draft,
            max_translation_tokens(piece.tokens),
            source=self._source,
            terms=self._terms,
            marks=self._example_mask(piece),
            problems=self.problems,
        )

    def _complete(self, translation: str | None) -> None:
        if translation is not None and self.segment.max_width is not None:
            translation = wrap_to_width(translation, self.segment.max_width, self.segment.text.count("\n") + 1)
        self.translation = None if translation is None else self._masked.unmask(translation)
        self.done = True

    def _piece_terms(self, piece: _SegmentPiece) -> list[Term]:
        glossary = self._translator.brief.glossary
        return glossary.find_translated(piece.text) if self._terms else []

    def _example_mask(self, piece: _SegmentPiece) -> str:
        numbers = self._masked.find_mask_numbers(piece.text)
        return format_mask(self._masked.sign, numbers[0]) if numbers else ""


def _make_piece(text: str, tokens: int) -> _SegmentPiece:
    core = text.strip()
    start = len(text) - len(text.lstrip()) if core else len(text)
    return _SegmentPiece(text[:start], core, text[start + len(core) :], tokens)


def _spans_to_mask(segment: Segment, kept: Sequence[tuple[int, int]]) -> list[Span]:
    """Return the spans to mask: those the format protects, except numbers, and the glossary's untranslated terms."""
    spans = [span for span in segment.protected if span.kind != "number"]
    free = [Span(a, b, "term") for a, b in kept if not any(a < span.end and span.start < b for span in spans)]
    return sorted(spans + free, key=lambda span: span.start)
