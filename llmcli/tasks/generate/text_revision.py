"""generate --revise: one section of a Markdown text is written again, and every other byte stays as it is.

Nothing but the text itself is needed: its headings are the outline, so that it may have been edited meanwhile. Quotes at
its end keep their numbers; new ones get new numbers, and those that no section cites any more are taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmcli.backends.base import Backend
from llmcli.documents.text_cleaning import detect_newline
from llmcli.errors import UsageError
from llmcli.errors.incomplete_results import EmptyAnswer, ProblemsInText
from llmcli.fast_dataclass import frozen
from llmcli.prompts import PromptLibrary
from llmcli.tasks.claim_verification.claim_terms import find_numbers
from llmcli.tasks.generate.answer_cleaning import AnswerCleaner
from llmcli.tasks.generate.long_text import (
    OWN_FACTS,
    SLIDE_END,
    SOURCES_TITLE,
    add_marks,
    describe_numbers,
    format_entry,
    format_quote,
)
from llmcli.tasks.generate.name_spelling import NameGlossary
from llmcli.tasks.generate.outline import LongKind, OutlineSection, heading_words, section_paths
from llmcli.tasks.generate.section_writing import LENGTH_TOLERANCE
from llmcli.tasks.generate.sentence_forms import (
    SentenceSet,
    cited_marks,
    join_sentences,
    read_marks,
    split_paragraphs,
    split_sentences,
    strip_item,
    strip_marks,
)
from llmcli.tasks.generate.source_facts import SourceFacts, cite_sentence, content_terms
from llmcli.tasks.quotes.quotable_text import Quote
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request, make_retry
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.summarize.summary_options import count_words
from llmcli.types import RepetitionPolicy, Result, TaskEvent

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
    wish: str
    words: int | None = None
    language: str = ""


def revise_section(
    backend: Backend, prompts: PromptLibrary, revision: Revision, facts: SourceFacts, options: GenerationOptions
) -> Iterator[TaskEvent]:
    """Write one section again: a Result with the whole text, or ItemFailed.

    Fields: ``section``, ``words``, ``quotes`` (of the section) and ``problems``. Fails with ``EmptyAnswer`` if nothing of
    the answer can be used; the text is then as it was.
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
        self._prompt = prompts.get(PROMPT)
        self._sections = find_sections(revision.text)
        self._section = self._sections[revision.section]
        self._old = revision.text[self._section.start : self._section.end]
        self._known_quotes = _read_sources(revision.text, self._sections)
        self._facts = facts.search([f"{self._section.title} {revision.wish}", self._section.title])

    @property
    def _is_list(self) -> bool:
        return self._revision.kind is LongKind.SLIDES

    async def revise(self) -> Result:
        """Return the text with the new section."""
        if not (self._sources or self._known_quotes):
            self._run.warn(OWN_FACTS)
        paragraphs = await self._write()
        outside = self._revision.text[: self._section.start] + self._revision.text[self._section.end :]
        names = NameGlossary([outside, self._revision.wish, *self._sources.texts()])
        lines = dict(self._known_quotes)
        cited, wrong_numbers = [], dict[str, None]()
        for paragraph in map(names.correct, paragraphs):
            sentences = []
            for sentence in split_sentences(paragraph):
                marked, wrong = self._cite(sentence, lines)
                wrong_numbers |= dict.fromkeys(wrong)
                sentences.append(marked)
            cited.append(join_sentences(sentences))
        body = ("\n" if self._is_list else "\n\n").join(cited)
        words = count_words(strip_marks(body))
        problems = [*wrong_numbers]
        wanted = self._revision.words
        if wanted is not None and abs(words - wanted) > LENGTH_TOLERANCE * wanted:
            problems.append(f"it has {words:,} words, not about {wanted:,}")
        problems += [f"{word} may be meant as {name}" for word, name in names.misspelled(body)]
        for problem in problems:
            self._run.warn(f"{self._section.title}: {problem}")
        fields = {
            "kind": str(self._revision.kind),
            "section": self._section.title,
            "words": words,
            "quotes": [{"number": mark, "quote": lines[mark]} for mark in dict.fromkeys(cited_marks(body))],
            "problems": [{"section": self._section.title, "problem": problem} for problem in problems],
        }
        return self._run.result(
            replace_section(self._revision.text, self._revision.section, body, lines),
            fields,
            prompt=PROMPT,
            cut=bool(problems),
            incomplete=ProblemsInText(self._section.title, count=len(problems)) if problems else None,
        )

    async def _write(self) -> list[str]:
        """Return the paragraphs of the new section. Raises ``EmptyAnswer``."""
        revision = self._revision
        old_words = count_words(strip_marks(self._old))
        messages = self._prompt.render(
            {
                "kind": str(revision.kind),
                "title": self._sections[0].title,
                "sections": [each.title for each in self._sections if each.title != SOURCES_TITLE],
                "section": self._section.title,
                "text": strip_marks(self._old),
                "wish": revision.wish,
                "words": revision.words,
                "language": revision.language,
                "facts": [quote.line for quote in self._facts],
                "bullets": self._is_list,
            }
        )
        limit = max(_MIN_TOKENS, _TOKENS_PER_WORD * (revision.words or 2 * old_words))
        request = make_request(
            "revise", messages, self._prompt, self._options, max_tokens=limit, repetition=RepetitionPolicy.SUMMARY
        )
        others = [
            revision.text[each.start : each.end]
            for each in self._sections
            if each != self._section and each.title != SOURCES_TITLE
        ]
        titles = [each.title for each in self._sections]
        is_story = revision.kind is LongKind.BOOK or AnswerCleaner.is_in_person(revision.text)
        cleaner = AnswerCleaner([*titles, revision.wish], titles, is_list=self._is_list, is_story=is_story)
        for _ in range(_MAX_ATTEMPTS):
            answer = await self._run.ask(request)
            said = SentenceSet(
                sentence for text in others for part in split_paragraphs(text) for sentence in split_sentences(part)
            )
            cleaned = cleaner.clean(answer, said)
            if cleaned.paragraphs:
                return cleaned.paragraphs
            again = make_retry(request, self._options)
            if again is None:
                break
            request = again
        raise EmptyAnswer(self._section.title)

    def _cite(self, sentence: str, lines: dict[int, str]) -> tuple[str, Sequence[str]]:
        """Return a sentence with the numbers of its quotes, old ones first, and what is wrong with its other numbers.

        A number that the old section has without a quote, or that the user asks for, needs none.
        """
        sentence = read_marks(sentence, len(self._facts))
        plain = strip_marks(sentence).strip()
        if not (self._sources or lines):
            return plain, ()
        numbers, terms = find_numbers(strip_item(plain)), content_terms(plain)
        kept = [
            mark
            for mark, line in self._known_quotes.items()
            if numbers & find_numbers(_quoted(line)) and terms & content_terms(_quoted(line))
        ]
        covered = frozenset[str]().union(*(find_numbers(_quoted(lines[mark])) for mark in kept))
        if numbers and numbers <= covered:
            whole = [mark for mark in kept if numbers <= find_numbers(_quoted(lines[mark]))]
            return add_marks(plain, whole[:1] or kept), ()
        known = find_numbers(
            f"{self._revision.wish}\n{self._sections[0].title}\n{self._section.title}\n{strip_marks(self._old)}"
        )
        given = [self._facts[mark - 1] for mark in cited_marks(sentence) if 0 < mark <= len(self._facts)]
        found = cite_sentence(strip_item(plain), given, self._facts, self._sources, known | covered)
        marks = [*kept] if numbers & covered else []
        marks += [_number_of(quote, lines) for quote in found.quotes]
        return add_marks(plain, [*dict.fromkeys(marks)]), describe_numbers(found)


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
    body = body.replace("\n", newline)
    before, after = text[: section.start], text[section.end :]
    if section.start == section.end and not before.endswith(newline * 2):
        before = before.rstrip("\r\n") + newline * 2
        after = newline * (2 if after.strip() else 1) + after.lstrip("\r\n")
    changed = before + body + after
    sources = sections[-1] if sections[-1].title == SOURCES_TITLE else None
    prose = changed if sources is None else changed[: len(changed) - (len(text) - sources.start)]
    cited = set(cited_marks(prose))
    kept = {mark: line for mark, line in lines.items() if mark in cited}
    if sources is None:
        if not kept:
            return changed
        separator = (
            f"{newline * 2}{SLIDE_END}{newline * 2}" if f"{newline}{SLIDE_END}{newline}" in changed else newline * 2
        )
        listed = (newline * 2).join(format_entry(mark, line) for mark, line in sorted(kept.items()))
        return f"{changed.rstrip()}{separator}## {SOURCES_TITLE}{newline * 2}{listed}{newline}"
    listed, end = (
        changed[len(prose) :][: sources.end - sources.start],
        changed[len(prose) :][sources.end - sources.start :],
    )
    entries = {paragraph: _SOURCE_LINE.fullmatch(paragraph) for paragraph in _BLANK_LINES.split(listed)}
    known = {int(match[1]) for match in entries.values() if match is not None}
    paragraphs = [paragraph for paragraph, match in entries.items() if match is None or int(match[1]) in cited]
    paragraphs += [format_entry(mark, line) for mark, line in sorted(kept.items()) if mark not in known]
    return prose + (newline * 2).join(paragraphs) + end
