"""Spelling: which words of a document look misspelled, and what they were meant to be."""

from __future__ import annotations

import pytest

from llmcli.documents.reading import file_reader, streamed_file
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import open_streamed_file
from llmcli.tasks.proofread import find_words, spelling
from llmcli.tasks.proofread.spelling import read_spelling

ENGLISH = "The workshop is closed on Monday, since the roof has to be repaired after the storm."
GERMAN = "Die Werkstatt ist am Montag geschlossen, weil das Dach nach dem Sturm repariert werden muss."
FRENCH = "L'atelier est fermé lundi, car le toit doit être réparé après la tempête de la nuit."


def suggestions(text, document=None):
    """Return the suggestion for each word of a text that looks misspelled."""
    known = read_spelling(document or Document("a.txt", text))
    found = {text[start:end]: known.suggest(text, start, end) for start, end in find_words(text, 0, len(text))}
    return {word: meant for word, meant in found.items() if meant is not None}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("recieve", "receive"),
        ("seperate", "separate"),
        ("befor", "before"),
        ("repairred", "repaired"),
        ("dpends", "depends"),
        ("wich", "which"),
        ("does'nt", "doesn't"),
        ("Frend's", None),
        ("frend's", "friend's"),
        ("doesn\u2019t", None),
        ("they're", None),
    ],
)
def test_a_letter_may_be_left_out_doubled_replaced_or_exchanged(typed, meant):
    """Of several words the likeliest one is suggested: letters are more often left out than replaced."""
    assert suggestions(f"{ENGLISH} They {typed} it.").get(typed) == meant


@pytest.mark.parametrize(
    "words",
    [
        "colour organised centre",  # British spellings
        "decodings updates",
        "GitHub HTML numpy_dtype os.pathh mod/ule",
        "a pre-commit hook, lesss-known",
        "tis teh",  # too short
        "x" * 100_000,
        "`recieve` https://recieve.example.com/seperate <recieve> foo@recieve.com",
        "the recieved42 and the 3recieve",
        "it is exam-\nplle",
    ],
)
def test_other_words_are_left_alone(words):
    """Inflections, identifiers, parts of divided words, code, addresses, and words with digits."""
    assert suggestions(f"{ENGLISH} They say {words}") == {}


def test_a_word_that_the_document_repeats_is_right():
    """In any case and in code; it is what a word one edit away was meant to be."""
    assert suggestions(f"{ENGLISH} Zarrx is a tool. I like Zarrx. With Zarxr it works.") == {"Zarxr": "Zarrx"}
    assert suggestions(f"{ENGLISH} They recieve it. They recieve it again.") == {}
    assert suggestions(f"{ENGLISH} They recieve it, by `recieve`.") == {}


def test_names_are_left_alone_but_not_the_first_word_of_a_sentence():
    """A capital letter is kept in the suggestion."""
    assert suggestions(f"{ENGLISH} Then Frend came.") == {}
    assert suggestions(f"{ENGLISH} Frend or foe?\n\n- Seperate them.") == {"Frend": "Friend", "Seperate": "Separate"}


def test_german_nouns_are_judged_and_compounds_are_words():
    """Compounds may have a linking s; the first part of one may stand alone before a hyphen."""
    right = "Das Reparaturwerkzeug und das Versicherungsbüro, die Arbeits- und Wartezimmer."
    assert suggestions(f"{GERMAN} {right}") == {}
    assert suggestions(f"{GERMAN} Die Verscherung zahlt nciht.") == {"Verscherung": "Versicherung", "nciht": "nicht"}


def test_elided_words_are_french_words():
    """What follows the apostrophe is judged."""
    assert suggestions(f"{FRENCH} Il dit qu'elle l'aime aujourd'hui.") == {}
    assert suggestions(f"{FRENCH} Il faut l'argetn pour l'atelier.") == {"l'argetn": "l'argent"}


def test_english_words_and_paragraphs_in_other_documents_are_left_alone():
    """Many documents hold some."""
    assert suggestions(f"{GERMAN} Das ist ein Workflow mit vielen Features, und was ist mit Security?") == {}
    german = f"{GERMAN} " * 4
    assert (
        suggestions(f"{german}\n\nThese words, which belong to the English paragraph, are not recieved by anyone.")
        == {}
    )


SPANISH = "Los niños juegan en el jardín y las profesoras explican muchas lecciones; los impuestos no suben este año."


@pytest.mark.parametrize(
    "text",
    ["", "I recieve it.", "これは自転車の工房についての長い文章です。月曜日は閉まっています。", SPANISH],
    ids=["empty", "short", "japanese", "spanish"],
)
def test_without_a_certain_language_or_a_list_of_its_words_there_is_no_spelling(text):
    """Then the surprisal decides alone. The Spanish list has no plurals."""
    assert read_spelling(Document("a.txt", text)) is None


def test_a_file_that_is_read_in_blocks_is_one_document(monkeypatch, tmp_path):
    """A word that is in two of its blocks is repeated."""
    monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", 1000)
    monkeypatch.setattr(streamed_file, "BLOCK_CHARS", 1000)
    monkeypatch.setattr(streamed_file, "_READ_BYTES", 500)
    filler = f"{ENGLISH}\n\n" * 60
    text = f"They recieve one and seperate it.\n\n{filler}They recieve another."
    (tmp_path / "a.txt").write_text(text)
    file = open_streamed_file(str(tmp_path / "a.txt"))
    assert len(list(file.blocks())) > 2
    assert suggestions(text, file) == {"seperate": "separate"}


def test_a_file_of_too_many_different_strings_has_no_spelling(monkeypatch):
    """Their number is bounded, and so is the memory."""
    text = f"{ENGLISH} They recieve it."
    assert read_spelling(Document("a.txt", text)) is not None
    monkeypatch.setattr(spelling, "MAX_DIFFERENT_WORDS", 5)
    assert read_spelling(Document("a.txt", text)) is None
