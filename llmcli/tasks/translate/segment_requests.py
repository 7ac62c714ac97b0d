"""The requests to a model about one segment: its masked text, the pieces that fit a request, their prompts.

The whole segment is masked once; its pieces are pieces of the masked text.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.documents.segments import Segment, Span
from llmcli.fast_dataclass import frozen
from llmcli.tasks.languages import Language
from llmcli.tasks.runner.answers import EMPTY_ANSWER_MESSAGE
from llmcli.tasks.translate.glossary import Term
from llmcli.tasks.translate.masking import MaskedText, format_mask, mask_spans
from llmcli.tasks.translate.translator import PARAGRAPH_END, SegmentContext, Translator, max_translation_tokens
from llmcli.types import Request

NO_PARAGRAPH_MESSAGE = "the answer does not begin with the whole translation"


@frozen
class SegmentTask:
    """A segment to translate: ``masked`` is what the model sees of it, between ``around``.

    ``pieces``: the masked text, split to fit one request each, with the number of tokens of each piece. The ids of its
    requests begin with ``key``.
    """

    key: str
    segment: Segment
    masked: MaskedText
    around: SegmentContext
    source: Language | None
    pieces: Sequence[tuple[str, int]]


def mask_segment(segment: Segment, translator: Translator) -> MaskedText:
    """Return the text that the model sees of a segment."""
    spans = spans_to_mask(segment, translator.brief.glossary.find_untranslated(segment.text))
    return mask_spans(segment.text, spans)


def spans_to_mask(segment: Segment, kept: Sequence[tuple[int, int]]) -> list[Span]:
    """Return the spans to mask: those the format protects, except numbers, and the glossary's untranslated terms."""
    spans = [span for span in segment.protected if span.kind != "number"]
    if not kept:
        return spans
    free = [Span(a, b, "term") for a, b in kept if not any(a < span.end and span.start < b for span in spans)]
    return sorted(spans + free, key=lambda span: span.start)


@frozen
class Piece:
    """A piece of the masked text of ``tokens`` tokens; ``before`` and ``after``: the white space around ``text``."""

    before: str
    text: str
    after: str
    tokens: int

    def with_space(self, translation: str) -> str:
        """Return a translation with the white space of the piece."""
        return f"{self.before}{translation}{self.after}"


def make_piece(text: str, tokens: int) -> Piece:
    """Return a text as a piece."""
    core = text.strip()
    start = len(text) - len(text.lstrip()) if core else len(text)
    return Piece(text[:start], core, text[start + len(core) :], tokens)


class SegmentRequests:
    """The requests about a segment and its pieces."""

    def __init__(self, translator: Translator, task: SegmentTask) -> None:
        self._translator = translator
        self._task = task
        self._has_terms = bool(translator.brief.glossary.find_translated(task.masked.text))

    def pieces(self) -> list[Piece]:
        """Return the pieces of the segment."""
        return [make_piece(text, tokens) for text, tokens in self._task.pieces]

    def has_words(self, piece: Piece) -> bool:
        """Whether there is anything to translate in a piece."""
        return any(character.isalpha() for character in self._task.masked.strip_masks(piece.text))

    def terms_in(self, piece: Piece) -> list[Term]:
        """Return the terms of the glossary that occur in a piece and have a translation."""
        return self._translator.brief.glossary.find_translated(piece.text) if self._has_terms else []

    def make_translation_request(
        self, request_id: str, piece: Piece, around: SegmentContext, *, attempt: int = 1, problems: Sequence[str] = ()
    ) -> Request:
        """Return the request of an attempt, from 1; it names the problems of the answer before it."""
        return self._translator.make_translation_request(
            request_id,
            piece.text,
            max_translation_tokens(piece.tokens),
            source=self._task.source,
            around=around,
            terms=self.terms_in(piece),
            marks=self._example_mask(piece),
            problems=problems,
            attempt=attempt,
            one_paragraph=PARAGRAPH_END not in piece.text
            and {NO_PARAGRAPH_MESSAGE, EMPTY_ANSWER_MESSAGE}.isdisjoint(problems),
        )

    def make_review_request(self, request_id: str, whole: Piece, draft: str, problems: Sequence[str]) -> Request:
        """Return the request to correct ``draft``, a translation of the whole segment."""
        return self._translator.make_review_request(
            request_id,
            whole.text,
            draft,
            max_translation_tokens(whole.tokens),
            source=self._task.source,
            terms=self.terms_in(whole),
            marks=self._example_mask(whole),
            problems=problems,
        )

    def _example_mask(self, piece: Piece) -> str:
        masked = self._task.masked
        numbers = masked.find_mask_numbers(piece.text)
        return format_mask(masked.sign, numbers[0]) if numbers else ""
