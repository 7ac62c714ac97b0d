"""Marks, checks, glossaries, languages, subtitle lines, pseudo-localization, carry-over."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from row_table import all_rows

from llmcli.documents.format_registry import load_format
from llmcli.documents.formats.markup import markdown_format
from llmcli.documents.segments import Segment, Span
from llmcli.errors import BadDocument
from llmcli.tasks.languages import detect_language, is_still_in_source_language, parse_language
from llmcli.tasks.translate import translator
from llmcli.tasks.translate.answer_checks import (
    AnswerRequirements,
    clean_answer,
    find_problems,
    wrap_to_width,
)
from llmcli.tasks.translate.document_output import interleave
from llmcli.tasks.translate.glossary import Glossary, Term, uses_translation
from llmcli.tasks.translate.masking import group_spans, keeps_group_order, mask_spans
from llmcli.tasks.translate.memory_cache import PreviousOutput, RecordedSegment
from llmcli.tasks.translate.target_file import (
    AlignmentError,
    align_by_key,
    align_by_position,
    digest_skeleton,
)

ENGLISH, FRENCH = parse_language("en"), parse_language("fr")
SENTENCE = "The old house on the hill has been empty for many years now."


# ---- marks


@given(st.text(alphabet="ab [#~1]\uff3b%{}", max_size=30), st.sets(st.integers(0, 29), max_size=6))
def test_marks_come_back(text, cuts):
    """Whatever the text contains, masking and unmasking restores it, and its own marks are valid."""
    places = sorted(cut for cut in cuts if cut <= len(text))
    spans = [Span(a, b, "code") for a, b in zip(places[::2], places[1::2], strict=False)]
    marked = mask_spans(text, spans)
    assert marked.unmask(marked.text) == marked.transform_unmasked(str) == text
    assert marked.find_problem(marked.text, marked.text) == ""
    assert marked.find_mask_numbers(marked.text) == list(range(1, len(spans) + 1))


@all_rows(
    ("answer", "problem"),
    [
        ("b [#2] a [#1]", ""),
        ("[ #1 ] x \uff3b#2\uff3d", ""),
        ("[#1] only", "[#2] missing"),
        ("[#1] [#2] [#2]", "[#2] repeated or unknown"),
        ("[#1] [#3]", "[#2] missing, [#3] repeated or unknown"),
    ],
)
def test_marks_must_occur_once(answer, problem):
    """In any order, with blanks or full-width brackets, but each exactly once."""
    marked = mask_spans("a {x} b {y}", [Span(2, 5, "placeholder"), Span(8, 11, "placeholder")])
    assert marked.find_problem(marked.text, answer) == problem


LINKS = (
    ["[", "](u)", "`c`", "[", "![", "](i)", "](v)"],
    ["link", "target", "code", "link", "link", "target", "target"],
)


@all_rows(
    ("texts", "kinds", "found"),
    [
        (*LINKS, [(1, 2), (5, 6), (4, 7)]),
        (["[", '](u "', '")'], ["link", "target", "target"], [(1, 2, 3)]),
        (["<b>", "<br>", "</b>", "</i>"], ["tag"] * 4, [(1, 3)]),
        (['<img alt="', '" title="', '">', "<p>"], ["tag"] * 4, [(1, 2, 3)]),
        (["<i>", "<b>", "</i>"], ["tag"] * 3, [(1, 3)]),
        (["{n, plural, one{", "{x}", "} other{", "}}"], ["placeholder"] * 4, [(1, 3, 4)]),
        (["%s", "{a}"], ["placeholder"] * 2, []),
    ],
)
def test_groups_of_protected_texts(texts, kinds, found):
    """Links, tags, attributes and plurals have parts; an unmatched text is single."""
    assert group_spans(texts, kinds) == found


@all_rows(
    ("answer", "good"),
    [
        ([1, 2, 3, 4, 5, 6, 7], True),
        ([4, 5, 6, 7, 1, 2, 3], True),
        ([4, 1, 2, 5, 6, 7, 3], True),
        ([2, 1, 3, 4, 5, 6, 7], False),
        ([1, 4, 2, 5, 6, 7, 3], False),
        ([4, 5, 7, 6, 1, 2, 3], False),
    ],
)
def test_groups_stay_whole(answer, good):
    """Links may be reordered, also nested, but neither reversed nor partially overlapped."""
    assert keeps_group_order(answer, range(1, 8), group_spans(*LINKS)) is good


@all_rows(
    ("answer", "good"),
    [
        ("[#1]Ein Bild[#2] [#3]Wort[#4]", True),
        ("[#3]Wort[#4] [#1]Ein Bild[#2]", True),
        ("[#1]Ein Bild[#3] [#4]Wort[#2]", False),
        ("[#3]Ein Bild[#1] [#2]Wort[#4]", False),
    ],
)
def test_attributes_keep_their_words(answer, good):
    """A tag in an attribute would be text, and an attribute without words has lost them."""
    text = '<img alt="A picture"> <b>word</b>'
    marked = mask_spans(text, [Span(text.index(part), text.index(part) + len(part), "tag")
                               for part in ('<img alt="', '">', "<b>", "</b>")])  # fmt: skip
    assert (marked.find_problem(marked.text, answer) == "") is good


def test_a_part_of_a_group_stays_in_order():
    """If a text is split into sentences, grouped texts keep their order."""
    assert keeps_group_order([2, 3, 4], [2, 3, 4], group_spans(*LINKS))
    assert not keeps_group_order([4, 3, 2], [2, 3, 4], group_spans(*LINKS))


# ---- checks


@all_rows(
    ("text", "answer", "kept"),
    [
        ("Hello", "Here is the translation: Bonjour", "Bonjour"),
        ("Hello", "Sure, here's the French translation:\n\nBonjour", "Bonjour"),
        ("Hello", "Translation: Bonjour", "Bonjour"),
        ("Hello", '"Bonjour"', "Bonjour"),
        ('"Hello"', '"Bonjour"', '"Bonjour"'),
        ("Hello", "\u00abBonjour\u00bb", "Bonjour"),
        ("Hello", "```\nBonjour\n```", "Bonjour"),
        ("Here is the translation: x", "Here is the translation: y", "Here is the translation: y"),
        ("Hello", '"Bon" et "jour"', '"Bon" et "jour"'),
        ("Note: this", "Remarque : ceci", "Remarque : ceci"),
        ("Voici: a", "Here: a", "Here: a"),
        ("Hello", '{"translation": "Bonjour"}', "Bonjour"),
        ("Hello", '{"a": "b", "c": "d"}', '{"a": "b", "c": "d"}'),
        ("Hello", "Bonjour\n\nNote: this is informal.", "Bonjour"),
        ("Hello", '"Bonjour"\n\n**Explanation:** a greeting', "Bonjour"),
        ("Hello", "Here is the translation: Bonjour\n\n(Note that it is informal)", "Bonjour"),
        ("Hello. Note this.", "Bonjour.\n\nNote ceci.", "Bonjour.\n\nNote ceci."),
        ("Hello\n\nNote: this", "Bonjour\n\nNote : ceci", "Bonjour\n\nNote : ceci"),
        ("Hello", "Bonjour\n\nle monde", "Bonjour\n\nle monde"),
    ],
)
def test_additions_of_models_are_removed(text, answer, kept):
    """A preamble, commentary, quotes and a fence are removed unless the text has them, or a sentence would be lost."""
    assert clean_answer(text, answer) == kept


def found(text, answer, *, terms=(), width=None, source=ENGLISH, target=FRENCH):
    return find_problems(text, answer, AnswerRequirements(mask_spans(text, []), source, target, tuple(terms), width))


@all_rows(
    ("text", "answer", "problem"),
    [
        (SENTENCE, SENTENCE, "the answer is not in French"),
        (SENTENCE, SENTENCE.replace("years", "months"), "the answer is not in French"),
        (SENTENCE, "La vieille maison sur la colline est vide depuis de nombreuses années.", ""),
        ("In 1984 there were 1,200 of them", "En 1984 il y en avait 1 200", ""),
        ("In 1984 there were 12 of them", "En 1984 il y en avait douze", ""),
        ("In 1984 there were 12 of them", "En 1984 il y en avait plusieurs", "numbers are missing: 12"),
        ("Page 3 of it", "La troisième page", ""),
        ("It is 3 km away", "C'est à trois kilomètres", ""),
        ("It is 3 km away", "C'est à quelques kilomètres", "numbers are missing: 3"),
        (SENTENCE * 3, "Oui.", "the translation is far too short"),
        ("Acme Foo Bar", "Acme Foo Bar", ""),
        ("Hello you", '{"a": "b", "c": "d"}', "the answer is JSON"),
    ],
)
def test_problems(text, answer, problem):
    """Copies, missing numbers, and answers that are too short."""
    assert found(text, answer) == ([problem] if problem else [])


def test_chinese_is_short():
    """A translation into Chinese needs a fraction of the characters."""
    assert found(SENTENCE, "山上的老房子已经空了很多年了。", target=parse_language("zh")) == []


def test_lines_of_subtitles():
    """A line that is too long is broken again if that helps, and is a problem otherwise."""
    assert wrap_to_width("one two three four", 10, 1) == "one two\nthree four"
    assert wrap_to_width("short", 10, 1) == "short"
    assert wrap_to_width("x" * 30, 10, 1) == "x" * 30
    assert found("a cue", "x" * 30, width=10) == ["a line has 30 characters; at most 10 fit"]


# ---- glossaries


def test_glossary():
    """Terms with a translation, untranslated terms, comments, a header; the longest term counts."""
    glossary = Glossary.parse("term,translation,note\n# x\ncloud,nuage\nCloud Run,\nnode,nœud,of a graph\nAcme\n", "g")
    assert [term.term for term in glossary.find_translated("The Clouds and nodes")] == ["cloud", "node"]
    text = "Acme runs Cloud Run, not Acmes"
    assert [text[a:b] for a, b in glossary.find_untranslated(text)] == ["Acme", "Cloud Run"]
    assert glossary.find_translated("clouded") == [glossary.terms[0]] and glossary.find_translated("cloudiness") == []
    assert glossary.fingerprint and not Glossary().fingerprint


@all_rows(
    "text",
    [
        "house;Haus, Gebäude;a building\nAcme\nmill;Mühle\n",
        "term;translation\nhouse;Haus, Gebäude;a building\nmill;Mühle, alt\nAcme\n",
        "house\tHaus, Gebäude\ta building\nmill\tMühle, alt\nAcme\n",
        '# ours\nhouse,"Haus, Gebäude",a building; or two\nmill,Mühle\nAcme\n',
    ],
)
def test_separators_of_a_glossary(text):
    """Commas, semicolons, tabs: the header decides, else most lines."""
    terms = Glossary.parse(text, "g").terms
    assert {term.term for term in terms} == {"house", "mill", "Acme"}
    assert [term.translation for term in terms if term.term == "house"] == ["Haus, Gebäude"]


@all_rows(
    ("language", "translation", "answer", "kept"),
    [
        ("de", "Datei", "Die Dateien sind hier.", True),
        ("de", "Datei", "Die Daten sind hier.", False),
        ("de", "Datei", "Der Ordner ist hier.", False),
        ("de", "Datei", "Der Dateiname fehlt.", True),
        ("de", "Server", "Der Name des Servers.", True),
        ("de-CH", "Haus", "Die Häuser.", True),
        ("de", "Haus", "Die Haut.", False),
        ("de", "lokale Datei", "mit lokalen Dateien", True),
        ("de", "lokale Datei", "mit den Dateien", False),
        ("de", "speichern", "Es wurde gespeichert.", True),
        ("de", "Ort", "An vielen Orten", True),
        ("de", "E-Mail", "Zwei E-Mails", True),
        ("de", "Speicher", "Der Platz ist voll", False),
        ("fr", "nuage", "Les nuages", True),
        ("fr", "nuage", "le cloud", False),
        ("fr", "base de données", "Des bases de données", True),
        ("fr", "animal", "Les animaux", True),
        ("fr", "port", "Le portail", False),
        ("en", "category", "Two categories", True),
        ("es", "lápiz", "Los lápices", True),
        ("it", "amico", "gli amici", True),
        ("pt", "versão", "As versões", True),
        ("nl", "bestand", "de bestanden", True),
        ("sv", "fil", "i filerna", True),
        ("pl", "plik", "z plikami", True),
        ("pl", "plik", "z katalogami", False),
        ("ru", "сервер", "нет серверов", True),
        ("fi", "tiedosto", "tiedostoissa", True),
        ("tr", "dosya", "dosyalarından", True),
        ("tr", "dosya", "klasörler", False),
        ("ja", "ファイル", "新しいファイルです", True),
        ("ar", "ملف", "الملفات", True),
        ("de", "C++", "In C++ und C", True),
    ],
)
def test_terms_may_be_inflected(language, translation, answer, kept):
    """A form of each word counts, and no other word that begins like it."""
    assert uses_translation(Term("x", translation), answer, language) is kept


# ---- languages


@all_rows(
    ("text", "code"),
    [(SENTENCE, "en"), ("Die alte Tür im Haus war seit Jahren nicht mehr offen.", "de"), ("ok", None), ("12 34", None)],
)
def test_detection(text, code):
    """The language of a text; a few letters have no result."""
    language = detect_language(text)
    assert (language and language.code) == code


def test_only_languages_with_a_name_are_detected():
    """The library knows more languages than the table; numbers belong to no language."""
    assert detect_language("Asefru-agi d yiwen n uḍris s tmaziɣt n Leqbayel i d-yeffɣen ass-a di tmurt") is None
    found = detect_language("".join(f"Paragraph {number} of this text.\n\n" for number in range(3000)))
    assert found is not None and found.code == "en"


def test_is_still():
    """Certainly in the source language: not if both are the same, or with little text."""
    assert is_still_in_source_language(SENTENCE, ENGLISH, FRENCH)
    assert not is_still_in_source_language("La vieille maison est vide depuis longtemps.", ENGLISH, FRENCH)
    assert not is_still_in_source_language(SENTENCE, ENGLISH, parse_language("en-GB"))
    assert not is_still_in_source_language("Yes", ENGLISH, FRENCH)


# ---- layouts, pseudo, updates


def segment(start, text, **more):
    return Segment(start, start + len(text), text, str, **more)


def test_interleaved_blocks():
    """A quotation stays one; a cell contains both; line endings are the document's."""
    text = "> hello\r\n"
    assert interleave(load_format("markdown"), text, [segment(2, "hello")], ["salut"]) == "> hello\r\n>\r\n> salut\r\n"
    text = "| hello |\n"
    cell = [segment(2, "hello", kind="cell")]
    assert interleave(load_format("markdown"), text, cell, ["salut"]) == "| hello / salut |\n"
    assert interleave(load_format("html"), "<p>hello</p>", [segment(3, "hello")], ["salut"]) == "<p>hello<br>salut</p>"
    assert interleave(load_format("markdown"), text, cell, [None]) == text


@all_rows(
    ("text", "expected"),
    [
        ("- [ ] todo\n", "- [ ] todo\n\n  TODO\n"),
        ("> 1. [x] todo\n", "> 1. [x] todo\n>\n>    TODO\n"),
        ("[^1]: note\n\na[^1]\n", "[^1]: note\n\n    NOTE\n\na[^1]\n\nA[^1]\n"),
        ("term\n: words\n", "term / TERM\n: words\n: WORDS\n"),
        ('!!! note "title"\n    words\n', '!!! note "title / TITLE"\n    words\n\n    WORDS\n'),
        ("> [!tip] title\n> words\n", "> [!tip] title / TITLE\n> words\n>\n> WORDS\n"),
        ("# title\r\rwords\r", "# title\r\r# TITLE\r\rwords\r\rWORDS\r"),
    ],
)
def test_interleaved_markdown(text, expected):
    """A translation is a block of the same kind as its source, or on its line if that must stay one line."""
    segments = markdown_format.FORMAT.split(text, "de")
    shouted = [re.sub(r"\[\^1\]|[a-z]+", lambda m: m[0].upper(), s.text) for s in segments]
    assert interleave(load_format("markdown"), text, segments, shouted) == expected


@given(st.text(max_size=60))
def test_accents(text):
    """Letters get accents, nothing is lost, and the text never becomes shorter."""
    changed = translator.add_accents(text)
    assert (len(changed) >= len(text) and changed.split() != []) or not text.split()
    assert translator.keep_text(text) == text


def test_accents_grow_by_a_third():
    """About 30% longer, like German text in narrow buttons."""
    assert 1.2 <= len(translator.add_accents(SENTENCE * 5)) / len(SENTENCE * 5) <= 1.4


def row(source, translation, key=""):
    return RecordedSegment(source, translation, key)


def test_message_files_are_carried_over_by_key():
    """In any order, under another language's root; translations of another text are not carried over."""
    old = [
        segment(0, "zwei", path=("de", "c")),
        segment(9, "EINS", path=("de", "a")),
        segment(20, "DREI", path=("de", "d")),
    ]
    new = [segment(0, "one", path=("en", "a")), segment(5, "new", path=("en", "b")), segment(9, "two", path=("en", "c")),
           segment(19, "three, changed", path=("en", "d"))]  # fmt: skip
    assert align_by_key(new, old, None).texts == {0: "EINS", 2: "zwei", 3: "DREI"}
    written = PreviousOutput([row("one", "eins", "a"), row("two", "zwei", "c"), row("three", "drei", "d")], "")
    carried = align_by_key(new, old, written)
    assert (carried.texts, carried.outdated_edits) == ({0: "EINS", 2: "zwei"}, 1)
    assert sorted(carried.edits) == [("one", "EINS"), ("three", "DREI")]


OLD = "eins\n\n[zwei](u)\n\nDREI\n"
THEIRS = [segment(0, "eins"), segment(6, "[zwei](u)"), segment(17, "DREI")]
ROWS = [row("one", "eins"), row("two", "zwei"), row("three", "drei")]


def test_documents_are_carried_over_by_the_last_output():
    """A changed source has no translation any more; an edit stays, with its markup."""
    new = [segment(0, "one"), segment(9, "two"), segment(14, "new"), segment(30, "three, changed")]
    carried = align_by_position(new, OLD, THEIRS, PreviousOutput(ROWS, digest_skeleton(OLD, THEIRS)))
    assert carried.texts == {0: "eins", 1: "[zwei](u)"} and carried.regions[1] == "[zwei](u)"
    assert (carried.edits, carried.outdated_edits) == ([("two", "[zwei](u)"), ("three", "DREI")], 1)


@all_rows(
    ("text", "theirs", "written"),
    [
        (OLD, THEIRS, None),
        (OLD, THEIRS, PreviousOutput(ROWS, "")),
        ("```\n" + OLD, [segment(s.start + 4, s.text) for s in THEIRS], PreviousOutput(ROWS, digest_skeleton(OLD, THEIRS))),
        ("zwei\n\neins\n\ndrei\n", [segment(0, "zwei"), segment(6, "eins"), segment(12, "drei")],
         PreviousOutput(ROWS, digest_skeleton(OLD, THEIRS))),
        ("eins\n\nzwei\n", [segment(0, "eins"), segment(6, "zwei")], PreviousOutput(ROWS, digest_skeleton(OLD, THEIRS))),
    ],
)  # fmt: skip
def test_unknown_edits_are_not_guessed(text, theirs, written):
    """Without a memory, and if a text between segments was added, removed, moved or changed."""
    with pytest.raises(AlignmentError):
        align_by_position([segment(0, "one"), segment(9, "two"), segment(30, "three")], text, theirs, written)


def test_protected_spans_may_be_numbers():
    """Numbers are checked, not masked."""
    from llmcli.tasks.translate.segment_requests import spans_to_mask

    found = spans_to_mask(Segment(0, 9, "3 {x} Foo", str, (Span(0, 1, "number"), Span(2, 5, "placeholder"))), [(6, 9)])
    assert [(span.start, span.end) for span in found] == [(2, 5), (6, 9)]


def test_a_bad_line_of_a_glossary():
    """The error names the line."""
    with pytest.raises(BadDocument) as caught:
        Glossary.parse("a,b\n\n,c\n", "g.csv")
    assert "line 3" in caught.value.detail
