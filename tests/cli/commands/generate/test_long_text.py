"""``llm generate report|article|book|slides`` from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from long_text_answers import LongTextModel, with_verdict
from scripted import Reply, last_message

from llmcli.errors import Interrupted

OUTLINE = """\
# Heat pumps in old houses

## Heat loss (100 words)
- walls and windows

## Costs (100 words)
- purchase and installation
- running costs
"""
NOTES = """\
# A study of heat pumps

The study measured 45 houses between 2019 and 2023. A heat pump with radiators of 55 degrees saved 38 percent of the energy.

Purchase and installation of a heat pump cost 21,400 euros on average in these houses.
"""


@pytest.fixture
def model():
    """What the scripted model writes."""
    return LongTextModel()


def sentences_of(text):
    """Return the sentences of the prose."""
    return [each for line in text.splitlines() if line and line[0] != "#" for each in re.findall(r"[^.]+\.", line)]


def test_a_report_from_a_topic(llm, model, tmp_path):
    """An outline is made, every section of it has its text, no sentence is there twice, and the length is kept."""
    path = tmp_path / "report.md"
    run = llm("generate", "report", "Heat pumps", "--words", "900", "-o", str(path), answer=model, context=8192)
    assert (run.code, run.out, run.err) == (0, "", "")
    text = path.read_text()
    assert text.startswith("# Heat pumps\n\n## ") and text.count("\n## ") == 2
    sentences = sentences_of(text)
    assert len(sentences) == len(set(sentences))
    assert 810 <= sum(len(each.split()) for each in sentences) <= 990
    assert not Path(f"{path}.job.json").exists()


def test_the_text_goes_to_standard_output(llm, model, write):
    """Without -o; nothing else is there."""
    run = llm("generate", "report", "--outline", write("outline.md", OUTLINE), answer=model, context=8192)
    assert run.code == 0 and run.err == ""
    assert [line for line in run.out.splitlines() if line.startswith("#")] == [
        "# Heat pumps in old houses",
        "## Heat loss",
        "## Costs",
    ]


@pytest.fixture
def outline(write):
    """The path of an outline of two sections."""
    return write("outline.md", OUTLINE)


def test_the_outline_alone_can_be_edited_and_given_back(llm, model, tmp_path):
    """What --outline-only writes, --outline reads: the same sections with the same lengths."""
    path = tmp_path / "outline.md"
    run = llm("generate", "report", "Heat pumps", "--words", "900", "--outline-only", "-o", str(path), answer=model)
    assert (run.code, run.out, run.err) == (0, "", "") and len(run.backend.requests) == 1
    made = path.read_text()
    assert made.startswith("# Heat pumps\n") and made.count("(450 words)") == 2
    path.write_text(made.replace("(450 words)", "(100 words)"))
    run = llm("generate", "report", "--outline", str(path), "--json", answer=model, context=8192)
    found = json.loads(run.out)
    assert (run.code, found["wanted"], found["title"]) == (0, 200, "Heat pumps")
    assert [each["title"] for each in found["outline"]] == [each["title"] for each in found["sections"]]


def test_the_outline_can_be_edited_on_the_way(llm, model, write):
    """--edit opens it in the editor: another title and another section are written."""
    editor = write("editor.sh", "#!/bin/sh\nprintf '# Edited\\n\\n## Windows (60 words)\\n- new windows\\n' > \"$1\"\n")
    Path(editor).chmod(0o755)
    run = llm("generate", "report", "Pumps", "--edit", env={"VISUAL": editor}, answer=model, context=8192)
    assert run.code == 0, run.err
    assert run.out.startswith("# Edited\n\n## Windows\n\nNew windows:") and run.out.count("#") == 3


def test_the_words_of_the_outline_are_scaled(llm, model, outline):
    """--words sets the length of the whole text, and the outline its proportions."""
    run = llm("generate", "report", "--outline", outline, "--words", "400", "--json", answer=model, context=8192)
    found = json.loads(run.out)
    assert [each["wanted"] for each in found["sections"]] == [200, 200]
    assert all(180 <= each["words"] <= 220 for each in found["sections"])


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", 65, "no section"),
        ("A text without any heading.", 65, "no section"),
        ("# T\n\n##\n", 65, "line 3: a heading without words"),
        ("# T\n\n## Costs\n\n## Costs\n", 65, "line 5: the section 'Costs' is there twice"),
        ("## Costs\n- price\n", 65, "no title"),
        (b"\xff\xfe\x00\x01", 65, ""),
    ],
)
def test_an_outline_that_cannot_be_used(llm, model, write, text, code, words):
    """Is an error in one line with the line of the outline, before a model is loaded."""
    run = llm("generate", "report", "--outline", write("outline.md", text), answer=model)
    assert (run.code, run.out, run.backend) == (code, "", None)
    assert words in run.err.splitlines()[0] and "--format" not in run.err


def test_an_outline_that_is_missing(llm, model):
    """Is missing input."""
    run = llm("generate", "report", "--outline", "nowhere.md", answer=model)
    assert (run.code, run.backend) == (66, None) and "nowhere.md" in run.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["poem", "rain"], "Try: llm generate poem --var topic=rain"),
        (["poem", "about", "rain"], "Try: llm generate poem --var 'topic=about rain'"),
        (["poem about", "rain"], "llm ask 'Write poem about rain'"),
        (["poem", "--words", "100"], "Leave it out for poem."),
        (["story", "--words", "100"], "Try: llm generate story --var words=100"),
        (["poem", "--language", "fr"], "Try: llm generate poem --var language=fr"),
        (["report"], "what is the report about?"),
        (["report", "--var", "a=b"], "takes no --var"),
        (["report", "--list"], "has no variables"),
        (["report", "--words", "100"], "what is the report about?"),
        (["report", "Pumps", "--var", "a=b"], "takes no --var"),
        (["report", "Pumps", "--column", "a"], "takes no --var"),
        (["report", "Pumps", "--outline", "a.md", "--outline-only"], "exclude each other"),
        (["report", "Pumps", "--edit", "--outline-only"], "--edit is for"),
        (["report", "Pumps", "-o", "report.pdf"], "not written as .pdf"),
        (["report", "Pumps", "--outline-only", "-o", "outline.docx"], "an outline is Markdown"),
        (["report", "Pumps", "--revise", "Costs"], "-o FILE"),
        (["report", "--revise", "Costs", "-o", "report.md"], "what is to be changed?"),
        (["report", "Shorter", "--revise", "Costs", "-o", "report.html"], "--revise changes Markdown"),
        (["report", "Pumps", "--language", "Klingonese"], "Klingonese"),
    ],
)
def test_options_that_do_not_go_together(llm, model, argv, words):
    """Are a usage error in one line and a next step, before a model is loaded."""
    run = llm("generate", *argv, answer=model)
    assert (run.code, run.out, run.backend) == (2, "", None)
    assert words in run.err


@pytest.mark.parametrize(("kind", "near"), [("poems", "poem"), ("raport", "report"), ("slide", "slides")])
@pytest.mark.parametrize("topic", [[], ["rain"]])
def test_a_word_that_is_no_kind_names_similar_kinds(llm, model, kind, near, topic):
    """With and without a TOPIC, and those that are written section by section as well."""
    run = llm("generate", kind, *topic, answer=model)
    assert (run.code, run.backend) == (66, None) and f"no prompt called {kind}" in run.err
    assert f"Did you mean {near}" in run.err and "llm ask" not in run.err


@pytest.mark.parametrize("path", ["nowhere.md", "no/such/directory/report.md"])
def test_a_text_to_revise_that_is_missing(llm, tmp_path, path):
    """Is missing input, and nothing is created beside it."""
    run = revise(llm, tmp_path / path, "")
    assert (run.code, run.backend) == (66, None) and "cannot read" in run.err
    assert [each.name for each in tmp_path.iterdir()] == ["io"]


def test_a_place_that_cannot_be_written_is_noticed_first(llm, model, outline):
    """No request was made."""
    run = llm("generate", "report", "--outline", outline, "-o", "/nowhere/report.md", answer=model)
    assert (run.code, run.backend) == (73, None)
    run = llm("generate", "report", "Pumps", "--outline-only", "-o", "/nowhere/outline.md", answer=model)
    assert (run.code, run.backend) == (73, None)
    run = llm("generate", "report", "--outline", outline, "-o", outline, answer=model)
    assert run.code == 2 and not model.requests and "both" in run.err


def test_a_book_has_chapters(llm, model, tmp_path):
    """Sections stand below them; a chapter has no text of its own."""
    path = tmp_path / "book.md"
    run = llm("generate", "book", "Gardens", "--words", "2000", "-o", str(path), answer=model, context=8192)
    text = path.read_text()
    assert run.code == 0, run.err
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == 2 and len(re.findall(r"^### ", text, re.MULTILINE)) == 4
    assert re.search(r"^## .*\n\n### ", text, re.MULTILINE)


def test_slides_are_bullets(llm, model, tmp_path):
    """Each slide is a heading with bullets, and a rule ends it."""
    path = tmp_path / "talk.md"
    run = llm("generate", "slides", "Gardens", "--words", "200", "-o", str(path), answer=model, context=8192)
    title, *slides = path.read_text().split("\n\n---\n\n")
    assert (run.code, title) == (0, "# Gardens"), run.err
    assert len(slides) == 4
    assert all(re.fullmatch(r"## .+\n\n(- .+\n?)+", slide) for slide in slides)


def test_facts_are_cited_by_quotes(llm, model, write, outline):
    """A sentence with a number of a source cites the sentence there; the quotes stand at the end with their places."""
    notes = write("notes.md", NOTES)

    def answer(request):
        if last_message(request).startswith("Now "):
            return "Running costs fell by 38 percent of the energy with a heat pump."
        return model(request)

    run = llm(
        "generate", "report", "--outline", outline, "--from", notes, "--json", answer=with_verdict(answer), context=8192
    )
    found = json.loads(run.out)
    assert "with a heat pump [1]." in found["text"]
    (quote,) = found["quotes"]
    assert NOTES[quote["start"] : quote["end"]] == quote["text"] and "38 percent" in quote["text"]
    assert found["text"].endswith(f'## Sources\n\n[1] "{quote["text"]}" ({notes}, line 3)\n')
    assert "21,400 euros" in "".join(last_message(each) for each in model.requests)


def test_a_number_that_no_source_has(llm, model, write, outline):
    """Is reported in a line, and the exit code is 3; the text is written."""

    def answer(request):
        said = model(request)
        return f"{said} They cost 99,000 euros." if last_message(request).startswith("Now ") else said

    notes = write("notes.md", NOTES)
    run = llm("generate", "report", "--outline", outline, "--from", notes, answer=answer, context=8192)
    assert run.code == 3 and "99,000 euros" in run.out
    first, second, *_ = run.err.splitlines()
    assert first == "llm: warning: Costs: the number 99000 stands in no source"
    assert second.startswith("llm: the text has 1 problem")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "gave an empty answer"),
        ("Sure! Here is the paragraph that you asked for:", "gave an empty answer"),
        ("Walls and windows lose heat.", "Heat loss: it has 5 words, not about 100"),
        ("Walls and windows lose heat. " * 60, "Costs: it is empty, since the model repeated itself"),
    ],
    ids=["empty", "preamble", "short", "repeating"],
)
def test_answers_that_are_no_text(llm, outline, said, words):
    """The exit code is 3 or that of an empty answer, and each problem is a line."""
    run = llm("generate", "report", "--outline", outline, answer=lambda _: said, context=8192, stops_repetition=True)
    assert run.code == (1 if "gave" in words else 3) and words in run.err
    assert run.out == "" or run.out.count(said.split(".")[0]) <= 1


def test_what_two_sections_say_alike_is_there_once(llm, outline, model):
    """It is taken out of the later section, which goes on with something else."""

    def answer(request):
        return "All houses lose warmth through the roof in winter. " + model(request)

    run = llm("generate", "report", "--outline", outline, answer=answer, context=8192)
    assert run.code == 0 and run.out.count("All houses lose warmth") == 1


def test_an_interrupted_text_goes_on(llm, model, outline, tmp_path):
    """The next run asks only for what is missing; another outline is refused."""
    path = tmp_path / "report.md"

    def stops(request):
        if request.id == "1.1":
            raise Interrupted
        return model(request)

    run = llm("generate", "report", "--outline", outline, "-o", str(path), answer=stops, context=8192)
    assert run.code == 130 and "To go on:" in run.err
    assert not path.exists() and Path(f"{path}.job.json").exists()
    run = llm("generate", "report", "--outline", outline, "--words", "300", "-o", str(path), answer=model, context=8192)
    assert run.code == 2 and "--words" in run.err and run.err.rstrip().endswith(f"rm {path}.job.json")
    model.requests.clear()
    run = llm("generate", "report", "--outline", outline, "-o", str(path), answer=model, context=8192)
    assert run.code == 0, run.err
    assert {each.id for each in model.requests} == {"0.0", "1.1"}
    assert path.exists() and not Path(f"{path}.job.json").exists()


def test_a_large_job_goes_on(llm, model, outline, tmp_path):
    """Also one of more than 16 MiB, as a book of a million words can be."""
    path = tmp_path / "report.md"
    job = Path(f"{path}.job.json")

    def stops(request):
        if request.id == "1.1":
            raise Interrupted
        return model(request)

    assert llm("generate", "report", "--outline", outline, "-o", str(path), answer=stops, context=8192).code == 130
    job.write_bytes(b" " * (17 << 20) + job.read_bytes())
    run = llm("generate", "report", "--outline", outline, "-o", str(path), answer=model, context=8192)
    assert run.code == 0, run.err
    assert path.exists() and not job.exists()


def test_the_outline_that_was_made_is_kept(llm, model, tmp_path):
    """A run that goes on makes no other one."""
    path = tmp_path / "report.md"

    def fails(request):
        return Reply(error=OSError("gone")) if request.id == "1.1" else model(request)

    run = llm("generate", "report", "Pumps", "--words", "900", "-o", str(path), answer=fails, context=8192)
    assert run.code not in {0, 3} and "To go on:" in run.err and not path.exists()
    model.requests.clear()
    run = llm("generate", "report", "Pumps", "--words", "900", "-o", str(path), answer=model, context=8192)
    assert run.code == 0, run.err
    assert "outline" not in {each.id for each in model.requests} and "0.0" not in {each.id for each in model.requests}


def test_dry_run_shows_the_work(llm, model, outline):
    """No request is made."""
    for argv in (["--outline", outline], ["Heat pumps", "--words", "5000"]):
        run = llm("generate", "report", *argv, "--dry-run", answer=model, context=8192)
        _, method, sections, calls, tokens, *_ = run.out.rstrip().split("\t")
        assert (run.code, method) == (0, "report") and 2 <= int(sections) <= int(calls) and int(tokens) > 50
        assert not run.backend.requests


def test_dry_run_of_the_outline_alone(llm, model, write):
    """Is one call with the notes of the sources; the text would be more."""
    argv = ["report", "Heat pumps", "--words", "900", "--dry-run", "--json"]
    alone, whole, cited = (
        llm("generate", *argv, *more, answer=model, context=8192)
        for more in (["--outline-only"], [], ["--outline-only", "--from", write("notes.md", NOTES)])
    )
    first, second, third = (json.loads(run.out) for run in (alone, whole, cited))
    assert alone.code == 0 and not alone.backend.requests
    assert (first["calls"], first["passages"]) == (1, 2) and second["calls"] > 2
    assert first["tokens"] < second["tokens"] and first["tokens"] < third["tokens"]


def test_html_is_a_page_without_the_html_of_the_model(llm, outline, model, tmp_path):
    """What the model writes is text."""
    path = tmp_path / "report.html"

    def answer(request):
        return "Costs of walls and windows are <script>alert(1)</script> *high*. " + model(request)

    run = llm("generate", "report", "--outline", outline, "-o", str(path), answer=answer, context=8192)
    text = path.read_text()
    assert run.code == 0, run.err
    assert text.startswith("<!DOCTYPE html>") and "<h2>Costs</h2>" in text
    assert "<script>" not in text and "&lt;script&gt;" in text and "<em>high</em>" in text


def test_word_has_headings_and_lists(llm, model, write, outline, tmp_path):
    """python-docx reads the styles back."""
    docx = pytest.importorskip("docx")
    path = tmp_path / "report.docx"
    notes = write("notes.md", NOTES)

    def answer(request):
        return "Purchase and installation of a heat pump cost 21,400 euros. " + model(request)

    argv = ["--outline", outline, "--from", notes, "-o", str(path)]
    run = llm("generate", "report", *argv, answer=with_verdict(answer), context=8192)
    assert run.code == 0, run.err
    paragraphs = [(each.style.name, each.text) for each in docx.Document(str(path)).paragraphs]
    assert paragraphs[0] == ("Title", "Heat pumps in old houses")
    assert [text for style, text in paragraphs if style == "Heading 1"] == ["Heat loss", "Costs", "Sources"]
    assert paragraphs[-1][1].startswith('[1] "Purchase and installation')


def test_word_needs_a_library(llm, model, outline, tmp_path, monkeypatch):
    """Without it, the error names the extra, before a model is loaded."""
    import sys

    monkeypatch.setitem(sys.modules, "docx", None)
    run = llm("generate", "report", "--outline", outline, "-o", str(tmp_path / "a.docx"), answer=model)
    assert (run.code, run.backend) == (69, None) and "documents" in run.err and not model.requests


TEXT = """\
# Heat pumps in old houses

An introduction that people wrote.

## Heat loss

Walls lose 40 percent of the heat [1].

```
# no heading
```

## Costs

A heat pump costs 21,400 euros [2]. The rest is a matter of taste.

## Outlook

Prices will fall\u2026

## Sources

[1] "The walls lose 40 percent of the heat." (notes.md, line 9)

[2] "Purchase and installation of a heat pump cost 21,400 euros on average." (notes.md, line 5)
"""


def revise(llm, path, said, *argv, section="Costs", change="Shorter", agrees=True, **options):
    """Return the run of a revision of ``path`` to which the model says ``said``."""
    return llm(
        "generate",
        "report",
        "-o",
        str(path),
        "--revise",
        section,
        change,
        *argv,
        answer=with_verdict(lambda _: said, agrees=agrees),
        **options,
    )


def test_one_section_is_revised(llm, write):
    """All others stay byte for byte; a quote that is cited no more goes, and the model sees the section and the change."""
    path = Path(write("report.md", "\ufeff" + TEXT.replace("\n", "\r\n")))
    run = revise(llm, path, "## Costs\n\nIt pays off in old houses.")
    assert (run.code, run.out, run.err) == (0, "", "")
    (request,) = run.backend.requests
    assert "A heat pump costs 21,400 euros." in last_message(request) and "with this change: Shorter" in last_message(
        request
    )
    expected = TEXT.replace(
        "A heat pump costs 21,400 euros [2]. The rest is a matter of taste.", "It pays off in old houses."
    )
    expected = expected[: expected.index("\n[2] ")]
    assert path.read_bytes().decode() == "\ufeff" + expected.replace("\n", "\r\n")


def test_a_revised_section_cites(llm, write):
    """A quote that stands below the text keeps its number, and a new one comes last."""
    path, notes = Path(write("report.md", TEXT)), write("study.md", NOTES)
    said = "A heat pump costs 21,400 euros. It saved 38 percent of the energy in the houses."
    run = revise(llm, path, said, "--from", notes)
    text = path.read_text()
    assert run.code == 0, run.err
    assert "A heat pump costs 21,400 euros [2]. It saved 38 percent of the energy in the houses [3]." in text
    before, after = TEXT.split("A heat pump costs 21,400 euros [2]. The rest is a matter of taste.")
    assert text.startswith(before) and after.rstrip("\n") in text
    assert re.search(r'\n\n\[3\] "A heat pump with radiators .*" \(.*study\.md, line 3\)\n\Z', text)


@pytest.mark.parametrize(
    ("section", "change", "code", "words"),
    [
        ("Nothing", "Shorter", 2, "It has: Heat pumps in old houses, Heat loss, Costs, Outlook"),
        ("costs", "Longer", 0, ""),
    ],
)
def test_the_section_to_revise(llm, write, section, change, code, words):
    """Is found in any case; the error names the sections that there are."""
    path = Path(write("report.md", TEXT))
    run = revise(llm, path, "It pays off.", section=section, change=change)
    assert run.code == code and words in run.err and (path.read_text() == TEXT) == bool(code)


@pytest.mark.parametrize("said", ["", "Walls lose 40 percent of the heat.", "Sure! Here is the section:"])
def test_an_answer_that_is_no_section_leaves_the_file(llm, write, said):
    """Nothing changes, and the exit code says so."""
    path = Path(write("report.md", TEXT))
    run = revise(llm, path, said)
    assert run.code == 1 and path.read_text() == TEXT and len(run.backend.requests) == 2


def test_a_revised_section_with_problems(llm, write):
    """Is written, and each problem is a line."""
    path = Path(write("report.md", TEXT))
    run = revise(llm, path, "It costs 99 euros in 2031.", "--words", "100", change="With the price of 2031")
    assert run.code == 3 and "It costs 99 euros in 2031." in path.read_text()
    assert run.err.splitlines()[:2] == [
        "llm: warning: Costs: the number 99 stands in no source",
        "llm: warning: Costs: it has 6 words, not about 100",
    ]


def test_the_quotes_are_not_revised(llm, write):
    """A model would change them."""
    path = Path(write("report.md", TEXT))
    run = revise(llm, path, "New.", section="Sources")
    assert run.code == 2 and "It has" not in run.err and "Costs" in run.err and path.read_text() == TEXT


def test_a_text_without_sources_says_so(llm, model, outline, write, terminal):
    """Facts are the model's own: a warning of --json, a line on a terminal, nothing in a pipe; not with --from."""
    words = "facts and figures are the model's own"
    argv = ["report", "--outline", outline, "--json"]
    run = llm("generate", *argv, answer=model, context=8192)
    assert words in json.loads(run.out)["warnings"][0] and run.err == ""
    run = llm("generate", *argv, "--from", write("notes.md", NOTES), answer=model, context=8192)
    assert json.loads(run.out)["warnings"] == []
    screen = terminal()
    run = llm("generate", *argv[:3], answer=model, context=8192, err=screen.slave)
    assert screen.close().count(words) == 1 and words not in run.out
    path = Path(write("report.md", "# Pumps\n\n## Costs\n\nOld.\n"))
    run = revise(llm, path, "New.", "--json")
    assert words in json.loads(run.out)["warnings"][0]
    run = revise(llm, Path(write("report.md", TEXT)), "New.", "--json")
    assert json.loads(run.out)["warnings"] == []


def test_a_text_without_quotes_gets_them(llm, write):
    """Below its last section; sections of the same name are told apart by their chapters."""
    text = "# Book\n\n## One\n\n### Costs\n\nOld.\n\n## Two\n\n### Costs\n\nOlder.\n"
    path, notes = Path(write("book.md", text)), write("study.md", NOTES)
    assert revise(llm, path, "New.").code == 2
    run = revise(llm, path, "It saved 38 percent of the energy.", "--from", notes, section="Two/Costs")
    assert run.code == 0, run.err
    start = text.replace("Older.\n", "It saved 38 percent of the energy [1].\n\n## Sources\n\n[1] ")
    assert path.read_text().startswith(start) and path.read_text().count("\n") == start.count("\n") + 1


def test_the_statement_about_a_text(llm, model, write, outline, tmp_path):
    """--provenance names the outline and the sources, and llm verify finds them unchanged."""
    path, notes = tmp_path / "report.md", write("notes.md", NOTES)
    argv = ["--outline", outline, "--from", notes, "-o", str(path), "--provenance"]
    run = llm("generate", "report", *argv, answer=model, context=8192)
    assert run.code == 0, run.err
    stated = Path(f"{path}.provenance.json").read_text()
    assert all(name in stated for name in ("outline.md", "notes.md", "report.md"))
    assert llm("verify", str(path)).code == 0
    Path(notes).write_text(NOTES + "More.\n")
    assert llm("verify", str(path)).code == 1


def test_sources_from_a_pipe_and_a_directory(llm, model, write, outline, tmp_path):
    """A file of a directory that cannot be read ends with 3, and the text is written."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text(NOTES)
    (tmp_path / "notes" / "b.pdf").write_bytes(b"%PDF-1.4 broken")
    run = llm("generate", "report", "--outline", outline, answer=model, context=8192, stdin=NOTES.encode())
    assert run.code == 0 and any("21,400 euros" in last_message(each) for each in model.requests)
    model.requests.clear()
    argv = ["--outline", outline, "--from", str(tmp_path / "notes")]
    run = llm("generate", "report", *argv, answer=model, context=8192)
    assert run.code == 3 and "b.pdf" in run.err and run.out.startswith("# Heat pumps")
    assert any("21,400 euros" in last_message(each) for each in model.requests)


def test_a_context_that_is_too_small(llm, model, outline):
    """Is an error before anything is written, not a text without an end."""
    run = llm("generate", "report", "--outline", outline, answer=model, context=60)
    assert run.code == 65 and run.out == ""


def test_another_language_than_the_wanted_one(llm, write):
    """Is a problem of the section, and the language is in the prompt by its name."""
    said = "The walls of an old house lose most of the heat, and the windows lose the rest of it in a cold winter. "
    outline = write("outline.md", "# Pumps\n\n## Walls (21 words)\n")
    run = llm("generate", "report", "--outline", outline, "--language", "de", answer=lambda _: said, context=8192)
    assert run.code == 3 and "Walls: it is in English, not in German" in run.err
    assert "in German" in last_message(run.backend.requests[0])
    assert (
        llm("generate", "report", "--outline", outline, "--language", "en", answer=lambda _: said, context=8192).code
        == 0
    )


MINUTES = """\
# Minutes

The new warehouse in Bergen opens on 3 February 2026. It has room for 1,400 pallets and cost 2,5 million kroner.

Anna Larsen leads the work at the warehouse with 12 people.
"""
BERGEN_OUTLINE = "# The Bergen warehouse\n\n## Opening\n- March 3rd, 950 pallets\n\n## People\n- who leads the work\n"


def write_bergen(llm, write, said, *argv, agrees=True):
    """Write a report about the minutes with an outline of the model; return the run and its problems."""
    minutes = write("minutes.txt", MINUTES)

    def answer(request):
        return said if "outline" not in last_message(request).casefold() else BERGEN_OUTLINE

    run = llm(
        *["generate", "report", "The Bergen warehouse", "--from", minutes, "--words", "80", "--json", *argv],
        answer=with_verdict(answer, agrees=agrees),
        context=8192,
    )
    return run, [each["problem"] for each in json.loads(run.out)["problems"]]


def test_a_date_and_a_number_of_the_outline_of_the_model(llm, write):
    """Need a source as those of a section do; a date is compared with its month, not by its digits."""
    said = "The warehouse in Bergen opens on March 3rd. It has room for 950 pallets at the warehouse."
    run, problems = write_bergen(llm, write, said)
    assert run.code == 3
    assert {"the date March 3rd stands in no source", "the number 950 stands in no source"} <= {*problems}
    assert "Opening: the date March 3rd stands in no source" in json.loads(run.out)["warnings"]


def test_words_and_units_that_no_source_has(llm, write):
    """Numbers and dates in words are named, and so is a number with another unit; "twelve people" is the source's 12."""
    said = (
        "The warehouse has room for thirty-two pallets, opens on the third of March and takes twelve people 2 tonnes."
    )
    run, problems = write_bergen(llm, write, said)
    assert run.code == 3
    named = {"the number thirty-two", "the date third of March", "the number 2"}
    assert {f"{each} stands in no source" for each in named} <= {*problems}
    assert not any("twelve" in problem and problem.startswith("the number") for problem in problems)


def test_a_number_beside_another_noun(llm, write):
    """Stands in no source: the warehouse has 12 people, but no 12 vans. Phrases of the language need no source."""
    said = (
        "The warehouse has 12 vans and two gates for the work, for one of two reasons.\n\n"
        "The work at the warehouse takes 12 people, as section 2 says."
    )
    run, problems = write_bergen(llm, write, said)
    assert run.code == 3
    assert {"the number 12 vans stands in no source", "the number two stands in no source"} <= {*problems}
    assert sum(each.startswith("the number") for each in problems) == 2


def test_a_date_that_is_written_otherwise(llm, write):
    """Cites the sentence that has its day and month, with or without the year."""
    run, problems = write_bergen(llm, write, "The new warehouse in Bergen opens on February 3rd.")
    assert "opens on February 3rd [1]." in json.loads(run.out)["text"]
    assert not any("February" in each for each in problems)


def test_a_name_and_a_title_that_no_source_has(llm, write):
    """Are named; the names of the sources are not."""
    outline = BERGEN_OUTLINE.replace("## Opening", "## Opening of the hall in Tromso in 2031")
    minutes = write("minutes.txt", MINUTES)

    def answer(request):
        is_outline = "outline" in last_message(request).casefold()
        return outline if is_outline else "Kari Holm leads the work at the Bergen warehouse, and Anna Larsen helps."

    argv = ["generate", "report", "The Bergen warehouse", "--from", minutes, "--words", "80"]
    run = llm(*argv, answer=answer, context=8192)
    assert run.code == 3
    assert "llm: warning: Opening of the hall in Tromso in 2031: the number 2031 stands in no source\n" in run.err
    assert "Tromso in 2031: the name Tromso stands in no source\n" in run.err
    assert "the name Kari Holm stands in no source\n" in run.err
    assert "Larsen" not in run.err and "Bergen stands" not in run.err


def test_units_of_several_meanings_and_names_in_labels(llm, write):
    """Are named by the command, as are initials, names after them, and numbers before a bracket."""
    said = (
        "The warehouse in Bergen cost $2.5 million kroner, and see page 99) of the warehouse by J. K. Rowling.\n"
        "- Hansen: leads the work for A.B.F. in two years at the warehouse."
    )
    run, problems = write_bergen(llm, write, said)
    assert run.code == 3
    named = {"the number $2.5 million", "the number 99", "the number two years"}
    named |= {"the name Rowling", "the name Hansen", "the name A.B.F"}
    assert {f"{each} stands in no source" for each in named} <= {*problems}


def test_a_cited_sentence_that_its_source_does_not_support(llm, write):
    """Is named with its probability, and the exit code is 3; with a model that agrees, it is none."""
    said = "The new warehouse in Bergen with 1,400 pallets never had a roof."
    line = f'Opening: the sources do not support "{said}" (0.'
    run, problems = write_bergen(llm, write, said, agrees=False)
    assert run.code == 3 and any(each.startswith(line) for each in json.loads(run.out)["warnings"])
    supported = "The warehouse has room for 1,400 pallets."
    run, problems = write_bergen(llm, write, supported)
    assert "[1]" in json.loads(run.out)["text"] and not any("support" in each for each in problems)


def test_a_cited_sentence_of_a_revised_section(llm, write):
    """Is checked in the same way, against its old quotes, too."""
    path = Path(write("report.md", TEXT))
    run = revise(llm, path, "A heat pump never costs 21,400 euros for anybody in town.", agrees=False)
    assert run.code == 3 and 'Costs: the sources do not support "A heat pump never costs' in run.err
    assert "[2]" in path.read_text()
