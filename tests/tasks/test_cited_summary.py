"""summarize --cite: each point has words of the document, whatever the model says."""

from __future__ import annotations

import random

import pytest
from scripted import ScriptedBackend, all_messages
from tasks.helpers import notices, of, result

from llmcli.cli.console.error_messages import describe
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.passages import Section, number_passages
from llmcli.errors import Unsupported
from llmcli.errors.incomplete_results import RepetitionStopped
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.summarize.cited_summary import drop_repeated, split_points, summarize_with_citations
from llmcli.types import Delta, Result

TEXT = (
    "The council of Arvik met on Monday.\nIt raised the budget for schools by 12 percent.\n\n"
    "The mayor was absent, since she had a cold.\n\nThe next meeting is on 3 May in the town hall."
)
POINTS = "- The budget for schools rose by 12 percent.\n- The mayor was absent.\n- Zebras gallop quickly.\n"
QUOTES = {
    "budget": "raised the budget for schools by 12 percent.",
    "mayor": "The mayor was absent, since she had a cold.",
}


@pytest.fixture
def prompts(tmp_path):
    """Return the built-in prompt files."""
    return PromptLibrary(tmp_path)


def script(summary=POINTS, quote=None, yes=0.9, grammars=True):
    """Return a script: the summary, quotes (by word of the statement, or a function), and the answers of support."""

    def answer(request):
        said = all_messages(request)
        if request.candidates:
            share = 0.5 if "N/A" in said else yes
            return {"Yes": -1.0 + share, "No": -share}
        if ".quote." not in request.id:
            return summary
        if request.grammar and not grammars:
            return Unsupported("a grammar")
        statement = said.partition("Statement: ")[2].partition("\n")[0]
        return quote(statement) if quote else next(QUOTES[word] for word in QUOTES if word in statement)

    return answer


def run(prompts, answer, *documents, stops_repetition=False, **how):
    backend = ScriptedBackend(answer, stops_repetition=stops_repetition)
    named = [each if isinstance(each, Document) else Document("notes.txt", each) for each in documents or (TEXT,)]
    return list(summarize_with_citations(backend, prompts, named, GenerationOptions(), **how)), backend


def test_each_point_has_its_quote_with_offsets_lines_and_support(prompts):
    """A point without a word of the document has none, and is left out."""
    events, _ = run(prompts, script())
    found = result(events)
    first, second = found.fields["points"]
    assert first["quote"]["text"] == QUOTES["budget"] == TEXT[first["quote"]["start"] : first["quote"]["end"]]
    assert (first["quote"]["first_line"], first["quoted_by"]) == (2, "model")
    assert (second["quote"]["first_line"], second["support"]) == (4, "supported")
    assert found.fields["unsupported"] == ["Zebras gallop quickly."]
    assert "1 of 3 points left out" in notices(events)[0] == found.warnings[0]
    assert "> (notes.txt, line 2; supported" in found.text and of(Delta, events) == []


def test_unsupported_points_can_be_kept(prompts):
    """They are marked."""
    found = result(run(prompts, script(), keeps_unsupported=True)[0])
    assert [point["support"] for point in found.fields["points"]][-1] == "unsupported"
    assert "- Zebras gallop quickly. (unsupported, 0.00)" in found.text and found.fields["unsupported"] == []


def test_a_summary_without_any_support_is_incomplete(prompts):
    """Nothing is shown as if it were supported."""
    found = result(run(prompts, script(summary="- Zebras gallop quickly."))[0])
    assert (found.text, found.fields["points"], found.cut) == ("", [], True)
    assert "(1 left out)" in describe(found.incomplete)[0] and found.incomplete.exit_code == 3


def test_pages_are_named(prompts):
    """The quote says on which page it stands."""
    source = number_passages("r.pdf", [Section("The hall is old.", page=1), Section(TEXT, page=2)], "pdf")
    document = Document("r.pdf", source.text, source=source)
    found = result(run(prompts, script(), document)[0])
    assert {point["quote"]["page"] for point in found.fields["points"]} == {2}
    assert "> (r.pdf, p. 2; supported" in found.text


def test_where_the_model_finds_no_quote_the_nearest_sentence_is_quoted(prompts):
    """A server without grammars whose answers are all lies."""
    answer = script(quote=lambda _: "The mayor praised the zebras at length.", grammars=False)
    found = result(run(prompts, answer)[0])
    assert {point["quoted_by"] for point in found.fields["points"]} == {"rank"}
    assert all(point["quote"]["text"] in TEXT for point in found.fields["points"])


@pytest.mark.parametrize("grammars", [True, False])
@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.stress)])
def test_of_many_invented_quotes_none_is_shown(prompts, grammars, count):
    """A backend that lies in points and quotes: whatever is shown as a quote stands in the document at its offsets."""
    choice = random.Random(5)
    words = [*TEXT.split(), "zebras", "not", "99"]

    def lie(count):
        return " ".join(choice.choice(words) for _ in range(count))

    shown = 0
    while shown < count:
        points = "\n".join(f"- {lie(8)}" for _ in range(20))
        answer = script(summary=points, quote=lambda _: lie(choice.randrange(1, 15)), grammars=grammars)
        found = result(run(prompts, answer, keeps_unsupported=True)[0])
        for point in found.fields["points"]:
            quote = point["quote"]
            if quote is not None:
                shown += 1
                assert TEXT[quote["start"] : quote["end"]] == quote["text"]


def test_endless_repetition_is_stopped(prompts):
    """A point is given once, and the result says that it is incomplete."""
    loop = "- The mayor was absent.\n" * 400
    answer = script(summary=f"- The budget for schools rose by 12 percent.\n{loop}")
    found = result(run(prompts, answer, stops_repetition=True)[0])
    assert [point["text"] for point in found.fields["points"]] == [
        "The budget for schools rose by 12 percent.",
        "The mayor was absent.",
    ]
    assert isinstance(found.incomplete, RepetitionStopped) and len(found.fields["repeated"]) <= 2


def test_parts_of_a_long_document_are_cited_too(prompts):
    """The points of the merged summary are looked up in the whole document."""
    text = (
        "\n\n".join(f"Filler paragraph {n} says nothing of use to anybody here at all." * 3 for n in range(90))
        + "\n\n"
        + TEXT
    )
    backend = ScriptedBackend(script(), context=800)
    found = result(list(summarize_with_citations(backend, prompts, [Document("long.txt", text)], GenerationOptions())))
    assert [text[p["quote"]["start"] : p["quote"]["end"]] for p in found.fields["points"]] == list(QUOTES.values())


def test_several_documents_run_together(prompts):
    """Each has its own result."""
    events, backend = run(prompts, script(), TEXT, TEXT)
    assert [event.item for event in of(Result, events)] == [0, 1] and backend.jobs == 1


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ("Here:\n- One is this.\n  It goes on.\n* Two\n\nThat is all.", ["One is this. It goes on.", "Two"]),
        ("1. One.\n2) Two.", ["One.", "Two."]),
        ("One is this. Two is that.", ["One is this.", "Two is that."]),
        ("", []),
    ],
)
def test_points_are_list_items_or_sentences(answer, points):
    """Whatever form the model chose."""
    assert split_points(answer) == points


def test_points_that_say_the_same_are_dropped():
    """Not if they differ in a number."""
    points = ["The town has 5 schools.", "The town has 5 schools!", "The town has 6 schools."]
    assert drop_repeated(points) == ([points[0], points[2]], [points[1]])
