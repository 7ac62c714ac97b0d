"""The translation of one segment: attempts, checks, a retry that names the problems, smaller pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from llmcli.documents.formats.markup.message_markdown import lost_lines
from llmcli.documents.text_cutting import split_sentences
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.runner.answers import EMPTY_ANSWER_MESSAGE, Answer, Reading, ask_until, is_truncated
from llmcli.tasks.runner.instruction_echo import ask_without_echo
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.translate.answer_checks import (
    REPETITION_PROBLEM,
    AnswerRequirements,
    clean_answer,
    counts_emphasis,
    counts_lines,
    emphasis_problem,
    find_problems,
    fix_delimiter_spacing,
    wrap_to_width,
)
from llmcli.tasks.translate.segment_requests import (
    NO_PARAGRAPH_MESSAGE,
    Piece,
    SegmentRequests,
    SegmentTask,
    make_piece,
)
from llmcli.tasks.translate.translator import PARAGRAPH_END, Translator, max_translation_chars
from llmcli.types import CHARS_LIMIT, REPETITION_LIMIT, FinishReason, Request

MAX_SEGMENT_ATTEMPTS = 2
"""Attempts at a whole segment; after those, each of its sentences has one."""
RUNAWAY_MESSAGE = "the answer was far longer than a translation"
TRUNCATED_MESSAGE = "the answer is incomplete"
UNRESTORED_MESSAGE = "codes that stand for private text are changed or missing"

_QUOTED = re.compile(r"""(?<!\w)(['"])[^\n]*?\1(?!\w)""")


@frozen
class SegmentTranslation:
    """The translation of a segment, or None if no valid one was found.

    ``problems`` says why, or lists the problems of earlier attempts; ``attempts`` counts requests. ``is_truncated``: it
    was given up because an answer was cut; ``is_truncated_by_user``: the user's own limit cut it. ``refusal`` is that
    for which it was given up.
    """

    translation: str | None
    problems: tuple[str, ...] = ()
    attempts: int = 0
    is_truncated: bool = False
    is_truncated_by_user: bool = False
    refusal: AnswerRefused | None = None


async def translate_segment(run: TaskRun, translator: Translator, task: SegmentTask) -> SegmentTranslation:
    """Return the translation of a segment. Raises the failure of a request, unless the model refuses to answer."""
    return await _SegmentAttempts(run, translator, task).translate()


@frozen
class _PieceAttempt:
    """An attempt at a piece: its number from 1, and the problems of the answer before it."""

    number: int = 1
    problems: Sequence[str] = ()


@frozen
class _PieceAnswer:
    """An answer about a piece, the translation in it, and why that is not valid."""

    answer: Answer
    translation: str
    problems: Sequence[str]


class _PieceAbandonedError(Exception):
    """No answer for a piece was valid; the last one was ``answer``."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class _SegmentAttempts:
    """The attempts at a segment, and what was wrong with their answers."""

    def __init__(self, run: TaskRun, translator: Translator, task: SegmentTask) -> None:
        self._run = run
        self._translator = translator
        self._task = task
        self._segment = task.segment
        self._masked = task.masked
        self._around = task.around
        self._counts_emphasis, self._counts_lines = counts_emphasis(task.segment), counts_lines(task.segment)
        self._requests = SegmentRequests(translator, task)
        self._attempts = 0
        self._problems: list[str] = []
        self._last_invalid = ""  # the last answer that is no translation

    async def translate(self) -> SegmentTranslation:
        """Translate all pieces, then review the whole if there were problems.

        What a model refuses may stand beside the segment: it is then asked about the segment alone.
        """
        abandoned: _PieceAbandonedError | None = None
        whole: str | None = None
        try:
            whole = await self._translate_pieces()
        except _PieceAbandonedError as error:
            abandoned = error
        except AnswerRefused as refusal:
            if self._around.preceding_text or self._around.following_text:
                self._around = replace(self._around, preceding_text="", following_text="")
                return await self.translate()
            self._problems.append(f"{refusal.subject} refuses to answer: {refusal.detail}")
            return SegmentTranslation(None, tuple(self._problems), self._attempts, refusal=refusal)
        reviewed = await self._review(whole)
        if reviewed is not None and self._segment.max_width is not None:
            reviewed = wrap_to_width(reviewed, self._segment.max_width, self._segment.text.count("\n") + 1)
        return SegmentTranslation(
            None if reviewed is None else self._masked.unmask(reviewed),
            tuple(self._problems),
            self._attempts,
            is_truncated=abandoned is not None and abandoned.answer.finished.reason is FinishReason.LENGTH,
            is_truncated_by_user=abandoned is not None and self._is_limited_by_user(abandoned.answer),
        )

    # ---- attempts ----------------------------------------------------------------------------------------------------

    async def _translate_pieces(self) -> str | None:
        """Return the masked translation of all pieces. Raises ``_PieceAbandonedError`` and ``AnswerRefused``."""
        pieces = self._requests.pieces()
        if len(pieces) == 1:
            whole = await self._translate_piece(pieces[0])
        else:
            whole = "".join(await self._run.gather(map(self._translate_piece, pieces)))
        source = self._masked.text  # each piece is valid, but emphasis or a list that begins in one goes on in another
        emphasis = emphasis_problem(self._masked, source, whole) if self._counts_emphasis else ""
        lines = lost_lines(source, whole) if self._counts_lines else ""
        self._problems += [f"the emphasis is wrong: {emphasis}"] if emphasis else []
        self._problems += [f"the lines are wrong: {lines}"] if lines else []
        return None if emphasis or lines else whole

    async def _translate_piece(self, piece: Piece) -> str:
        """Return the translation of a piece: the whole in one answer, else one answer for each of its sentences."""
        if not self._requests.has_words(piece):
            return piece.with_space(piece.text)

        def retry(attempt: _PieceAttempt, last: Reading[_PieceAnswer]) -> _PieceAttempt | None:
            answer, problems = last.value.answer, last.value.problems
            # what the user's own limit has cut, it would cut again
            return None if self._is_limited_by_user(answer) else _PieceAttempt(attempt.number + 1, problems)

        ask = partial(self._attempt, piece)
        *_, last = await ask_until(ask, _PieceAttempt(), retry, attempts=MAX_SEGMENT_ATTEMPTS)
        if not last.problem:
            return piece.with_space(last.value.translation)
        sentences = split_sentences(piece.text)
        if len(sentences) <= 1:
            raise _PieceAbandonedError(last.value.answer)
        parts = [make_piece(text, piece.tokens * len(text) // len(piece.text) + 1) for text in sentences]
        return piece.with_space("".join(await self._run.gather(map(self._translate_sentence, parts))))

    async def _translate_sentence(self, piece: Piece) -> str:
        """Return the translation of a sentence, which has one attempt."""
        if not self._requests.has_words(piece):
            return piece.with_space(piece.text)
        found = await self._attempt(piece, _PieceAttempt())
        if found.problem:
            raise _PieceAbandonedError(found.value.answer)
        return piece.with_space(found.value.translation)

    async def _attempt(self, piece: Piece, attempt: _PieceAttempt) -> Reading[_PieceAnswer]:
        """Return what an answer translates, and its problems; the request names those of the last answer."""
        problems = attempt.problems
        request = self._requests.make_translation_request(
            self._next_id(), piece, self._around, attempt=attempt.number, problems=problems
        )
        found = await self._ask(piece, request, problems)
        if found.problems:
            self._problems = list(dict.fromkeys([*self._problems, *found.problems]))
            self._last_invalid = found.translation
        return Reading(found, "; ".join(found.problems))

    async def _ask(self, piece: Piece, request: Request, problems: Sequence[str]) -> _PieceAnswer:
        """Ask for a translation; ``problems`` are those of an earlier answer, which the request names."""
        named = "; ".join(problems)
        lines = request.messages[-1].content.splitlines() if named else ()
        said = "\n".join([*problems, *(line for line in lines if named in line)])
        instructions = _QUOTED.sub("", said)  # terms of a glossary may be whole sentences
        unit_text = self._masked.unmask(piece.text)
        answer = await ask_without_echo(self._run, request, instructions, unit_text=unit_text)
        translation = clean_answer(piece.text, answer.text)
        is_cut = answer.finished.reason is FinishReason.LENGTH and answer.text.rstrip().endswith(translation)
        if self._counts_emphasis:
            translation = fix_delimiter_spacing(self._masked, piece.text, translation)
        return _PieceAnswer(answer, translation, self._find_problems(piece, translation, answer, is_cut=is_cut))

    def _find_problems(self, piece: Piece, translation: str, answer: Answer, *, is_cut: bool) -> list[str]:
        """Return why an answer is no valid translation of a piece.

        ``is_cut``: a limit cut it, not a comment after it.
        """
        if incomplete := self._length_problem(piece, translation, answer, is_cut=is_cut):
            return [incomplete]
        if answer.finished.unrestored:
            return [UNRESTORED_MESSAGE]
        width = self._segment.max_width
        if width is not None:
            translation = wrap_to_width(translation, width, piece.text.count("\n") + 1)
        target, terms = self._translator.target, tuple(self._requests.terms_in(piece))
        markdown = self._counts_emphasis, self._counts_lines
        expected = AnswerRequirements(self._masked, self._task.source, target, terms, width, *markdown)
        return find_problems(piece.text, translation, expected)

    def _length_problem(self, piece: Piece, translation: str, answer: Answer, *, is_cut: bool) -> str:
        """Return why an answer is not the whole translation, or far more, "" if it may be that."""
        finished = answer.finished
        if (is_cut and finished.limit == CHARS_LIMIT) or len(translation) > max_translation_chars(piece.text):
            return RUNAWAY_MESSAGE
        if is_cut and self._is_limited_by_user(answer):
            limit = self._translator.options.max_tokens
            return f"the answer is incomplete: it reached the limit of {limit} tokens"
        if is_cut:
            return REPETITION_PROBLEM if finished.limit == REPETITION_LIMIT else TRUNCATED_MESSAGE
        if not translation:
            return EMPTY_ANSWER_MESSAGE
        is_first = finished.stop_string == PARAGRAPH_END and not _is_whole(piece.text, translation)
        return NO_PARAGRAPH_MESSAGE if is_first else ""

    def _is_limited_by_user(self, answer: Answer) -> bool:
        """Whether the user's own limit ended an answer."""
        finished = answer.finished
        return finished.reason is FinishReason.LENGTH and not is_truncated(finished, self._translator.options)

    # ---- the review -------------------------------------------------------------------------------------------------

    async def _review(self, translation: str | None) -> str | None:
        """Return a corrected translation if there were problems and the user wants a review, else ``translation``."""
        draft = translation or self._last_invalid
        if self._translator.review_prompt is None or not self._problems or not draft:
            return translation
        piece = make_piece(self._masked.text, sum(tokens for _, tokens in self._task.pieces))
        request = self._requests.make_review_request(self._next_id(), piece, draft, self._problems)
        try:
            corrected = await self._ask(piece, request, self._problems)
        except AnswerRefused:
            return translation
        return translation if corrected.problems else corrected.translation

    def _next_id(self) -> str:
        self._attempts += 1
        return f"{self._task.key}.{self._attempts}"


def _is_whole(text: str, translation: str) -> bool:
    """Whether the first paragraph of an answer may be all of it: no preamble, with as many sentences as the text."""
    if translation.endswith(":") and not text.endswith(":"):
        return False
    return len(split_sentences(translation)) >= len(split_sentences(text))
