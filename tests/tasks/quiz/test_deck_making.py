"""quiz make: which cards a document gives."""

from __future__ import annotations

import pytest
from scripted import ScriptedBackend, last_message, score_words
from tasks.helpers import error, result

from llmcli.cli.console.error_messages import describe
from llmcli.documents.reading.document import Document
from llmcli.errors.network_errors import NotOnServers
from llmcli.tasks.quiz.card import CardKind, Level, read_deck
from llmcli.tasks.quiz.deck_making import DeckOptions, make_deck
from llmcli.tasks.runner.task_requests import GenerationOptions

TEXT = """# Notes

Gregor Mendel sowed peas in 1856 in the garden of a monastery in Brno.
Compost improves the structure of heavy clay soil in every garden.
Earthworms draw dead leaves into the clay soil and leave channels for water.
Mulch keeps the clay soil moist, and it suppresses weeds in the garden.
James Hutton read the age of the earth in layers of rock near Siccar Point in 1788.
Nicolaus Copernicus drew the orbits of planets around the sun in 1543 in Frombork.
Johannes Kepler found the orbits of planets in the records of Tycho Brahe in Prague.
Galileo Galilei saw the moons of Jupiter in 1610 through a telescope in Padua.

## How to sow

1. Loosen the soil with a fork.
2. Then rake the bed until it is fine.
3. Sow the seeds and cover them.
"""
ANSWERS = (
    "1856",
    "soil",
    "garden",
    "Brno",
    "orbits",
    "planets",
    "1543",
    "1610",
    "Prague",
    "Mendel",
    "Jupiter",
    "Padua",
)


def bits(request):
    """Score words of the text as surprising in their place, and any other word in a gap as worse."""
    if not request.candidates:
        return last_message(request)
    told, scores = " ".join(TEXT.split()), []
    for candidate in request.candidates:
        stands = " ".join(f"{request.prompt}{candidate}".split())[-60:] in told
        scores.append(
            score_words(
                candidate, lambda token, stands=stands: (9.0 if token in ANSWERS else 1.0) + 20.0 * (not stands)
            )
        )
    return tuple(scores)


def make(
    tmp_path, text=TEXT, answer=bits, *, count=10, kinds=(CardKind.CLOZE,), level=None, required=False, **scripting
):
    backend = ScriptedBackend(answer, **{"token_scores": True, **scripting})
    options = DeckOptions(count, kinds, level, is_required=required)
    documents = [Document("notes.md", text)]
    return list(make_deck(backend, documents, GenerationOptions(), options)), backend


def cards(tmp_path, **how):
    return read_deck("deck", result(make(tmp_path, **how)[0]).text)


def test_every_answer_stands_in_its_quote_at_its_place(tmp_path):
    """The quote has the characters of the document, and its lines."""
    found = cards(tmp_path)
    assert len(found) >= 4
    for card in found:
        quote = card.quote
        assert card.answer in quote["text"]
        assert TEXT[quote["start"] : quote["end"]] == quote["text"]
        assert TEXT[: quote["start"]].count("\n") + 1 == quote["first_line"]
        assert card.question.count("____") == 1 and card.topic == "Notes"


def test_cloze_cards_need_no_generation(tmp_path):
    """The only other requests read which words are likely next."""
    _, backend = make(tmp_path)
    assert {request.max_tokens for request in backend.requests if not request.candidates} <= {1}


def test_a_sentence_in_which_other_words_fit_gives_no_card(tmp_path):
    """It is counted: here, each year and each name fits as well as any other."""

    def all_alike(request):
        return tuple(score_words(each, lambda _: 9.0) for each in request.candidates) or last_message(request)

    text = "".join(f"{line}\n\n" for line in TEXT.splitlines() if " in 1" in line)
    failed = error(make(tmp_path, text, answer=all_alike)[0])
    assert failed.type_name == "QuestionsMissing" and failed.exit_code == 3
    assert (
        describe(failed)[0].startswith("no question could be made of ")
        and "(other answers fit: 4)" in describe(failed)[0]
    )


def test_a_word_that_the_text_before_it_gives_away_is_not_asked_for(tmp_path):
    """Its surprisal is low."""

    def foreseen(request):
        return tuple(score_words(each, lambda _: 0.1) for each in request.candidates) or last_message(request)

    failed = error(make(tmp_path, answer=foreseen)[0])
    assert failed.type_name == "QuestionsMissing" and failed.exit_code == 3
    assert "(the text before it gives the word away: 8)" in describe(failed)[0]


def test_a_choice_card_has_wrong_words_of_the_document(tmp_path):
    """They look like the answer, and their order is the same each time."""
    found = cards(tmp_path, kinds=(CardKind.CHOICE,))
    assert found
    for card in found:
        assert len(card.choices) == len(set(card.choices)) == 4 and card.answer in card.choices
        assert all(choice in TEXT for choice in card.choices)
        assert not (set(card.choices) - {card.answer}) & set(card.question.split())
    assert found == cards(tmp_path, kinds=(CardKind.CHOICE,))


def test_an_order_card_has_the_steps_of_a_list(tmp_path):
    """No model is asked, and the answer has the numbers of the items as they are shown."""
    (card,) = cards(tmp_path, kinds=(CardKind.ORDER,))
    assert card.items == (
        "Loosen the soil with a fork",
        "Then rake the bed until it is fine",
        "Sow the seeds and cover them",
    )
    assert tuple(card.choices[int(number) - 1] for number in card.answer.split()) == card.items != card.choices


def test_a_list_that_tells_no_steps_gives_no_card(tmp_path):
    """Its order means nothing."""
    text = "# Colours\n\n1. Red is warm.\n2. Blue is cold.\n3. Green is neither.\n"
    assert "no list tells steps" in describe(error(make(tmp_path, text, kinds=(CardKind.ORDER,))[0]))[0]


GARDEN = """# Gardens

The compost heap turns the old leaves into dark soil within a year.
The rain barrel keeps water for dry weeks in summer.
The hedge protects young plants from the wind of spring, which dries them.
Gregor Mendel sowed peas in the garden of a monastery in Brno.
A compost heap keeps water, too.
"""


def test_a_short_question_asks_about_the_subject_of_a_sentence(tmp_path):
    """By rule, up to a second clause; the answer stands in the quote, and nothing is generated."""

    def fitting(request):
        """Be surprised by subjects, and by predicates that stand behind another subject."""
        told, scores = " ".join(GARDEN.split()), []
        for candidate in request.candidates:
            if candidate.endswith("?"):
                scores.append(score_words(candidate, lambda _, what=candidate[:4] == "What": 9.0 if what else 1.0))
                continue
            stands = candidate in told
            scores.append(
                score_words(
                    candidate,
                    lambda token, stands=stands: 9.0 if token in "compost rain hedge Gregor" or not stands else 1.0,
                )
            )
        return tuple(scores)

    events, backend = make(tmp_path, GARDEN, fitting, kinds=(CardKind.SHORT,))
    found = {card.question: card for card in read_deck("deck", result(events).text)}
    assert {question: card.answer for question, card in found.items()} == {
        "What turns the old leaves into dark soil within a year?": "compost heap",
        "What keeps water for dry weeks in summer?": "rain barrel",
        "What protects young plants from the wind of spring?": "hedge",
        "Who sowed peas in the garden of a monastery in Brno?": "Gregor Mendel",
    }
    assert all(card.answer in card.quote["text"] and card.kind is CardKind.SHORT for card in found.values())
    assert all(request.candidates for request in backend.requests)


def test_a_short_question_that_points_at_no_answer_is_dropped(tmp_path):
    """Where the predicate fits other subjects as well; and one that the document tells twice."""

    def all_alike(request):
        return tuple(score_words(each, lambda _: 9.0) for each in request.candidates)

    failed = error(make(tmp_path, GARDEN, all_alike, kinds=(CardKind.SHORT,))[0])
    assert failed.type_name == "QuestionsMissing" and failed.exit_code == 3
    assert "(other answers fit: 4)" in describe(failed)[0]


def surprised_by_names(request):
    """Be surprised by words with a capital, by years, and more by any other word in a gap."""
    return tuple(
        score_words(
            each,
            lambda token, each=each: (
                9.0 if each.startswith((" Brno", " 1856", " Mendel")) and token[:1].isalnum() else 30.0
            ),
        )
        for each in request.candidates
    ) or last_message(request)


def test_a_sentence_without_a_short_question_is_counted_or_asked_about_in_another_way(tmp_path):
    """With gaps wanted, too, it gives one of these; none is tried for a question that the rule cannot make."""
    failed = error(make(tmp_path, "Long ago, Gregor Mendel sowed peas in 1856 in Brno.\n", kinds=(CardKind.SHORT,))[0])
    assert describe(failed)[0].endswith(" of 1 sentence (no question about its subject: 1)")
    first = "Long ago, Gregor Mendel sowed peas in 1856 in Brno.\n"
    (card,) = cards(tmp_path, text=first, kinds=(CardKind.SHORT, CardKind.CLOZE), answer=surprised_by_names)
    assert card.kind is CardKind.CLOZE


def test_no_two_cards_are_alike(tmp_path):
    """A sentence that the document repeats gives one card."""
    repeated = "\n\n".join(["Gregor Mendel sowed peas in 1856 in the garden of a monastery in Brno."] * 5)
    fields = result(make(tmp_path, repeated)[0]).fields
    assert len(fields["cards"]) == 1 and fields["dropped"] == {"like another card": 4}


def test_fewer_cards_than_were_asked_for_are_an_incomplete_result(tmp_path):
    """Only if a number was asked for."""
    assert result(make(tmp_path, count=50)[0]).incomplete is None
    short = result(make(tmp_path, count=50, required=True)[0])
    assert short.cut and " of 50 questions could be made of " in describe(short.incomplete)[0]


def test_a_level_is_that_of_all_cards(tmp_path):
    """Nine bits are a medium surprise."""
    assert {card.level for card in cards(tmp_path, level=Level.MEDIUM)} == {Level.MEDIUM}
    assert error(make(tmp_path, level=Level.HARD)[0]).type_name == "QuestionsMissing"


def test_a_backend_that_reports_no_tokens_is_refused(tmp_path):
    """The scores of whole texts are not enough."""
    with pytest.raises(NotOnServers):
        make(tmp_path, token_scores=False)
