"""Quotes know exactly where they stand."""

from __future__ import annotations

import random

import pytest

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.passages import Section, number_passages
from llmcli.tasks.quotes.quotable_text import PassageSpan, QuotableDocument

TEXT = "First line of it.\nThe price is 3.5 million\r\neuros, says Zoë.\n\nThe price is high.\n"


@pytest.fixture
def document():
    return QuotableDocument.from_document(Document("notes.txt", TEXT))


def test_the_white_space_between_words_does_not_matter(document):
    """The quote is the text of the document, with its line ends, offsets and lines."""
    quote = document.whole().locate("price is 3.5 million euros, says Zoë")
    assert quote.text == TEXT[quote.start : quote.end] == "price is 3.5 million\r\neuros, says Zoë"
    assert (quote.first_line, quote.last_line, quote.page, quote.occurrences) == (2, 3, None, 1)
    assert (quote.exact, quote.place) == (True, "notes.txt, lines 2-3")
    assert quote.line == "price is 3.5 million euros, says Zoë"


def test_the_first_of_several_places_is_given_and_all_are_counted(document):
    """Both sentences begin alike."""
    quote = document.whole().locate("The price is")
    assert (quote.start, quote.occurrences) == (TEXT.index("The price"), 2)


@pytest.mark.parametrize("words", ["", " \n", "5 million euros", "3.5 mill", "price was", "FIRST LINE", "Zo"])
def test_what_does_not_stand_there_is_not_found(document, words):
    """No word is cut, and without a lower similarity nothing is taken for another."""
    assert document.whole().locate(words) is None


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("the price IS 3.5 million Euros", "The price is 3.5 million\r\neuros,"),
        ("The price was 3.5 million euros, says Zoë.", "The price is 3.5 million\r\neuros, says Zoë."),
        ("“The price is about 3.5 million euros", "The price is 3.5 million\r\neuros,"),
    ],
)
def test_nearly_the_same_words_are_replaced_by_those_of_the_document(document, words, found):
    """Only with a lower similarity; the quote says that it is not exact."""
    quote = document.whole().locate(words, min_similarity=0.8)
    assert (quote.text, quote.exact) == (found, False)
    assert 0.8 <= quote.similarity <= 1


def test_other_words_are_not_similar(document):
    """A few common words are not enough."""
    assert document.whole().locate("The price of bread is what the people talk about", min_similarity=0.8) is None


def test_pages_and_attachments_are_known():
    """A quote over the end of a page has two pages."""
    sections = [
        Section("One two three.", page=1),
        Section("four five six.", page=2),
        Section("Attached.", part="a.txt"),
    ]
    source = number_passages("report.pdf", sections, "pdf")
    document = QuotableDocument.from_document(Document("report.pdf", source.text, source=source))
    whole = document.whole()
    assert whole.locate("two three").place == "report.pdf, p. 1"
    assert whole.locate("three. four").place == "report.pdf, pp. 1-2"
    assert whole.locate("Attached.").place == "report.pdf: a.txt, line 5"


def test_scripts_without_spaces_are_found_by_character():
    """No white space marks their words."""
    text = "私は昨日東京で新しい本を買いました。"
    document = QuotableDocument("a.txt", text)
    assert document.whole().locate("東京で新しい本").start == text.index("東京")
    near = document.whole().locate("昨日東京で古い本を買いました", min_similarity=0.7)
    assert near.text == "昨日東京で新しい本を買いました"


def test_every_located_quote_stands_in_the_text():
    """Random cuts of a text with changed words: what is returned is always a part of the text."""
    choice = random.Random(7)
    vocabulary = ["1.5", "(x)", "y,", "z.", "\n\n", "ü", *(f"word{number}" for number in range(300))]
    words = [choice.choice(vocabulary) for _ in range(3000)]
    text = " ".join(words)
    whole = QuotableDocument("a", text).whole()
    found = 0
    for _ in range(300):
        start = choice.randrange(2900)
        said = words[start : start + choice.randrange(5, 30)]
        said[choice.randrange(len(said))] = "changed"
        quote = whole.locate(" ".join(said), min_similarity=0.6)
        if quote is not None:
            found += 1
            assert text[quote.start : quote.end] == quote.text
    assert found > 100


def test_a_detached_passage_has_the_same_quotes():
    """Without the rest of the document: offsets, lines, pages."""
    sections = [Section("One and two. Three.\nFour is here.", page=1), Section("Five. Six.", page=2)]
    whole = number_passages("a.pdf", sections, "pdf")
    document = QuotableDocument.from_document(Document("a.pdf", whole.text, source=whole), 3)
    start = document.text.index("Three")
    passage = PassageSpan(document, start, document.text.index("Six"))
    alone = passage.detach()
    assert alone.document.text == passage.text and alone.document.number == 3
    for words in ("Three.", "Four is", "here. Five."):
        assert alone.locate(words) == passage.locate(words)
    assert alone.locate("Five.").page == 2


def test_the_sentences_around_a_quote_are_whole():
    """A quote may begin in one and end in the next."""
    text = "First one. Second one here. Third one. Fourth."
    passage = QuotableDocument("a", text).whole()
    quote = passage.locate("one here. Third")
    assert passage.sentences_around(quote).text == "Second one here. Third one."
