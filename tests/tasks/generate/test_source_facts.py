"""Facts of sources: which sentences are given to the model, and which ones a sentence cites."""

from __future__ import annotations

import pytest

from llmcli.documents.reading.document import Document
from llmcli.tasks.generate.source_facts import SourceFacts, cite_sentence

STUDY = Document(
    "study.md",
    "# Costs of heat pumps\n\nA heat pump costs 21,400 euros on average. Subsidies pay 35 percent of the price.\n\n"
    "# Noise\n\nThe fan of the pump is heard in 9 of 45 gardens. Most neighbours do not mind the noise at all.\n",
)
FACTS = SourceFacts([STUDY])


def test_facts_are_found_by_words():
    """Each is a sentence as it stands in its source; headings are none, but lead to what stands below them."""
    found = FACTS.search(["What does it cost?", "Noise in gardens"])
    assert [quote.text for quote in found][:1] == ["A heat pump costs 21,400 euros on average."]
    assert any("9 of 45 gardens" in quote.text for quote in found)
    assert all(STUDY.text[quote.start : quote.end] == quote.text and "#" not in quote.text for quote in found)


@pytest.mark.parametrize(
    ("sentence", "cited", "unfounded"),
    [
        ("The price of a heat pump is 21,400 euros.", ["21,400"], ()),
        ("The price of a heat pump is 21400 euros, and 35 percent are paid by subsidies.", ["21,400", "35"], ()),
        ("Of 45 gardens, 9 heard the fan.", ["9 of 45"], ()),
        ("It costs 99 euros.", [], ("99",)),
        ("There are 35 planets.", [], ("35 #planet",)),
        ("In 2024, it is cheaper.", [], ()),
        ("Most neighbours do not mind the noise.", ["mind the noise"], ()),
        ("Winters are cold.", [], ()),
    ],
)
def test_what_a_sentence_cites(sentence, cited, unfounded):
    """Quotes with all of its numbers and a word in common, or one that says most of it; known numbers need none."""
    facts = FACTS.search(["costs", "noise"])
    found = cite_sentence(sentence, [], facts, FACTS, frozenset({"2024"}))
    assert found.unfounded == unfounded and len(found.quotes) == len(cited)
    assert all(any(part in quote.text for quote in found.quotes) for part in cited)


def test_a_mark_of_the_model_that_fits_nothing():
    """Is left out; one that shares two words stays."""
    price, subsidy = FACTS.search(["heat pump costs", "subsidies"])[:2]
    assert cite_sentence("Winters are cold.", [price], [price], FACTS, frozenset()).quotes == ()
    found = cite_sentence("Subsidies lower the price.", [subsidy], [price, subsidy], FACTS, frozenset())
    assert [quote.text for quote in found.quotes] == ["Subsidies pay 35 percent of the price."]


def test_a_number_of_something_else():
    """Is named with the quote that says most of what the sentence says, with another number."""
    facts = FACTS.search(["costs", "noise"])
    found = cite_sentence("A heat pump costs 35 percent of that price on average.", [], facts, FACTS, frozenset())
    ((number, quote),) = found.misplaced
    assert (number, quote.text) == ("35 percent", "A heat pump costs 21,400 euros on average.")
    assert cite_sentence("Of the price, 35 percent are paid.", [], facts, FACTS, frozenset()).misplaced == ()
