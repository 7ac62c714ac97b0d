"""Documents translated by models that answer well, badly or not at all: the output is always valid in its format."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import polib
import pytest
from document_texts import MARK, greek
from row_table import all_rows
from scripted import Reply, ScriptedBackend, last_message
from tasks.helpers import of, result

from llmcli.documents.format_registry import find_format
from llmcli.documents.reading.document import Document, decode_utf8
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate import PROMPT, translate
from llmcli.tasks.translate.segment_state import SegmentStatus, TranslationReport
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator
from llmcli.types import Delta, Result

REAL = sorted((Path(__file__).parents[2] / "documents" / "real").iterdir())
each_file = pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)


def well(request):
    return greek(last_message(request))


def dropping(rate):
    """Answer as ``well``, but omit a mark at this rate."""
    chance = random.Random(7)
    return lambda r: MARK.sub(lambda m: "" if chance.random() < rate else m[0], well(r))


def doubling(rate):
    chance = random.Random(7)
    return lambda r: MARK.sub(lambda m: m[0] * (2 if chance.random() < rate else 1), well(r))


def altering(rate):
    chance = random.Random(7)
    return lambda r: MARK.sub(lambda m: f"[#{chance.randrange(9)}]" if chance.random() < rate else m[0], well(r))


def reordering(rate):
    chance = random.Random(7)

    def answer(request):
        text = well(request)
        marks = MARK.findall(text)
        if chance.random() < rate:
            chance.shuffle(marks)
        left = iter(marks)
        return MARK.sub(lambda _: next(left), text)

    return answer


def preambles(request):
    return f"Sure! Here is the translation:\n\n{well(request)}"


def structure(request):
    """Answer with characters that are syntax in most formats."""
    return well(request) + ' "# \n\n- x\n</p> \\ %q {y} [z](w) msgid "" ---'


def endless(request):
    return Reply("blah " * 3000, stalls=True)


def copying(request):
    return last_message(request)


def silent(request):
    return ""


def of_marks_only(request):
    return "[#1] [#2] [#3]"


BAD = {
    "drops": lambda: dropping(0.5),
    "doubles": lambda: doubling(0.5),
    "alters": lambda: altering(0.5),
    "reorders": lambda: reordering(0.7),
    "structure": lambda: structure,
    "endless": lambda: endless,
    "copies": lambda: copying,
    "silent": lambda: silent,
    "marks": lambda: of_marks_only,
}
"""Each makes a model of its own, so that its answers do not depend on other tests."""


def run(prompts, path, answer):
    """Return the document, its result and the rows of the report."""
    backend, report = ScriptedBackend(answer, context=4096), TranslationReport()
    by = Translator(backend, prompts.get(PROMPT), GenerationOptions(), parse_language("el"))
    text, bom = decode_utf8(path.read_bytes(), path.name)
    document = Document(path.name, text, bom=bom)
    events = list(translate([TranslationSpec(document, by, parse_language("en"))], report=report))
    answer = result(events)
    assert "".join(delta.text for delta in of(Delta, events)) == answer.text
    return document, answer, report.outcomes[0]


def protected(segments):
    return Counter(
        segment.text[span.start : span.end]
        for segment in segments
        for span in segment.protected
        if span.kind != "number"
    )


def check(path, document, answer, rows):
    """Check that the output is valid, that no protected text is lost, and that the exit code matches the report."""
    form = find_format(path.name, document.text)
    assert form.check(document.text) == ""
    assert form.check(answer.text) == "", answer.text
    kept = [row for row in rows if row.status is SegmentStatus.UNTRANSLATED]
    assert answer.cut is bool(kept) and answer.fields["untranslated"] == len(kept)
    before, after = form.split(document.text, "el"), form.split(answer.text, "el")
    for row, segment in zip(rows, before, strict=True):
        if row.translation is not None and row.status is not SegmentStatus.EXISTING:
            wanted = Counter(segment.text[s.start : s.end] for s in segment.protected if s.kind != "number")
            for text, count in wanted.items():
                assert row.translation.count(text) >= count, (row, text)
        assert all(row.checks for row in kept)
    if form.name == "po":  # there a translated segment is no longer a segment
        assert polib.pofile(answer.text).to_binary()
    else:
        assert protected(after) == protected(before)


@each_file
def test_a_good_model(prompts, path):
    """Everything is translated, nothing is reported."""
    document, answer, rows = run(prompts, path, well)
    check(path, document, answer, rows)
    assert not answer.cut
    assert answer.text != document.text


@each_file
def test_preambles_are_removed(prompts, path):
    """What a model writes before its translation does not reach the document."""
    _, answer, _ = run(prompts, path, preambles)
    assert (answer.text, answer.cut) == (run(prompts, path, well)[1].text, False)


@each_file
@all_rows("name", BAD)
def test_a_bad_model(prompts, path, name):
    """Whatever it answers: the document is valid, protected texts stay, and the report is correct."""
    document, answer, rows = run(prompts, path, BAD[name]())
    check(path, document, answer, rows)
    if name in {"endless", "silent"}:
        assert answer.text.removeprefix("\ufeff") == document.text
        assert answer.cut
    if name == "drops":
        assert any(row.retries for row in rows) or not any(MARK.search(str(row)) for row in rows)


def test_a_retry_names_the_problems(tmp_path):
    """The second attempt names the problems of the first; then each sentence is tried alone."""
    from llmcli.prompts.prompt_library import PromptLibrary

    backend = ScriptedBackend(lambda r: "κακό")
    by = Translator(backend, PromptLibrary(tmp_path).get(PROMPT), GenerationOptions(), parse_language("el"))
    document = Document("x.md", "Call `this` one now. Then call `that` one.\n")
    answer = result(translate([TranslationSpec(document, by)]))
    assert answer.cut and answer.text == document.text
    asked = [last_message(request) for request in backend.requests]
    assert "marks are wrong" not in asked[0] and "the marks are wrong: [#1] [#2] missing" in asked[1]
    assert len(asked) >= 3 and "Then call" not in asked[2]


def test_results_belong_to_their_documents(prompts):
    """All documents run concurrently, and each gets its own words."""
    backend = ScriptedBackend(well, context=4096)
    by = Translator(backend, prompts.get(PROMPT), GenerationOptions(), parse_language("el"))
    jobs = [
        TranslationSpec(Document(path.name, text, bom=bom), by)
        for path in REAL
        for text, bom in [decode_utf8(path.read_bytes(), "")]
    ]
    results = of(Result, translate(jobs))
    assert backend.jobs == 1
    for path, answer in zip(REAL, sorted(results, key=lambda each: each.item), strict=True):
        assert answer.text == run(prompts, path, well)[1].text
