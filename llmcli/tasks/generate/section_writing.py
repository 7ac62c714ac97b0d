"""One section of a long text, paragraph by paragraph, in one conversation.

The earlier paragraphs are evaluated already. Each request asks for one point of the outline in so many words. An answer
ends with the sentence that makes it long enough. ``AnswerCleaner`` takes away what is no prose about the point.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from llmcli.errors import ContextOverflow
from llmcli.fast_dataclass import field, frozen, replace, slotted
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.generate.answer_cleaning import AnswerCleaner
from llmcli.tasks.generate.outline import FORMS, LongKind, Outline, OutlineSection, TextForm
from llmcli.tasks.generate.sentence_forms import SentenceSet, cited_marks, join_sentences, split_sentences, strip_marks
from llmcli.tasks.runner.answers import EMPTY_ANSWER_MESSAGE, Reading, ask_until
from llmcli.tasks.runner.constrained_answers import ask_constrained
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, make_retry
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.summarize.summary_options import count_words
from llmcli.types import REPETITION_LIMIT, Message, RepetitionPolicy, Request, Role

PROMPT, NEXT_PROMPT = "generate.section", "generate.next"
LENGTH_TOLERANCE = 0.1
_MAX_WORDS_SHARE = 1.15
"""Words that may be generated for a wanted one: what is dropped or asked again counts."""
FULL_SHARE = 0.95
"""Of its words, from which a section needs no further paragraph."""
_MIN_PARAGRAPH_WORDS = 20
_RUN_ON_SHARE = 1.25
"""Of the wanted words, where an answer without an end of a sentence is ended."""
_MAX_SENTENCE_WORDS = 25
"""More than the wanted words are such ones at least: else the sentence that makes a short answer long enough is
lost."""
_FACT_MARK_CHARS = 6
"""The number of a fact in a request: "[12]"."""
_TOKENS_PER_WORD = 4.0
"""The most that languages have; after the first answers, their own rate bounds the others."""
_MIN_MEASURED_WORDS = 100
_MIN_TOKENS = 64
_MAX_ATTEMPTS = 2
MAX_EXTRA_REQUESTS = 3
"""Beyond the points of a section, while it is too short."""
MAX_PARAGRAPH_CALLS = 6
"""For a paragraph: two attempts, on a server that refuses a grammar, after two that did not fit the context."""
_MAX_OUTLINE_WORDS = 500
"""Of a longer outline, the requests have the titles alone: the points of hundreds of sections would fill the
context."""
_REMEMBERED_TURNS = 6
"""The most answers about its own section that a request shows: more would fill a small context."""
_BULLET_LINE = r"LINE: /[\p{L}\p{N}][^\s]{0,30}( [^\s]{1,30}){2,19}/"
_ENDS = re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]*]{0,3}\s|[\u3002\uff01\uff1f]|\n")


@slotted
class SectionTurn:
    """A ``prompt`` and its ``answer``, as messages, and the ``paragraphs`` of the answer that are kept.

    The conversation has the answer as it was generated, since its evaluation is reused only then.
    """

    prompt: str
    answer: str
    paragraphs: list[str] = field(default_factory=list)


@slotted
class SectionDraft:
    """What is written of a section after ``num_requests`` requests, for its points first and then for more.

    Later requests do not show the first ``num_forgotten`` turns, since the conversation filled the context.
    ``generated`` counts the words of all answers. ``measured_words`` and ``measured_tokens`` count those of the answers
    that the model ended itself, if their tokens are known. ``repeated`` counts the sentences that were left out because
    they were said before, and ``remarks`` those about the task. ``looped``: an answer repeated itself and was stopped.
    ``unrestored``: codes of private values that a server has changed.
    """

    turns: list[SectionTurn] = field(default_factory=list)
    num_requests: int = 0
    num_forgotten: int = 0
    generated: int = 0
    measured_words: int = 0
    measured_tokens: int = 0
    repeated: int = 0
    remarks: int = 0
    looped: bool = False
    unrestored: list[str] = field(default_factory=list)

    @property
    def tokens_per_word(self) -> float:
        """The most tokens of a word, or fewer if the answers so far needed fewer.

        Only answers of this section count: the answers of other sections end sooner or later, and a text that goes on
        after an interrupt has the requests of an undisturbed one.
        """
        if self.measured_words < _MIN_MEASURED_WORDS:
            return _TOKENS_PER_WORD
        return min(_TOKENS_PER_WORD, self.measured_tokens / self.measured_words)

    @property
    def paragraphs(self) -> list[str]:
        """All paragraphs in their order."""
        return [paragraph for turn in self.turns for paragraph in turn.paragraphs]

    @property
    def words(self) -> int:
        """The words of all paragraphs."""
        return sum(count_words(strip_marks(paragraph)) for paragraph in self.paragraphs)

    def drop_repeated(self, said: SentenceSet) -> None:
        """Leave out the sentences that ``said`` has, and add the others to it.

        A turn that has lost all of them goes, except the first: its prompt has the outline and the facts.
        """
        for turn in self.turns:
            kept = []
            for paragraph in turn.paragraphs:
                sentences = split_sentences(paragraph)
                new = [sentence for sentence in sentences if said.add(sentence)]
                self.repeated += len(sentences) - len(new)
                kept += [join_sentences(new)] if new else []
            turn.paragraphs = kept
        self.turns = [turn for at, turn in enumerate(self.turns) if turn.paragraphs or at == 0]

    def drop_earlier_turns(self) -> bool:
        """Let later requests show the last turn alone, or then none; return whether they showed more before."""
        shown = len(self.turns) - self.num_forgotten
        if shown <= 0:
            return False
        self.num_forgotten = len(self.turns) - (shown > 1)
        return True


@frozen
class LongTextPlan:
    """What is to be written: the outline, each section with its length. ``names``: how names are spelled.

    ``given``: the texts of the user. What they say needs no source, unlike an outline that a model made.
    """

    kind: LongKind
    outline: Outline
    language: str = ""
    names: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    @property
    def form(self) -> TextForm:
        """How this kind of text is built."""
        return FORMS[self.kind]

    @property
    def words(self) -> int:
        """The length of the whole text."""
        return sum(section.words or 0 for section in self.outline.written)

    def paragraphs_of(self, section: OutlineSection) -> tuple[str, ...]:
        """Return what requests for a section are about: its points; its title, if one request writes all bullets."""
        return section.points if section.points and not self.form.is_list else (section.title,)

    def bullets_of(self, section: OutlineSection) -> int:
        """Return how many bullets a slide has."""
        return len(section.points) or max(1, round((section.words or 0) / self.form.point_words))


class SectionRequests:
    """The requests for the paragraphs of the sections of one text. ``facts`` of a section are what its sources say."""

    def __init__(self, prompts: PromptLibrary, options: GenerationOptions, plan: LongTextPlan) -> None:
        self._options, self._plan = options, plan
        self._first, self._next = prompts.get(PROMPT), prompts.get(NEXT_PROMPT)
        is_short = count_words("\n".join(plan.outline.texts)) <= _MAX_OUTLINE_WORDS
        self._contents = [
            {"title": each.title, "points": list(each.points) if is_short else []} for each in plan.outline.written
        ]

    def first_request(self, number: int, words: int, facts: Sequence[str], point: str = "") -> Request:
        """Return the request for a paragraph of a section in a new conversation.

        ``number``: of the section, from 0 among those that are written. ``point``: what the paragraph is about; the
        first point of the section by default.
        """
        plan = self._plan
        section = plan.outline.written[number]
        messages = self._first.render(
            {
                "kind": str(plan.kind),
                "title": plan.outline.title,
                "sections": self._contents,
                "names": list(plan.names),
                "language": plan.language,
                "number": number + 1,
                "section": section.title,
                "facts": list(facts),
                "words": words,
                "point": point or plan.paragraphs_of(section)[0],
                "bullets": plan.bullets_of(section) if plan.form.is_list else 0,
            }
        )
        return self._make(f"{number}.0", messages, words, _TOKENS_PER_WORD)

    def following(self, number: int, draft: SectionDraft, words: int, facts: Sequence[str]) -> Request:
        """Return the request for the next paragraph of a section: it goes on with the conversation of the draft.

        Where all turns are forgotten, a new conversation begins.
        """
        section, name = self._plan.outline.written[number], f"{number}.{draft.num_requests}"
        points = self._plan.paragraphs_of(section)
        point = points[draft.num_requests] if draft.num_requests < len(points) else ""
        at = (
            (len(draft.turns) - 1) // _REMEMBERED_TURNS * _REMEMBERED_TURNS
        )  # it rarely changes: else nothing is reused
        shown = draft.turns[max(at, draft.num_forgotten) :]
        if not shown:
            about = (point or section.title) if draft.turns else ""
            return replace(self.first_request(number, words, facts, about), id=name)
        opening = self.first_request(number, words, facts)
        prompt = self._next.render({"point": point, "words": words, "bullets": self._plan.form.is_list})
        said = [Message(Role.USER, draft.turns[0].prompt), Message(Role.ASSISTANT, shown[0].answer)]
        for turn in shown[1:]:
            said += [Message(Role.USER, turn.prompt), Message(Role.ASSISTANT, turn.answer)]
        messages = (*opening.messages[:-1], *said, prompt[-1])
        return self._make(name, messages, words, draft.tokens_per_word)

    def _make(self, name: str, messages: tuple[Message, ...], words: int, tokens_per_word: float) -> Request:
        # the answer is bounded, since the text of a worker comes in pieces of some words
        limit = max(_MIN_TOKENS, round(tokens_per_word * max(_RUN_ON_SHARE * words, words + _MAX_SENTENCE_WORDS)))
        limit = min(limit, self._options.max_tokens or limit)
        return make_request(
            name,
            messages,
            self._first,
            replace(self._options, max_tokens=None),
            max_tokens=limit,
            conversation=True,
            repetition=RepetitionPolicy.SUMMARY,
        )


class WordBudget:
    """The words that may still be generated: each section has as many as it is to have, and a reserve.

    ``wanted`` are the words of the sections. A section that is complete leaves the rest of its reserve to the next one.
    What a section may have never depends on which of two answers ends first.
    """

    def __init__(self, wanted: Sequence[int]) -> None:
        self._left = [*wanted]
        self._reserves = [round((_MAX_WORDS_SHARE - 1) * words) for words in wanted]

    def allows(self, number: int, words: int) -> bool:
        """Whether section ``number`` may have an answer of so many words."""
        return words - max(0, self._left[number]) <= self._reserves[number]

    def spend(self, number: int, words: int) -> None:
        """Count words that are asked for; negative ones were not generated."""
        before = max(0, -self._left[number])
        self._left[number] -= words
        self._reserves[number] -= max(0, -self._left[number]) - before

    def pass_on(self, number: int) -> None:
        """Give what is left of the reserve of section ``number``, which is complete, to the next one."""
        if number + 1 < len(self._reserves):
            self._reserves[number + 1] += self._reserves[number]


class SectionWriter:
    """Writes the sections of one text, several at a time. ``on_change`` is called after each paragraph."""

    def __init__(
        self,
        run: TaskRun,
        requests: SectionRequests,
        plan: LongTextPlan,
        options: GenerationOptions,
        budget: WordBudget,
        on_change: Callable[[], object],
    ) -> None:
        self._run, self._requests, self._plan = run, requests, plan
        self._options, self._budget, self._on_change = options, budget, on_change
        titles = [title for each in plan.outline.written for title in (each.title, *each.points)]
        is_story = plan.kind is LongKind.BOOK
        self._cleaner = AnswerCleaner(plan.outline.texts, titles, is_list=plan.form.is_list, is_story=is_story)

    async def write(
        self, number: int, draft: SectionDraft, facts: Sequence[str], said: SentenceSet | None = None
    ) -> None:
        """Write the points of a section that ``draft`` lacks, then more until it is long enough.

        Sentences that say what one of ``said`` says are left out, and the others added to it. None: those that say what
        one of the draft says. Raises the failure of a request.
        """
        section = self._plan.outline.written[number]
        wanted, points = section.words or 0, len(self._plan.paragraphs_of(section))
        if said is None:
            known = (sentence for paragraph in draft.paragraphs for sentence in split_sentences(paragraph))
            said = SentenceSet([*self._plan.outline.lines, *known])
        extra = 0
        while draft.num_requests < points or (extra < MAX_EXTRA_REQUESTS and draft.words < FULL_SHARE * wanted):
            left = max(0, wanted - draft.words)
            if draft.num_requests >= points:
                extra += 1
                words = left
            elif draft.words >= wanted:
                break
            else:
                words = round(left / (points - draft.num_requests))
            words = max(words, self._plan.form.point_words if self._plan.form.is_list else _MIN_PARAGRAPH_WORDS)
            if draft.num_requests and not self._budget.allows(number, words):
                break
            if not await self._add_paragraph(number, draft, words, facts, said) and draft.num_requests > points:
                break

    async def _add_paragraph(
        self, number: int, draft: SectionDraft, words: int, facts: Sequence[str], said: SentenceSet
    ) -> bool:
        """Ask for the next paragraph, once more if nothing of the answer can be used; return whether one was added."""
        request = self._requests.following(number, draft, words, facts)
        if not draft.turns:
            self._require_fit(request, words)

        async def ask(request: Request) -> Reading[Request]:
            """Return the request that was answered: with fewer turns if the context has no room for all of them."""
            while True:
                try:
                    added = await self._ask(number, draft, request, words, said)
                    return Reading(request, "" if added else EMPTY_ANSWER_MESSAGE)
                except ContextOverflow:
                    self._budget.spend(number, -words)
                    if not draft.drop_earlier_turns():
                        raise
                    request = self._requests.following(number, draft, words, facts)

        def retry(_: Request, last: Reading[Request]) -> Request | None:
            return make_retry(last.value, self._options) if self._budget.allows(number, words) else None

        *_, last = await ask_until(ask, request, retry, attempts=_MAX_ATTEMPTS)
        draft.num_requests += 1
        self._on_change()
        return not last.problem

    async def _ask(self, number: int, draft: SectionDraft, request: Request, words: int, said: SentenceSet) -> bool:
        """Add the usable paragraphs of an answer to the draft; return whether there are any."""
        self._budget.spend(number, words)
        limit = AnswerLimit(words)

        def begin_answer() -> Callable[[str], bool]:
            nonlocal limit
            limit = AnswerLimit(words)
            return limit.is_reached

        if self._plan.form.is_list:
            bullets = max(1, round(words / self._plan.form.point_words))
            grammar = f'start: bullet{{{bullets}}}\nbullet: "- " LINE "\\n"\n{_BULLET_LINE}\n'
            answer, _ = await ask_constrained(self._run.ask, request, [lambda each: replace(each, grammar=grammar)])
        else:
            answer = await self._run.ask(request, stop_condition=begin_answer)
        generated = count_words(answer.text)
        draft.generated += generated
        tokens = answer.finished.usage.completion_tokens
        if tokens and not answer.was_ended:  # how many more tokens come before an answer is ended is chance
            draft.measured_tokens += tokens
            draft.measured_words += generated
        self._budget.spend(number, generated - words)
        draft.unrestored += answer.finished.unrestored
        draft.looped = draft.looped or answer.finished.limit == REPETITION_LIMIT
        text = answer.text[: limit.end]
        for sentence in _instructions(request):
            said.add(sentence)
        cleaned = self._cleaner.clean(replace(answer, text=text), said)
        draft.repeated += cleaned.repeated
        draft.remarks += cleaned.remarks
        if cleaned.paragraphs:
            draft.turns.append(SectionTurn(request.messages[-1].content, answer.text, cleaned.paragraphs))
        return bool(cleaned.paragraphs)

    def _require_fit(self, request: Request, words: int) -> None:
        """Raise ``ContextOverflow`` if the context has no room for a paragraph."""
        info = self._run.backend.info()
        (tokens,), _ = self._run.backend.count([request])
        if tokens + words >= info.context:
            raise ContextOverflow(self._plan.outline.title, tokens=tokens + words, context=info.context)


def _instructions(request: Request) -> Iterator[str]:
    """Yield the sentences of a request's last message that are no facts: an answer must not repeat them."""
    for line in request.messages[-1].content.splitlines():
        if not cited_marks(line[:_FACT_MARK_CHARS]):
            yield from split_sentences(line)


class AnswerLimit:
    """Ends an answer where it has ``words`` words: after the sentence, or in it if that does not end soon.

    The pieces in which a text comes change nothing. ``end`` is the length of the answer; None: it is not too long.
    """

    def __init__(self, words: int) -> None:
        self._words, self._most_words = words, max(round(_RUN_ON_SHARE * words), words + _MAX_SENTENCE_WORDS)
        self._text = ""
        self._num_searched = 0
        self.end: int | None = None

    def is_reached(self, piece: str) -> bool:
        """Add a piece of the text; return whether the answer is long enough."""
        self._text += piece
        if not any(map(str.isspace, piece)) and len(piece) < self._words:
            return False
        text, most = self._text, None
        if count_words(text) >= self._most_words:
            most = bisect_left(range(len(text)), self._most_words, key=lambda length: count_words(text[:length]))
        for match in _ENDS.finditer(text, self._num_searched, len(text) if most is None else most):
            self._num_searched = match.end()
            if count_words(text[: match.end()]) >= self._words:
                self.end = match.end()
                return True
        self.end = most
        return most is not None
