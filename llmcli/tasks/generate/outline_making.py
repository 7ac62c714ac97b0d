"""The outline that a model makes: Markdown under a grammar, or read from a free answer on backends without grammars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmcli.backends.base import Backend
from llmcli.errors import BadDocument
from llmcli.errors.incomplete_results import InvalidAnswer
from llmcli.fast_dataclass import replace
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.generate.outline import (
    FORMS,
    TOP_LEVEL,
    LongKind,
    Outline,
    OutlineSection,
    OutlineShape,
    parse_outline,
    section_paths,
)
from llmcli.tasks.generate.sentence_forms import SentenceSet, trim_dangling
from llmcli.tasks.runner.answers import Reading, ask_until, repeat_with
from llmcli.tasks.runner.constrained_answers import ask_constrained
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.types import Request, Result, TaskEvent

PROMPT = "generate.outline"
MAX_OUTLINE_CALLS = 4
"""Two attempts, on a server that refuses a grammar."""
_MAX_ATTEMPTS = 2
_ENOUGH_SHARE = 0.7
"""Of the wanted sections that one answer must have: fewer, longer ones are worth more than the tokens of another
answer."""
_TOO_FEW_SECTIONS = "it has too few different sections"
_TOKENS_PER_LINE = 40
_PLACEHOLDER = "what stands there in words"
_MAX_WORDS = 9
"""Of a heading or a point."""
_WORD = r"[^\s#*:.;,\"<>|]{1,24},?"
_LINE = rf"LINE: /[\p{{L}}\p{{N}}][^\s#*:.;,\"<>|]{{0,24}}( {_WORD}){{1,{_MAX_WORDS - 1}}}/"


async def make_outline(
    run: TaskRun,
    prompts: PromptLibrary,
    options: GenerationOptions,
    kind: LongKind,
    title: str,
    shape: OutlineShape,
    *,
    language: str,
    facts: Sequence[str],
) -> Outline:
    """Return an outline called ``title``, of the better one of two answers, without what it says twice.

    ``facts``: what the sources say. Raises ``InvalidAnswer`` if no answer has two different sections, and the failure
    of a request.
    """
    request = outline_request(prompts, options, kind, title, shape, language=language, facts=facts)

    def constrain(request: Request) -> Request:
        return replace(request, grammar=outline_grammar(shape))

    async def ask(request: Request) -> Reading[Outline | None]:
        answer, _ = await ask_constrained(run.ask, request, [constrain])
        found = _read_answer(answer.text, title)
        is_enough = found is not None and len(found.written) >= _ENOUGH_SHARE * shape.sections
        return Reading(found, "" if is_enough else _TOO_FEW_SECTIONS)

    readings = await ask_until(ask, request, repeat_with(options), attempts=_MAX_ATTEMPTS)
    outlines = [reading.value for reading in readings if reading.value is not None]
    best = max(outlines, key=lambda outline: len(outline.written), default=None)
    if best is None or len(best.written) < min(2, shape.sections):
        raise InvalidAnswer("outline", detail="the model made no outline of different sections")
    return best


def outline_task(
    backend: Backend,
    prompts: PromptLibrary,
    options: GenerationOptions,
    kind: LongKind,
    title: str,
    shape: OutlineShape,
    *,
    words: int,
    language: str = "",
    facts: Sequence[str] = (),
) -> Iterator[TaskEvent]:
    """Make the outline of a text of so many words: a Result, or ItemFailed.

    The text of the Result is the outline as a file to edit, with the lengths of sections. Fields: ``kind``, ``title``,
    ``wanted`` and ``outline``. Arguments and failures are as in ``make_outline``.
    """

    async def task(run: TaskRun) -> Result:
        made = await make_outline(run, prompts, options, kind, title, shape, language=language, facts=facts)
        outline = made.with_lengths(FORMS[kind], words)
        fields = {"kind": str(kind), "title": title, "wanted": words, "outline": outline.to_json()}
        return run.result(outline.to_markdown(), fields, prompt=PROMPT)

    return run_task(backend, task, name=title)


def shape_outline(title: str, shape: OutlineShape) -> Outline:
    """Return an outline of a shape whose words are as many as those of a usual one, to count tokens."""
    points = tuple(f"{_PLACEHOLDER} {number}" for number in range(shape.points))
    level = TOP_LEVEL + bool(shape.chapters)
    return Outline(
        title, tuple(OutlineSection(f"{_PLACEHOLDER} {each}", level, points) for each in range(shape.sections))
    )


def outline_request(
    prompts: PromptLibrary,
    options: GenerationOptions,
    kind: LongKind,
    title: str,
    shape: OutlineShape,
    *,
    language: str,
    facts: Sequence[str],
) -> Request:
    """Return the request for an outline, without a grammar."""
    prompt = prompts.get(PROMPT)
    messages = prompt.render(
        {
            "kind": str(kind),
            "topic": title,
            "chapters": shape.chapters,
            "sections": shape.sections_per_chapter,
            "points": shape.points,
            "language": language,
            "facts": list(facts),
        }
    )
    lines = shape.chapters + shape.sections * (1 + shape.points)
    return make_request("outline", messages, prompt, options, max_tokens=_TOKENS_PER_LINE * lines)


def outline_grammar(shape: OutlineShape) -> str:
    """Return the grammar of outlines of a shape, as ``Outline.to_markdown`` writes them without title."""
    section = f'section: "{"#" * (TOP_LEVEL + bool(shape.chapters))} " LINE "\\n" point{{{shape.points}}}'
    if not shape.chapters:
        start = f"start: section{{{shape.sections}}}"
    else:
        start = (
            f'start: chapter{{{shape.chapters}}}\nchapter: "{"#" * TOP_LEVEL} " LINE "\\n" '
            f"section{{{shape.sections_per_chapter}}}"
        )
    return f'{start}\n{section}\npoint: "- " LINE "\\n"\n{_LINE}\n'


def _read_answer(text: str, title: str) -> Outline | None:
    """Return the outline in an answer; sections and points that are there twice are left out. None if it has none."""
    try:
        found = parse_outline(_drop_repeated_headings(text), "outline", title=title)
    except BadDocument:
        return None
    return replace(found, sections=tuple(_drop_repeated(found.sections, title)))


def _drop_repeated_headings(text: str) -> str:
    """Return an answer whose headings differ: a repeated one is a mistake of the model, in a file one of the user."""
    seen: set[str] = set()
    kept, keeps = [], True
    for line in text.splitlines():
        heading = line.lstrip(" ")
        if heading.startswith("#"):
            level, _, words = heading.partition(" ")
            key = words.casefold().strip()
            if not key:
                continue
            keeps = key not in seen or len(level) < TOP_LEVEL
            seen.add(key)
        if keeps:
            kept.append(line)
    return "\n".join(kept)


def _drop_repeated(sections: Sequence[OutlineSection], title: str) -> Iterable[OutlineSection]:
    """Yield sections that say something new: a point that repeats another one, or a title, is left out."""
    said = SentenceSet([title])
    kept: list[OutlineSection] = []
    for section in map(_trim, sections):
        if section.is_written and not said.add(section.title):
            continue
        points = tuple(point for point in section.points if said.add(point))
        kept.append(replace(section, points=points))
    paths = section_paths(kept)
    parents = {path[:-1] for path, section in zip(paths, kept, strict=True) if section.is_written}
    for path, section in zip(paths, kept, strict=True):
        if section.is_written or path in parents:  # a chapter whose sections were left out goes, too
            yield section


def _trim(section: OutlineSection) -> OutlineSection:
    """Return a section without words at the end of its lines that the longest line has cut off from the rest."""
    title, *points = (
        trim_dangling(line) if len(line.split()) >= _MAX_WORDS else line for line in (section.title, *section.points)
    )
    return replace(section, title=title, points=tuple(points))
