"""The figures of a sentence that a source must have: numbers in digits and in words, units, and dates."""

from __future__ import annotations

import pytest

from llmcli.documents.reading.document import Document
from llmcli.tasks.generate.figures import describe_figure, find_figures, known_figures, missing_figures
from llmcli.tasks.generate.source_facts import SourceFacts, cite_sentence


def invented(sentence, source):
    """Return the problems of the figures of a sentence with one source."""
    facts = SourceFacts([Document("source.md", source)])
    found = cite_sentence(sentence, [], facts.search([sentence]), facts, frozenset())
    return [describe_figure(figure, sentence) for figure in found.unfounded]


@pytest.mark.parametrize(
    ("sentence", "source", "problems"),
    [
        ("Thirty-two pallets wait.", "There are 12 pallets.", ["the number Thirty-two"]),
        ("Thirty-two pallets wait.", "There are 32 pallets.", []),
        ("There are 32 pallets.", "Thirty-two pallets wait.", []),
        ("Three pallets wait.", "There are 12 pallets.", ["the number Three"]),
        ("These three pallets wait.", "There are 12 pallets.", []),
        ("Three vans wait for one of two reasons.", "There are 12 pallets.", ["the number Three"]),
        ("It takes three days.", "It takes 12 days.", ["the number three days"]),
        ("It takes three days.", "It takes 3 days.", []),
        ("It takes two days.", "It takes 12 days.", ["the number two days"]),
        ("It takes two days.", "It takes 2 days.", []),
        ("It takes one day.", "It takes 12 days.", []),
        ("It costs 40 pounds.", "It costs £40.", []),
        ("It weighs 40 pounds.", "It weighs 40 lb.", []),
        ("It costs 40 pounds.", "It costs 40 euros.", ["the number 40 pounds"]),
        ("It costs 40 kroner.", "It costs NOK 40.", []),
        ("It costs 40 kroner.", "It costs 40 crowns.", []),
        ("It costs $40 million kroner.", "It costs 40 million kroner.", ["the number $40 million"]),
        ("It costs 40 kronor.", "It costs 40 Norwegian kroner.", ["the number 40 kronor"]),
        ("It costs 40 rupees.", "It costs 40 yuan.", ["the number 40 rupees"]),
        ("It stood for 40 decades.", "It stood for 40 years.", ["the number 40 decades"]),
        ("Two hundred and fifty pallets wait.", "There are 250 pallets.", []),
        (
            "Two hundred and fifty pallets wait.",
            "There are 200 pallets and 50 vans.",
            ["the number Two hundred and fifty"],
        ),
        ("It was built in nineteen ninety-five.", "It was built in 1995.", []),
        ("A hundred times we asked, in the twenty-first century.", "We asked.", []),
        ("We seize the day.", "The day is long.", []),
        ("Zweiunddreißig Paletten warten.", "Es gibt 12 Paletten.", ["the number Zweiunddreißig"]),
        ("Es gibt zweihundertfünfzig Paletten.", "Es gibt 250 Paletten.", []),
        ("Quatre-vingt-dix palettes attendent.", "Il y a 12 palettes.", ["the number Quatre-vingt-dix"]),
        ("Treinta y dos cajas esperan.", "Hay 12 cajas.", ["the number Treinta y dos"]),
        ("Hay doscientas cincuenta cajas.", "Hay 250 cajas.", []),
        ("Trentadue scatole aspettano.", "Ci sono 12 scatole.", ["the number Trentadue"]),
        ("It weighs 40 kg.", "It weighs 40 t.", ["the number 40 kg"]),
        ("It weighs 40 tonnes.", "It weighs 40 t.", []),
        ("It weighs 40 kg.", "The weights in kg are 40 and 50.", []),
        ("It weighs 40 kg.", "It weighs 40 to 50 kg.", []),
        ("It weighs 40 kg.", "It weighs 40 to 50 t.", ["the number 40 kg"]),
        ("It costs $40.", "It costs 40 euros.", ["the number $40"]),
        ("It costs €40, or EUR 40.", "It costs 40 euros.", []),
        ("It costs 40%.", "It costs 40 euros.", ["the number 40%"]),
        ("Il coûte 40 pour cent.", "Il coûte 40 %.", []),
        ("It costs 2 million dollars.", "It costs $2,000,000.", []),
        ("It costs $2M.", "It costs $2 million.", []),
        ("It costs 2 million dollars.", "It costs 2 to 3 million dollars.", []),
        ("It costs 2 billion dollars.", "It costs 2 million dollars.", ["the number 2 billion dollars"]),
        ("It was popular in the 1990s.", "It was popular in 1990.", []),
        ("A 12-month lease.", "The lease is of 12 months.", []),
        ("It opens on the third of February.", "It opens on 3 March 2026.", ["the date third of February"]),
        ("It opens on the third of March.", "It opens on 3 March 2026.", []),
        ("It opens on 03/04.", "It opens on 3 March 2026.", ["the date 03/04"]),
        ("It opens on 03/04.", "It opens on 3 April 2026.", []),
        ("It costs 99 euros.", "It costs 40 euros.", ["the number 99"]),
        ("In the city, there are two main roads.", "Two pallets wait.", ["the number two main roads"]),
    ],
)
def test_figures_that_stand_in_no_source(sentence, source, problems):
    """A number in words is its value, a unit must be the source's, and small words count only what a source counts."""
    assert invented(sentence, source) == problems


def test_what_a_source_says():
    """Its numbers stand for themselves with their unit, and for any unit without one."""
    known = known_figures("It weighs 40 t, as 3 March 2026 showed, and has 12 parts.")
    assert missing_figures({"40", "40 t", "12 kg", "--03-03"}, known) == frozenset()
    assert missing_figures({"40 kg", "12000", "--02-03"}, known) == {"40 kg", "12000", "--02-03"}
    assert find_figures("One of two reasons, and a dozen more.") == frozenset()


@pytest.mark.parametrize(
    ("sentence", "source", "problems"),
    [
        ("The file has two columns.", "The file has 3 columns and 2 rows.", ["the number two columns"]),
        ("The file has two columns.", "The columns are 2.", []),
        ("12 volunteers came.", "The volunteers packed 12 boxes.", ["the number 12 volunteers"]),
        ("12 boxes were packed.", "The volunteers packed 12 boxes.", []),
        ("12 large wooden boxes were packed.", "The volunteers packed 12 boxes.", []),
        ("12 volunteers came.", "Of the volunteers, 12 came.", []),
        ("12 volunteers came.", "The team has 12 members, all of them volunteers.", []),
        ("12 volunteers came.", "| volunteers | 12 |", []),
        ("12 volunteers came.", "| who came | 12 |", []),
        (
            "Three routes lead there.",
            "The  routes:  a  line  has  three\n       fields there.",
            ["the number Three routes"],
        ),
        ("12 volunteers came.", "| 12 boxes | open |", ["the number 12 volunteers"]),
        ("12 volunteers came.", "12 to 15 volunteers came.", []),
        ("30 volunteers came.", "12 volunteers packed 30 boxes.", ["the number 30 volunteers"]),
        ("It has two data points.", "The data of 2 rooms are here.", ["the number two data points"]),
        ("A combination of two plans is here.", "There are 2 rooms here.", ["the number two plans"]),
        ("The first task 1 is here.", "There is 1 room here.", ["the number task 1"]),
        ("12 of the boxes are packed.", "Volunteers packed 12 boxes.", []),
        ("Version 3 has it.", "It has 3 parts.", ["the number Version 3"]),
        ("Table 3 shows it.", "Table 3 shows the fees.", []),
        ("In 2026 volunteers opened it.", "It opened in 2026.", []),
        ("Zwölf Freiwillige kamen.", "Der Laden hat 12 Kisten.", ["the number Zwölf Freiwillige"]),
        ("Zwei Häuser stehen leer.", "Von den Häusern sind 2 leer.", []),
        ("Il y a douze colonnes.", "Il y a 12 boîtes dans la salle.", ["the number douze colonnes"]),
        ("Ci sono dodici scatole.", "La sala ha 12 finestre.", ["the number dodici scatole"]),
    ],
)
def test_a_number_belongs_to_what_it_counts(sentence, source, problems):
    """A number that a source has beside another noun stands in no source."""
    assert invented(sentence, source) == problems


@pytest.mark.parametrize(
    "sentence",
    [
        "One of the reasons is the price.",
        "There are two sides of the same coin.",
        "On the one hand, it is cheap.",
        "The first is open.",
        "The two approaches differ.",
        "The difference between two texts is small.",
        "These four approaches differ.",
        "There are three approaches: asking, counting and reading.",
        "Asking, counting and reading are the three approaches.",
        "See section 4, or step 3 of chapter 2.",
        "It works: 1) Polling the pump; 2) Handling the doors, 3) Closing.",
        "Es gibt zwei Gründe dafür.",
    ],
)
def test_phrases_and_enumerations_need_no_source(sentence):
    """Numbers of ordinary phrases, of the text's own sections, and of what it has named are no figures."""
    assert invented(sentence, "The warehouse has 12 pallets.") == []
    assert (
        find_figures("There are three approaches:", 3) == frozenset() != find_figures("There are three approaches:", 2)
    )
