"""generate --revise: one section of a Markdown text is written again, and every other byte stays as it is.

Nothing but the text itself is needed: its headings are the outline, so that it may have been edited meanwhile. Quotes
at its end keep their numbers; new ones get new numbers, and those that no section cites any more are taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.text_cleaning import detect_newline
from llmcli.errors import UsageError
from llmcli.errors.incomplete_results import EmptyAnswer, ProblemsInText
from llmcli.fast_dataclass import frozen
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.generate.answer_cleaning import AnswerCleaner
from llmcli.tasks.generate.citation_checks import find_unsupported
from llmcli.tasks.generate.figures import find_figures, known_figures, known_figures_of, missing_figures
from llmcli.tasks.generate.long_text import (
    OWN_FACTS,
    SLIDE_END,
    SOURCES_TITLE,
    add_marks,
    cite_paragraphs,
    describe_numbers,
    find_unknown_addresses,
    find_unknown_names,
    find_wrong_language,
    format_entry,
    format_quote,
    format_sources,
)
from llmcli.tasks.generate.name_spelling import NameGlossary
from llmcli.tasks.generate.outline import LongKind, OutlineSection, heading_words, section_paths
from llmcli.tasks.generate.section_writing import LENGTH_TOLERANCE
from llmcli.tasks.generate.sentence_forms import (
    SentenceSet,
    cited_marks,
    read_marks,
    split_paragraphs,
    split_sentences,
    strip_item,
    strip_marks,
)
from llmcli.tasks.generate.source_facts import SourceFacts, cite_sentence, content_terms
from llmcli.tasks.generate.source_names import SourceNames
from llmcli.tasks.quotes.quotable_text import Quote
from llmcli.tasks.runner.answers import (
    EMPTY_ANSWER_MESSAGE,
    Answer,
    Reading,
    ask_until,
    is_truncated,
    repeat_with,
    unrestored_warnings,
)
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.summarize.summary_options import count_words
from llmcli.types import RepetitionPolicy, Request, Result, TaskEvent

PROMPT = "generate.revise"
_MAX_ATTEMPTS = 2
_TOKENS_PER_WORD = 4
_MIN_TOKENS = 256
_HEADING = re.compile(r"^(#{1,6})[ \t]([^\r\n]*)", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1[ \t\r]*$", re.MULTILINE | re.DOTALL)
_SOURCE_LINE = re.compile(r"^\[(\d{1,4})\] ([^\r\n]*)\r?$", re.MULTILINE)
_BLANK_LINES = re.compile(r"(?:\r?\n[ \t]*){2,}")
_QUOTED = re.compile(r'"(.*)" \([^"]*\)')
_SLIDE_END = re.compile(rf"\s+{SLIDE_END}\s*\Z")


@frozen
class TextSection:
    """A section of a text: its heading, and ``text[start:end]`` below it without blank lines and the end of a slide."""

    title: str
    level: int
    start: int
    end: int


def find_sections(text: str) -> list[TextSection]:
    """Return the sections of a Markdown text, the one below its title too."""
    fences = [match.span() for match in _FENCE.finditer(text)]
    headings = [
        match for match in _HEADING.finditer(text) if not any(first <= match.start() < last for first, last in fences)
    ]
    ends = [*(match.start() for match in headings[1:]), len(text)]
    found = []
    for match, end in zip(headings, ends, strict=True):
        body = text[match.end() : end]
        kept = _SLIDE_END.sub("", body).rstrip()
        start = match.end() + len(kept) - len(kept.lstrip())
        found.append(TextSection(heading_words(match[2]), len(match[1]), start, max(start, match.end() + len(kept))))
    return found


def choose_section(text: str, name: str, title: str) -> int:
    """Return the position of the section called ``title`` in ``find_sections``: "Costs", or "Chapter/Costs".

    Raises ``UsageError`` if none or several have that name, and for the quotes at the end.
    """
    sections = find_sections(text)
    paths = section_paths([OutlineSection(each.title, each.level) for each in sections])
    wanted = [part.strip().casefold() for part in title.split("/")]
    whole = [title.strip().casefold()]
    matches = [
        number
        for number, path in enumerate(paths)
        if [part.casefold() for part in path[-len(wanted) :]] == wanted or [path[-1].casefold()] == whole
    ]
    titles = ", ".join(each.title for each in sections if each.title != SOURCES_TITLE)
    if not matches:
        raise UsageError(f"{name} has no section {title!r}", detail=f"It has: {titles or 'no heading'}")
    if len(matches) > 1:
        named = ", ".join("/".join(paths[number][-2:]) for number in matches)
        raise UsageError(f"{name} has {len(matches)} sections {title!r}", detail=f"Name one of: {named}")
    if matches[0] == len(sections) - 1 and _read_sources(text, sections):
        raise UsageError(f"the quotes of {name} are not written by a model", detail=f"Name another section: {titles}")
    return matches[0]


@frozen
class Revision:
    """What is to be changed: the section number ``section`` of ``text``. ``words``: its new length, None for any."""

    kind: LongKind
    text: str
    section: int
    change: str
    words: int | None = None
    language: str = ""


def revise_section(
    backend: Backend, prompts: PromptLibrary, revision: Revision, facts: SourceFacts, options: GenerationOptions
) -> Iterator[TaskEvent]:
    """Write one section again: a Result with the whole text, or ItemFailed.

    Fields: ``section``, ``words``, ``quotes`` (of the section) and ``problems``. Fails with ``EmptyAnswer`` if nothing
    of the answer can be used; the text is then as it was.
    """
    title = find_sections(revision.text)[revision.section].title
    return run_task(backend, lambda run: _SectionReviser(run, prompts, revision, facts, options).revise(), name=title)


class _SectionReviser:
    """Writes one section again."""

    def __init__(
        self,
        run: TaskRun,
        prompts: PromptLibrary,
        revision: Revision,
        facts: SourceFacts,
        options: GenerationOptions,
    ) -> None:
        self._run, self._revision, self._sources, self._options = run, revision, facts, options
        self._prompts, self._prompt = prompts, prompts.get(PROMPT)
        self._sections = find_sections(revision.text)
        self._section = self._sections[revision.section]
        self._old = revision.text[self._section.start : self._section.end]
        self._known_quotes = _read_sources(revision.text, self._sections)
        self._facts = facts.search([f"{self._section.title} {revision.change}", self._section.title])

    @property
    def _is_list(self) -> bool:
        return self._revision.kind is LongKind.SLIDES

    async def revise(self) -> Result:
        """Return the text with the new section."""
        revision, lines = self._revision, dict(self._known_quotes)
        if not (self._sources or self._known_quotes):
            self._run.warn(OWN_FACTS)
        answer, paragraphs = await self._write()
        outside = revision.text[: self._section.start] + revision.text[self._section.end :]
        names = NameGlossary([outside, revision.change, *self._sources.texts()])
        known = SourceNames([revision.text, revision.change, *self._sources.texts()])
        marked = [read_marks(names.correct(paragraph), len(self._facts)) for paragraph in paragraphs]
        cited, wrong_numbers = cite_paragraphs(
            marked, lambda sentence, num_items: self._cite(sentence, lines, num_items)
        )
        body = ("\n" if self._is_list else "\n\n").join(cited)
        words = count_words(strip_marks(body))
        quoted = [Document(f"quote {mark}", _quoted(line)) for mark, line in self._known_quotes.items()]
        (unsupported,) = await find_unsupported(
            self._run, self._prompts, self._options, [body], [*self._sources.documents, *quoted]
        )
        problems = [
            *wrong_numbers,
            *self._find_length_problems(answer, words),
            *find_unknown_addresses(body, [revision.text, revision.change, *self._sources.texts()]),
            *find_wrong_language(body, revision.language),
            *unrestored_warnings(answer.finished.unrestored),
            *(find_unknown_names(body, names, known) if self._sources else names.find_misspelled(body)),
            *unsupported,
        ]
        for problem in problems:
            self._run.warn(f"{self._section.title}: {problem}")
        fields = {
            "kind": str(revision.kind),
            "section": self._section.title,
            "words": words,
            "quotes": [{"number": mark, "quote": lines[mark]} for mark in dict.fromkeys(cited_marks(body))],
            "problems": [{"section": self._section.title, "problem": problem} for problem in problems],
        }
        return self._run.result(
            replace_section(revision.text, revision.section, body, lines),
            fields,
            prompt=PROMPT,
            cut=bool(problems),
            incomplete=ProblemsInText(self._section.title, count=len(problems)) if problems else None,
        )

    def _find_length_problems(self, answer: Answer, words: int) -> list[str]:
        """Return what is wrong with the length of the new section: a limit cut it, or it is too long or too short."""
        wanted = self._revision.words
        if wanted is not None and abs(words - wanted) > LENGTH_TOLERANCE * wanted:
            return [f"it has {words:,} words, not about {wanted:,}"]
        return ["it is cut, since the answer was too long"] if is_truncated(answer.finished, self._options) else []

    async def _write(self) -> tuple[Answer, list[str]]:
        """Return the answer with the new section, and its paragraphs. Raises ``EmptyAnswer``."""
        revision = self._revision
        titles = [each.title for each in self._sections]
        is_story = revision.kind is LongKind.BOOK or AnswerCleaner.is_in_person(revision.text)
        cleaner = AnswerCleaner([*titles, revision.change], titles, is_list=self._is_list, is_story=is_story)
        others = [
            sentence
            for section in self._sections
            if section != self._section and section.title != SOURCES_TITLE
            for paragraph in split_paragraphs(revision.text[section.start : section.end])
            for sentence in split_sentences(paragraph)
        ]

        async def ask(request: Request) -> Reading[tuple[Answer, list[str]]]:
            answer = await self._run.ask(request)
            paragraphs = cleaner.clean(answer, SentenceSet(others)).paragraphs
            return Reading((answer, paragraphs), "" if paragraphs else EMPTY_ANSWER_MESSAGE)

        *_, last = await ask_until(ask, self._make_request(), repeat_with(self._options), attempts=_MAX_ATTEMPTS)
        if last.problem:
            raise EmptyAnswer(self._section.title)
        return last.value

    def _make_request(self) -> Request:
        revision = self._revision
        messages = self._prompt.render(
            {
                "kind": str(revision.kind),
                "title": self._sections[0].title,
                "sections": [each.title for each in self._sections if each.title != SOURCES_TITLE],
                "section": self._section.title,
                "text": strip_marks(self._old),
                "change": revision.change,
                "words": revision.words,
                "language": revision.language,
                "facts": [quote.line for quote in self._facts],
                "bullets": self._is_list,
            }
        )
        words = revision.words or 2 * count_words(strip_marks(self._old))
        limit = max(_MIN_TOKENS, _TOKENS_PER_WORD * words)
        return make_request(
            "revise", messages, self._prompt, self._options, max_tokens=limit, repetition=RepetitionPolicy.SUMMARY
        )

    def _cite(self, sentence: str, lines: dict[int, str], num_items: int) -> tuple[str, Sequence[str]]:
        """Return a sentence with the numbers of its quotes, old ones first, and what is wrong with its other numbers.

        A number that the old section has without a quote, or that the user asks for, needs none.
        """
        plain = strip_marks(sentence).strip()
        if not (self._sources or lines):
            return plain, ()
        numbers, terms = find_figures(strip_item(plain), num_items), content_terms(plain)
        kept = [
            mark
            for mark, line in self._known_quotes.items()
            if missing_figures(numbers, known_figures(_quoted(line))) != numbers
            and terms & content_terms(_quoted(line))
        ]
        covered = frozenset[str]().union(*(known_figures(_quoted(lines[mark])) for mark in kept))
        if numbers and not missing_figures(numbers, covered):
            whole = [mark for mark in kept if not missing_figures(numbers, known_figures(_quoted(lines[mark])))]
            return add_marks(plain, whole[:1] or kept), ()
        known = known_figures_of(
            [self._revision.change, self._sections[0].title, self._section.title, strip_marks(self._old)]
        )
        given = [self._facts[mark - 1] for mark in cited_marks(sentence) if 0 < mark <= len(self._facts)]
        found = cite_sentence(strip_item(plain), given, self._facts, self._sources, known | covered, num_items)
        marks = [*kept] if missing_figures(numbers, covered) != numbers else []
        marks += [_number_of(quote, lines) for quote in found.quotes]
        return add_marks(plain, [*dict.fromkeys(marks)]), describe_numbers(found, plain)


def _number_of(quote: Quote, lines: dict[int, str]) -> int:
    """Return the number of a quote: that of an equal line, or a new one."""
    line = format_quote(quote)
    same = next((mark for mark, known in lines.items() if known == line), None)
    if same is not None:
        return same
    number = max(lines, default=0) + 1
    lines[number] = line
    return number


def _quoted(line: str) -> str:
    """Return what a line of the quotes says, without its place."""
    match = _QUOTED.fullmatch(line)
    return line if match is None else match[1]


def _read_sources(text: str, sections: Sequence[TextSection]) -> dict[int, str]:
    """Return the quotes at the end of a text, by their numbers."""
    last = sections[-1] if sections else None
    if last is None or last.title != SOURCES_TITLE:
        return {}
    return {int(match[1]): match[2] for match in _SOURCE_LINE.finditer(text[last.start : last.end])}


def replace_section(text: str, number: int, body: str, lines: dict[int, str]) -> str:
    """Return a text whose section ``number`` has another body; ``lines`` are all quotes by their numbers.

    Apart from that section, only lines of the quotes change: those that nothing cites go, and new ones come last.
    """
    newline = detect_newline(text)
    sections = find_sections(text)
    section = sections[number]
    before, after = text[: section.start], text[section.end :]
    if section.start == section.end and not before.endswith(newline * 2):
        before = before.rstrip("\r\n") + newline * 2
        after = newline * (2 if after.strip() else 1) + after.lstrip("\r\n")
    changed = before + body.replace("\n", newline) + after
    if sections[-1].title != SOURCES_TITLE:
        return _add_sources(changed, _select_cited(lines, changed), newline)
    start, end = (len(changed) - (len(text) - offset) for offset in (sections[-1].start, sections[-1].end))
    cited = _select_cited(lines, changed[:start])
    return changed[:start] + _update_sources(changed[start:end], cited, newline) + changed[end:]


def _select_cited(lines: dict[int, str], prose: str) -> dict[int, str]:
    """Return the quotes that a text cites."""
    cited = set(cited_marks(prose))
    return {mark: line for mark, line in sorted(lines.items()) if mark in cited}


def _add_sources(text: str, lines: dict[int, str], newline: str) -> str:
    """Return a text with a last section that has its quotes; the text itself if there are none."""
    if not lines:
        return text
    blank = newline * 2
    separator = f"{blank}{SLIDE_END}{blank}" if f"{newline}{SLIDE_END}{newline}" in text else blank
    return text.rstrip() + separator + format_sources(lines).replace("\n", newline) + newline


def _update_sources(listed: str, lines: dict[int, str], newline: str) -> str:
    """Return the list of quotes with the ``lines``: paragraphs that are none of a quote stay, new quotes come last."""
    entries = {paragraph: _SOURCE_LINE.fullmatch(paragraph) for paragraph in _BLANK_LINES.split(listed)}
    known = {int(match[1]) for match in entries.values() if match is not None}
    paragraphs = [paragraph for paragraph, match in entries.items() if match is None or int(match[1]) in lines]
    paragraphs += [format_entry(mark, line) for mark, line in lines.items() if mark not in known]
    return (newline * 2).join(paragraphs)
