"""Emphasis is checked like marks: retried, then reported; literal characters of other formats are not emphasis."""

from __future__ import annotations

import pytest
from scripted import ScriptedBackend, last_message
from tasks.helpers import result

from llmcli.cli.console.error_messages import describe
from llmcli.documents.formats.markup import markdown_format
from llmcli.documents.reading.document import Document
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.translate import PROMPT, translate
from llmcli.tasks.translate.answer_checks import emphasis_problem, find_lost_content, fix_delimiter_spacing
from llmcli.tasks.translate.masking import mask_spans
from llmcli.tasks.translate.segment_state import TranslationReport
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.tasks.translate.translator import Translator


def marked(text):
    """Return the text of a paragraph with its marks."""
    (segment,) = markdown_format.FORMAT.split(text, "fr")
    return mask_spans(segment.text, segment.protected)


@pytest.mark.parametrize(
    ("text", "answer", "problem"),
    [
        ("A **big** red *house*", "Une *maison* rouge et **grande**", ""),
        ("Some _words_ here", "Des *mots* ici", ""),
        ("A **big** house", "Une grande maison", "**bold** is missing"),
        ("A big house", "Une **grande** maison", "**bold** is not in the source text"),
        ("A **big** house", "Une *grande* maison", "**bold** is missing, *italic* is not in the source text"),
        ("An ~~old~~ house", "Une maison", "~~struck out~~ is missing"),
        ("A **big** house", "Une **grande maison", "**bold** is missing, * is unmatched"),
        ("A **big** house", "Une ** grande ** maison", "**bold** is missing"),
        ("A **big** house", "Une \\*\\*grande\\*\\* maison", "**bold** is missing"),
        ("A house* here", "Une maison ici", ""),
        ("A house here", "Une maison* ici", "* is unmatched"),
        ("5 * 3 is snake_case", "5*3 est snake_case", "* is unmatched"),
        ("5 * 3 is snake_case", "5 \u00d7 3 est snake_case", ""),
        ("**Run `a*b` now**", "**Lancez [#1]**", ""),
        ("**Run `a*b` now**", "Lancez [#1]", "**bold** is missing"),
        ("r**`a`**", "r**[#1]**", ""),
    ],
)
def test_count_and_kind_have_to_match(text, answer, problem):
    """Anywhere in the sentence, and with either character; code and literals are no emphasis."""
    source = marked(text)
    assert emphasis_problem(source, source.text, answer) == problem


@pytest.mark.parametrize(
    ("answer", "problem"),
    [("**Un.", ""), ("Un.", "* is missing"), ("**Un.**", "**bold** is not in the source text, * is missing")],
)
def test_sentences_keep_delimiters_matched_in_the_next(answer, problem):
    """A part of a text has to keep its half of emphasis that continues in the next part."""
    assert emphasis_problem(marked("**One. Two.**"), "**One.", answer) == problem


def test_blanks_are_inserted_only_if_they_help():
    """An answer whose emphasis is right, or stays wrong, does not change."""
    source = marked("Press **Save** now")
    assert fix_delimiter_spacing(source, source.text, "\u6309**\u4fdd\u5b58**\u952e") == "\u6309**\u4fdd\u5b58**\u952e"
    assert (
        fix_delimiter_spacing(source, source.text, "\u6309**\u201c\u4fdd\u5b58\u201d**\u952e")
        == "\u6309 **\u201c\u4fdd\u5b58\u201d** \u952e"
    )
    assert fix_delimiter_spacing(source, source.text, "\u6309_\u4fdd\u5b58_\u952e") == "\u6309_\u4fdd\u5b58_\u952e"


def run(prompts, text, answer, *, name="doc.md"):
    """Return the backend, the result and the rows of the report."""
    backend, report = ScriptedBackend(answer), TranslationReport()
    by = Translator(backend, prompts.get(PROMPT), GenerationOptions(), parse_language("fr"), model_id="m")
    events = translate([TranslationSpec(Document(name, text), by, parse_language("en"))], report=report)
    return backend, result(events), report.outcomes[0]


def test_lost_emphasis_is_retried(prompts):
    """The second answer counts if it has the emphasis, and the report has the problem of the first."""
    answers = iter(["Une grande maison", "Une **grande** maison"])
    backend, answer, (row,) = run(prompts, "A **big** house\n", lambda _: next(answers))
    assert (answer.text, answer.cut, len(backend.requests)) == ("Une **grande** maison\n", False, 2)
    assert row.checks == ("the emphasis is wrong: **bold** is missing",)


@pytest.mark.parametrize(
    ("text", "answer", "problem"),
    [
        ("A **big** house", "Une grande maison", "**bold** is missing"),
        ("A big house", "Une **grande** maison", "**bold** is not in the source text"),
    ],
)
def test_emphasis_that_stays_wrong_is_reported(prompts, text, answer, problem):
    """The segment keeps its text, and the result is incomplete."""
    _, done, (row,) = run(prompts, text, lambda _: answer)
    assert (done.text, done.cut, describe(done.incomplete)[0]) == (text, True, "1 of 1 segment was left untranslated")
    assert done.warnings == (f"line 1: left untranslated: the emphasis is wrong: {problem}",)
    assert row.status == "untranslated"


def test_a_cut_answer_stays_cut_when_its_emphasis_is_corrected(prompts):
    """A blank before a delimiter does not make it complete."""
    answer = "\u6309**\u201c\u4fdd\u5b58\u201d**\u952e\u73b0\u5728 " + "\u518d " * 100
    _, done, (row,) = run(prompts, "Press **Save** now or later today please", lambda _: answer)
    assert done.cut and row.checks[0] == "the answer is incomplete"


def test_emphasis_over_sentences_is_complete_in_the_end(prompts):
    """Sentences that are retried separately keep emphasis that spans them; if it does not match, none is accepted."""
    text = "**One house is old. Two houses are new.**"

    def by_sentence(first, second):
        def answer(request):
            return {"**One house is old.": first, "Two houses are new.**": second}.get(last_message(request), "")

        return answer

    good = by_sentence("**Une maison.", "Deux maisons.**")
    assert run(prompts, text, good)[1].text == "**Une maison. Deux maisons.**"
    bad = by_sentence("**Une maison.", "Deux maisons")
    assert run(prompts, text, bad)[1].text == text
    torn = by_sentence("Une** maison.", "Deux maisons.**")  # each has its delimiter, but together they are unmatched
    assert run(prompts, text, torn)[1].text == text


def test_signs_of_a_plain_text_are_literal(prompts):
    """There is no emphasis to lose."""
    _, answer, _ = run(prompts, "A **big** house_x\n", lambda _: "Une grande maison", name="doc.txt")
    assert (answer.text, answer.cut) == ("Une grande maison\n", False)


def test_a_stored_translation_without_emphasis_is_not_used():
    """A translation stored for the same text in another format is requested again."""
    (segment,) = markdown_format.FORMAT.split("A **big** `x` house", "fr")
    assert find_lost_content(segment, "Une **grande** maison `x`") == []
    assert find_lost_content(segment, "Une grande maison `x`") == ["**bold** is missing"]
    assert find_lost_content(segment, "Une **grande** maison") == ["`x`"]
