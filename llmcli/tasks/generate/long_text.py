"""generate report, article, book, slides: a text of any length, written section by section in one batch.

The sections know the outline, not each other's texts, so that several are written at a time. What two of them say alike
is taken out of the later one, which then goes on with something else while its conversation is still evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any

from llmcli.backends.base import Backend
from llmcli.errors.incomplete_results import EmptyAnswer, ProblemsInText
from llmcli.fast_dataclass import frozen, replace
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.generate.citation_checks import find_unsupported
from llmcli.tasks.generate.figures import describe_figure, find_figures, known_figures_of, missing_figures
from llmcli.tasks.generate.name_spelling import NameGlossary
from llmcli.tasks.generate.outline import LongKind, Outline, OutlineSection
from llmcli.tasks.generate.outline_making import MAX_OUTLINE_CALLS
from llmcli.tasks.generate.section_writing import (
    FULL_SHARE,
    LENGTH_TOLERANCE,
    MAX_EXTRA_REQUESTS,
    MAX_PARAGRAPH_CALLS,
    PROMPT,
    LongTextPlan,
    SectionDraft,
    SectionRequests,
    SectionTurn,
    SectionWriter,
    WordBudget,
)
from llmcli.tasks.generate.sentence_forms import (
    SentenceSet,
    cited_marks,
    is_complete,
    is_item,
    join_sentences,
    read_marks,
    split_sentences,
    strip_item,
    strip_marks,
)
from llmcli.tasks.generate.source_facts import CitedSentence, SourceFacts, cite_sentence, content_terms
from llmcli.tasks.generate.source_names import SourceNames
from llmcli.tasks.quotes.quotable_text import Quote
from llmcli.tasks.runner.answer_replay import RecordedAnswer, ReplayBackend
from llmcli.tasks.runner.answers import unrestored_warnings
from llmcli.tasks.runner.task_requests import GenerationOptions, count_common_chars
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.runner.work_estimate import WorkEstimate, WorkRange, count_requests
from llmcli.tasks.summarize.summary_options import count_words
from llmcli.types import Progress, Request, Result, TaskEvent

SOURCES_TITLE = "Sources"
SLIDE_END = "---"
OWN_FACTS = "facts and figures are the model's own, since no source was given"
_MAX_OPEN_SECTIONS = 4
"""Sections that are written at a time, or wait for those before them: of more, the conversations do not stay
evaluated."""
_MIN_SECTION_SHARE = 0.75
"""Of its words, below which a section is too short."""
_MANY_LEFT_OUT = 3
"""Sentences of a section that were left out, from which they are the reason why it is short."""
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>()\"\]]+")
_TOKENS_PER_WORD = 1.4
"""Of English prose, for estimates."""


@frozen
class WrittenSection:
    """A section of the text as it is delivered. ``marks``: the numbers of the quotes that it cites."""

    section: OutlineSection
    text: str
    words: int
    repeated: int = 0
    marks: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as an object."""
        return {
            "title": self.section.title,
            "level": self.section.level,
            "words": self.words,
            "wanted": self.section.words,
            "repeated": self.repeated,
            "quotes": list(self.marks),
            "problems": list(self.problems),
        }


class NumberedQuotes:
    """The ``quotes`` of a text, numbered from 1 in the order in which they are cited."""

    def __init__(self) -> None:
        self.quotes: list[Quote] = []
        self._numbers: dict[tuple[str, int], int] = {}

    def number(self, quote: Quote) -> int:
        """Return the number of a quote, a new one for a new quote."""
        key = quote.source, quote.start
        if key not in self._numbers:
            self.quotes.append(quote)
            self._numbers[key] = len(self.quotes)
        return self._numbers[key]


def write_long_text(
    backend: Backend,
    prompts: PromptLibrary,
    plan: LongTextPlan,
    facts: SourceFacts,
    options: GenerationOptions,
    *,
    answers: Sequence[RecordedAnswer] = (),
    on_answer: Callable[[Sequence[RecordedAnswer]], object],
) -> Iterator[TaskEvent]:
    """Write a long text: a Result, or ItemFailed.

    ``answers`` are those of an interrupted run, which are replayed; ``on_answer`` gets all answers after each new one.
    The text of the Result is Markdown. Fields: ``kind``, ``title``, ``words``, ``wanted``, ``outline``,
    ``sections``, ``quotes`` and ``problems`` (section and what is wrong). A text with problems is incomplete
    (``ProblemsInText``); one without a word fails with ``EmptyAnswer``.
    """

    def task(run: TaskRun) -> Any:
        return _LongTextWriter(run, prompts, plan, facts, options).write()

    return run_task(ReplayBackend(backend, answers, on_answer), task, name=plan.outline.title)


def section_queries(outline: Outline, section: OutlineSection) -> list[str]:
    """Return what the sources are searched for: the points of a section, or its title."""
    return [f"{section.title} {point}" for point in section.points] or [f"{section.title} {outline.title}"]


def estimate_long_text(
    backend: Backend,
    prompts: PromptLibrary,
    plan: LongTextPlan,
    facts: SourceFacts,
    options: GenerationOptions,
    *,
    outline: Request | None,
) -> WorkEstimate:
    """Return the work of a text; the backend only counts tokens. ``outline``: the request for it, if it is to be made.

    A conversation is evaluated once, so each of its requests counts with what it adds.
    """
    requests = SectionRequests(prompts, options, plan)
    firsts = [
        requests.first_request(
            number, section.words or 0, [quote.line for quote in facts.search(section_queries(plan.outline, section))]
        )
        for number, section in enumerate(plan.outline.written)
    ]
    calls = sum(len(plan.paragraphs_of(section)) for section in plan.outline.written)
    _, tokens = count_requests(backend, firsts if outline is None else [outline, *firsts])
    following = requests.following(0, SectionDraft([SectionTurn("", "")], num_requests=1), 1, ())
    (added,), _ = backend.count([replace(following, messages=following.messages[-1:])])
    most = MAX_PARAGRAPH_CALLS * (calls + MAX_EXTRA_REQUESTS * len(firsts)) + MAX_OUTLINE_CALLS
    return WorkEstimate(
        plan.outline.title,
        str(plan.kind),
        len(firsts),
        calls + (outline is not None),
        tokens + (calls - len(firsts)) * added,
        round(_TOKENS_PER_WORD * plan.words),
        _count_shared(backend, firsts),
        WorkRange(len(firsts) + (outline is not None), most, tokens, most * backend.info().context),
    )


def estimate_outline(backend: Backend, request: Request, kind: LongKind, outline: Outline) -> WorkEstimate:
    """Return the work of an outline alone; the backend only counts tokens. ``outline`` has the wanted shape."""
    calls, tokens = count_requests(backend, [request])
    words = sum(count_words(text) for text in outline.texts)
    work = WorkRange(calls, MAX_OUTLINE_CALLS, tokens, MAX_OUTLINE_CALLS * tokens)
    answers = round(_TOKENS_PER_WORD * words)
    sections = len(outline.written)
    return WorkEstimate(outline.title, str(kind), sections, calls, tokens, answers, decided_by_answers=work)


def _count_shared(backend: Backend, requests: Sequence[Request]) -> int:
    """Return the tokens of requests that need no evaluation, since the first request begins with them, too."""
    if len(requests) < 2:  # noqa: PLR2004
        return 0
    first, second = (request.messages for request in requests[:2])
    common = count_common_chars(first, second)
    beginning = (*first[:-1], replace(first[-1], content=first[-1].content[:common]))
    (tokens,), _ = backend.count([replace(requests[0], messages=beginning)])
    return tokens * (len(requests) - 1)


class _LongTextWriter:
    """Writes one text."""

    def __init__(
        self,
        run: TaskRun,
        prompts: PromptLibrary,
        plan: LongTextPlan,
        facts: SourceFacts,
        options: GenerationOptions,
    ) -> None:
        self._run, self._plan, self._sources = run, plan, facts
        self._sections = plan.outline.written
        self._drafts = [SectionDraft() for _ in self._sections]
        self._facts = [facts.search(section_queries(plan.outline, section)) for section in self._sections]
        self._prompts, self._options = prompts, options
        wanted = [section.words or 0 for section in self._sections]
        self._budget = WordBudget(wanted)
        requests = SectionRequests(prompts, options, plan)
        self._writer = SectionWriter(run, requests, plan, options, self._budget, self._report_progress)

    async def write(self) -> Result:
        """Write all sections, and what they lost by repetition; return the text."""
        if not self._sources:
            self._run.warn(OWN_FACTS)
        self._report_progress()
        said = SentenceSet(self._plan.outline.lines)
        written = self._run.each(
            range(len(self._sections)), self._write_section, limit=_MAX_OPEN_SECTIONS, max_pending=_MAX_OPEN_SECTIONS
        )
        async for number in written:
            self._drafts[number].drop_repeated(said)
            await self._write_section(number, said)
            self._budget.pass_on(number)
        return await self._finish()

    async def _write_section(self, number: int, said: SentenceSet | None = None) -> int:
        """Write what a section lacks; ``said`` are the sentences of those before it and its own, if they are known."""
        await self._writer.write(number, self._drafts[number], [quote.line for quote in self._facts[number]], said)
        return number

    def _report_progress(self) -> None:
        done = sum(
            min(draft.words, section.words or 0) for draft, section in zip(self._drafts, self._sections, strict=True)
        )
        self._run.report(Progress(done, self._plan.words, "words"))

    # ---- the text -------------------------------------------------------------------------------------------------

    async def _finish(self) -> Result:
        """Return the text; its sentences that cite a source are checked first."""
        plan, quotes = self._plan, NumberedQuotes()
        names = NameGlossary([*plan.outline.texts, *self._sources.texts()])
        known = known_figures_of(plan.given)
        source_names = SourceNames([*plan.given, *self._sources.texts()])
        sections = [
            self._finish_section(number, draft, quotes, names, source_names, known)
            for number, draft in enumerate(self._drafts)
        ]
        words = sum(section.words for section in sections)
        if not words:
            raise EmptyAnswer(self._run.name)
        texts, documents = [section.text for section in sections], self._sources.documents
        unsupported = await find_unsupported(self._run, self._prompts, self._options, texts, documents)
        sections = [
            replace(section, problems=(*section.problems, *wrong))
            for section, wrong in zip(sections, unsupported, strict=True)
        ]
        problems = [
            *self._check_titles(source_names),
            *((section.section.title, problem) for section in sections for problem in section.problems),
        ]
        if abs(words - plan.words) > LENGTH_TOLERANCE * plan.words:
            problems.append(("", f"the text has {words:,} words, not about {plan.words:,}"))
        for title, problem in problems:
            self._run.warn(f"{title}: {problem}" if title else problem)
        fields = {
            "kind": str(plan.kind),
            "title": plan.outline.title,
            "words": words,
            "wanted": plan.words,
            "outline": plan.outline.to_json(),
            "sections": [section.to_json() for section in sections],
            "quotes": [{"number": number, **quote.to_json()} for number, quote in enumerate(quotes.quotes, 1)],
            "problems": [{"section": title or None, "problem": problem} for title, problem in problems],
        }
        return self._run.result(
            format_text(plan, sections, quotes.quotes),
            fields,
            prompt=PROMPT,
            cut=bool(problems),
            incomplete=ProblemsInText(self._run.name, count=len(problems)) if problems else None,
        )

    def _check_titles(self, names: SourceNames) -> Iterator[tuple[str, str]]:
        """Yield the titles that the model has given to sections, with what is wrong with their figures and names."""
        if not self._sources:
            return
        known = known_figures_of(self._plan.given) | self._sources.known
        for title in (each.title for each in self._plan.outline.sections):
            for figure in sorted(missing_figures(find_figures(title), known)):
                yield title, f"{describe_figure(figure, title)} stands in no source"
            for name in names.find_unknown(title):
                yield title, f"the name {name} stands in no source"

    def _finish_section(
        self,
        number: int,
        draft: SectionDraft,
        quotes: NumberedQuotes,
        names: NameGlossary,
        source_names: SourceNames,
        known: frozenset[str],
    ) -> WrittenSection:
        """Return a section with its quotes, cut at the end of a sentence, and what is wrong with it.

        The marks of the model are those of the section's facts; without sources, none is kept and no number is looked
        for.
        """
        section, facts = self._sections[number], self._facts[number]

        def cite(sentence: str, num_items: int) -> tuple[str, Sequence[str]]:
            plain = strip_marks(sentence).strip()
            marked = [facts[mark - 1] for mark in cited_marks(sentence) if 0 < mark <= len(facts)]
            found = cite_sentence(strip_item(plain), marked, facts, self._sources, known, num_items)
            return add_marks(plain, [quotes.number(quote) for quote in found.quotes]), describe_numbers(found, plain)

        paragraphs = [names.correct(each) for each in trim_paragraphs(draft.paragraphs, section.words or 0)]
        if self._sources:
            cited, wrong_numbers = cite_paragraphs([read_marks(each, len(facts)) for each in paragraphs], cite)
        else:
            cited, wrong_numbers = [strip_marks(each) for each in paragraphs], []
        text = ("\n" if self._plan.form.is_list else "\n\n").join(cited)
        words = count_words(strip_marks(text))
        problems = (
            *find_problems(section, draft, text, words),
            *find_unknown_addresses(text, [*self._plan.outline.texts, *self._sources.texts()]),
            *find_wrong_language(text, self._plan.language),
            *wrong_numbers,
            *unrestored_warnings(draft.unrestored),
            *(find_unknown_names(text, names, source_names) if self._sources else names.find_misspelled(text)),
        )
        return WrittenSection(section, text, words, draft.repeated, tuple(dict.fromkeys(cited_marks(text))), problems)


def trim_paragraphs(paragraphs: Sequence[str], words: int) -> list[str]:
    """Return paragraphs without the last sentences that are more than enough for so many words."""
    kept = [*paragraphs]
    length = sum(count_words(strip_marks(paragraph)) for paragraph in kept)
    while kept and length > words:
        *rest, last = split_sentences(kept[-1]) or [kept[-1]]
        shorter = length - count_words(strip_marks(last))
        if shorter < FULL_SHARE * words:
            break
        kept[-1:] = [join_sentences(rest)] if rest else []
        length = shorter
    return kept


def cite_paragraphs(
    paragraphs: Sequence[str], cite: Callable[[str, int], tuple[str, Sequence[str]]]
) -> tuple[list[str], list[str]]:
    """Return paragraphs whose sentences have the numbers of their quotes, and what is wrong with other numbers.

    ``cite`` returns both for a sentence and the number of items of a list that follow it.
    """
    cited, problems = [], dict[str, None]()
    split = [split_sentences(paragraph) for paragraph in paragraphs]
    following = _count_items([sentence for sentences in split for sentence in sentences])
    for sentences in split:
        marked_sentences = []
        for sentence in sentences:
            marked, wrong = cite(sentence, next(following))
            problems |= dict.fromkeys(wrong)
            marked_sentences.append(marked)
        cited.append(join_sentences(marked_sentences))
    return cited, [*problems]


def _count_items(sentences: Sequence[str]) -> Iterator[int]:
    """Yield for each sentence how many items of a list follow it, each with one sentence."""
    for at in range(1, len(sentences) + 1):
        yield sum(1 for _ in takewhile(is_item, sentences[at:]))


def find_unknown_addresses(text: str, known: Iterable[str]) -> list[str]:
    """Return what is wrong with the web addresses of a text: they stand in none of the ``known`` texts."""
    addresses = dict.fromkeys(address.rstrip(".,;:") for address in _ADDRESS.findall(text))
    places = "\n".join(known) if addresses else ""
    return [f"the address {address} stands in no source" for address in addresses if address not in places]


def find_unknown_names(text: str, names: NameGlossary, known: SourceNames) -> list[str]:
    """Return what is wrong with the names of a text: they stand in no source, or are misspelled."""
    misspelled = names.find_misspelled(text)
    unknown = [
        f"the name {name} stands in no source"
        for name in known.find_unknown(text)
        if not any(each.startswith(f"{name} may be") for each in misspelled)
    ]
    return [*unknown, *misspelled]


def describe_numbers(cited: CitedSentence, sentence: str) -> list[str]:
    """Return what is wrong with the numbers and dates of a sentence."""
    return [
        *(f"{describe_figure(figure, sentence)} stands in no source" for figure in cited.unfounded),
        *(f'{describe_figure(figure, sentence)} is another one in "{quote.line}"' for figure, quote in cited.misplaced),
    ]


def add_marks(sentence: str, numbers: Sequence[int]) -> str:
    """Return a sentence with the numbers of its quotes before its end."""
    marks = "".join(f" [{number}]" for number in sorted(numbers))
    if not marks or not is_complete(sentence):
        return sentence + marks
    end = len(sentence.rstrip(".!?\u2026:;\u3002\uff01\uff1f\"'\u201d\u2019\u00bb)*_`]"))
    closing = sentence[end:].lstrip("\"'\u201d\u2019\u00bb)*_`]")
    return sentence[: len(sentence) - len(closing)] + marks + closing


def find_problems(section: OutlineSection, draft: SectionDraft, text: str, words: int) -> list[str]:
    """Return what is wrong with a section: it is empty, too short, or about something else."""
    wanted = section.words or 0
    looped = draft.looped or draft.repeated >= _MANY_LEFT_OUT
    wrote = "repeated itself" if looped else "wrote about its task" if draft.remarks >= _MANY_LEFT_OUT else ""
    reason = f", since the model {wrote}" if wrote else ""
    if not words:
        return [f"it is empty{reason}"]
    if words < _MIN_SECTION_SHARE * wanted:
        return [f"it has {words:,} words, not about {wanted:,}{reason}"]
    subject = content_terms(" ".join([section.title, *section.points]))
    return ["it has no word of its title or its points"] if subject and not subject & content_terms(text) else []


def find_wrong_language(text: str, wanted: str) -> list[str]:
    """Return what is wrong with the language of a text, if it certainly is another one than ``wanted``; "" is any."""
    if not wanted:
        return []
    from llmcli.tasks.languages import detect_language, parse_language

    found, language = detect_language(text), parse_language(wanted)
    if found is None or found.code.partition("-")[0] == language.code.partition("-")[0]:
        return []
    return [f"it is in {found.name}, not in {language.name}"]


def format_text(plan: LongTextPlan, sections: Sequence[WrittenSection], quotes: Sequence[Quote]) -> str:
    """Return the text as Markdown: title, sections below their headings, and the quotes at the end."""
    written = iter(sections)
    parts = [f"# {plan.outline.title}"]
    for each in plan.outline.sections:
        text = next(written).text if each.is_written else ""
        parts.append(f"{'#' * each.level} {each.title}" + (f"\n\n{text}" if text else ""))
    if quotes:
        parts.append(format_sources({number: format_quote(quote) for number, quote in enumerate(quotes, 1)}))
    separator = f"\n\n{SLIDE_END}\n\n" if plan.form.is_list else "\n\n"
    return separator.join(parts) + "\n"


def format_sources(lines: dict[int, str]) -> str:
    """Return the last section, with the quotes by their numbers."""
    return "\n\n".join([f"## {SOURCES_TITLE}", *(format_entry(number, line) for number, line in sorted(lines.items()))])


def format_entry(number: int, line: str) -> str:
    """Return a paragraph of the last section. It is no item of a list: Markdown counts these anew."""
    return f"[{number}] {line}"


def format_quote(quote: Quote) -> str:
    """Return a quote in one line with its place."""
    return f'"{quote.line}" ({quote.place})'
