"""Outlines of long texts: read from Markdown, written to it, and made by a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import ScriptedBackend

from llmcli.errors import BadDocument, Unsupported
from llmcli.errors.incomplete_results import InvalidAnswer
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.generate.outline import FORMS, LongKind, OutlineShape, choose_shape, parse_outline
from llmcli.tasks.generate.outline_making import outline_grammar, outline_task
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import ItemFailed

REPORT = FORMS[LongKind.REPORT]


def titles(text, **options):
    """Return the title and the sections of an outline: title, level, points, words, and whether it is written."""
    outline = parse_outline(text, "outline.md", **options)
    return outline.title, [
        (each.title, each.level, each.points, each.words, each.is_written) for each in outline.sections
    ]


def test_headings_points_and_lengths():
    """A heading with others below it and without points is a chapter."""
    text = "# A book\n\n## One\n\n### Costs (400 words)\n- price\n* *rent*\n\n### 2. Heat ##\nwalls\n\n## Two (2024)\n"
    assert titles(text) == (
        "A book",
        [
            ("One", 2, (), None, False),
            ("Costs", 3, ("price", "rent"), 400, True),
            ("Heat", 3, ("walls",), None, True),
            ("Two (2024)", 2, (), None, True),
        ],
    )


@pytest.mark.parametrize(
    ("text", "title", "sections"),
    [
        ("# Costs\n# Heat\n", "Pumps", ["Costs", "Heat"]),
        ("## Costs\n### Price\n", "Pumps", ["Costs", "Price"]),
        ("# Old\n## Costs\n", "Pumps", ["Costs"]),
        ("1. Costs\n   - price\n2. Heat\n", "Pumps", ["Costs", "Heat"]),
        ("## 2024 in figures\n## Chapter 2: Heat\n", "Pumps", ["2024 in figures", "Heat"]),
        ("## 1984: a year\n## Costs of C#\n## 12. Heat #\n", "Pumps", ["1984: a year", "Costs of C#", "Heat"]),
    ],
)
def test_forms_that_people_write(text, title, sections):
    """One heading of the first level above all others is the title, which a topic overrides."""
    found, read = titles(text, title=title)
    assert (found, [each[0] for each in read]) == (title, sections)
    assert min(each[1] for each in read) == 2


@pytest.mark.parametrize(
    "text",
    [
        "# Pumps\n\n## Costs\n- what it costs\n  to insulate walls\n- rent\n\n   ## Heat\n   1. walls and\n      roofs\n",
        "1. Costs\n   - what it costs\n     to insulate walls\n   - rent\n2. Heat\n   - walls\n     and roofs\n",
    ],
    ids=["headings", "list"],
)
def test_a_point_may_be_wrapped(text):
    """An indented line below an item belongs to it, unless it is an item or a heading."""
    _, sections = titles(text, title="Pumps")
    assert [(title, points) for title, _, points, *_ in sections] == [
        ("Costs", ("what it costs to insulate walls", "rent")),
        ("Heat", ("walls and roofs",)),
    ]


def test_what_is_written_is_read_again():
    """The outline with its lengths, of a book as well."""
    outline = parse_outline("# B\n## One\n### Costs\n- price\n### Heat\n## Two\n- end\n", "x").with_lengths(
        REPORT, 1000
    )
    assert parse_outline(outline.to_markdown(), "x") == outline


def test_lengths_add_up():
    """They keep the proportions of the outline; a section has as many words as its points need."""
    outline = parse_outline("# T\n## A (100 words)\n## B (200 words)\n## C\n- x\n- y\n", "x")
    assert [each.words for each in outline.with_lengths(REPORT, None).sections] == [100, 200, 220]
    for words in (999, 1000, 1001):
        assert sum(each.words for each in outline.with_lengths(REPORT, words).sections) == words


def test_each_section_has_a_word():
    """Also one that would have none beside much longer ones; the sum stays."""
    outline = parse_outline("# T\n## A (1 words)\n## B (1000 words)\n## C (1 words)\n## D (1000 words)\n", "x")
    lengths = [each.words for each in outline.with_lengths(REPORT, 100).sections]
    assert lengths == [1, 49, 1, 49]


def test_lines_that_are_no_points():
    """Comments, empty items, rules and fences; a comment may have lines that look like headings."""
    text = "# T\n\n## A\n- walls\n-\n- \n```\n|---|---|\n***\n<!-- later: roofs\n## B\n-->\n- windows <!-- all -->\n\n## C\n"
    _, sections = titles(text)
    assert [(title, points) for title, _, points, *_ in sections] == [("A", ("walls", "windows")), ("C", ())]


@pytest.mark.parametrize(
    ("text", "line", "detail"),
    [
        ("# T\n<!--\n-->\n## A\n\n##B\n", 6, "a heading needs a space after #"),
        ("##A\n", 1, "a heading needs a space after #"),
        ("# T\n## A (999,999 words)\n## B (2 words)\n", None, "its sections have more than 1,000,000 words"),
        (f"# T\n## A ({'9' * 5000} words)\n", None, "its sections have more than 1,000,000 words"),
    ],
)
def test_lines_that_are_refused(text, line, detail):
    """The error says why."""
    with pytest.raises(BadDocument) as caught:
        parse_outline(text, "x")
    assert (caught.value.line, caught.value.detail) == (line, detail)


def test_the_place_of_a_mistake():
    """Is its line."""
    with pytest.raises(BadDocument) as caught:
        parse_outline("# T\n\n## A\n\n### B\n\n### b\n", "x")
    assert caught.value.line == 7


@pytest.mark.parametrize("kind", LongKind)
@pytest.mark.parametrize("words", [20, 500, 5000, 100_000])
def test_the_shape_of_an_outline(kind, words):
    """Has at least two sections, some points, and chapters of equal size in a book."""
    shape = choose_shape(FORMS[kind], words)
    assert 2 <= shape.sections <= 60 and 1 <= shape.points <= 5
    assert bool(shape.chapters) == (kind is LongKind.BOOK) and shape.sections % max(1, shape.chapters) == 0


def make(answer, shape=None, words=200, **scripting):
    """Return the end of the task for an outline, and the backend."""
    backend = ScriptedBackend(answer, **scripting)
    prompts = PromptLibrary(Path("/nowhere"))
    shape = shape or OutlineShape(2, 1)
    events = outline_task(backend, prompts, GenerationOptions(), LongKind.REPORT, "Pumps", shape, words=words)
    return [*events][-1], backend


def test_a_model_makes_an_outline_under_a_grammar():
    """In one request; its text is a file to edit."""
    found, backend = make(lambda _: "## Heat loss\n- walls\n## Costs\n- price\n")
    assert found.text == "# Pumps\n\n## Heat loss (100 words)\n- walls\n\n## Costs (100 words)\n- price\n"
    (request,) = backend.requests
    assert request.grammar == outline_grammar(OutlineShape(2, 1))


def test_sections_that_are_there_twice_are_asked_again():
    """The better answer counts."""
    answers = {
        "outline": "## Costs\n- price\n## Costs\n- price\n",
        "outline.again": "## Costs\n- price\n## Heat\n- price\n",
    }
    found, backend = make(lambda request: answers[request.id])
    assert found.text.count("\n## ") == 2 and found.text.count("- price") == 1 and len(backend.requests) == 2


def test_an_outline_with_most_of_its_sections_is_enough():
    """Another answer costs more than a section is worth, whose words the others get."""
    answer = "## Costs\n- price\n## Costs\n- rent\n## Heat\n- walls\n## Noise\n- fans\n"
    found, backend = make(lambda _: answer, OutlineShape(4, 1), words=300)
    assert found.text.count("(100 words)") == 3 and len(backend.requests) == 1


def test_a_server_without_grammars():
    """Its free answer is read: marks of other lists, bold headings and words around it do no harm."""
    answer = "Sure!\n\n## 1. **Heat loss**\n* walls\n\n## 2. Costs:\n* price\n"
    found, _ = make(lambda request: Unsupported("grammars") if request.grammar else answer)
    assert found.text == "# Pumps\n\n## Heat loss (100 words)\n- walls\n\n## Costs (100 words)\n- price\n"


@pytest.mark.parametrize("answer", ["", "I cannot do that.", "## Costs\n- price\n## costs\n"])
def test_no_outline(answer):
    """Is a failure that says so."""
    found, _ = make(lambda _: answer)
    assert isinstance(found, ItemFailed) and isinstance(found.error, InvalidAnswer)
