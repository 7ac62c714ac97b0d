"""Decks as files: read, and in other forms."""

from __future__ import annotations

import json

import pytest

from llmcli.errors import BadDocument, EmptyInput
from llmcli.tasks.quiz.card import Card, CardKind, Level, deck_text, order_card, read_deck
from llmcli.tasks.quiz.deck_exchange import anki_text, markdown_text, read_table

QUOTE = {"text": "Peas were\nsown in 1856.", "start": 0, "end": 23, "source": "a.pdf", "page": 3, "last_page": 3}
QUOTE |= {"first_line": 1, "last_line": 2}
CARDS = [
    Card(CardKind.CLOZE, "Peas were sown in ____.", "1856", level=Level.HARD, topic="Peas", quote=QUOTE),
    Card(CardKind.CHOICE, "What is <b>?", "a\tb", ("a\tb", "c")),
    order_card("Put in order", ("dig", "sow"), ("sow", "dig")),
]


def test_a_deck_is_read_as_it_was_written():
    """Each card once; fields of the owner's are no problem."""
    text = deck_text(CARDS)
    assert read_deck("deck", text + text) == CARDS
    marked = json.dumps({**json.loads(text.splitlines()[0]), "starred": True})
    assert read_deck("deck", marked) == CARDS[:1]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"version": 2}, "version"),
        ({"kind": "riddle"}, "kind"),
        ({"level": "deadly"}, "level"),
        ({"question": "No gap."}, "gap"),
        ({"answer": 5}, "answer"),
        ({"choices": "a"}, "choices"),
        ({"kind": "choice", "choices": ["a", "b"]}, "choice card"),
        ({"kind": "order", "items": ["a", "b"]}, "order card"),
        ({"kind": "order", "items": ["a", "b"], "choices": ["b", "a"], "answer": "5 6"}, "answer of an order card"),
        ({"kind": "order", "items": ["a", "a"], "choices": ["a", "a"], "answer": "1 1"}, "all different"),
        ({"kind": "choice", "choices": ["1856", "1856"], "answer": "1856"}, "two different choices"),
        ({"quote": {"text": "a"}}, "quote"),
    ],
)
def test_what_is_no_card_is_refused_with_its_line(changes, problem):
    """The error names the field."""
    fields = {**CARDS[0].to_json(), **changes}
    with pytest.raises(BadDocument, match=problem) as raised:
        read_deck("deck", f"{CARDS[0].to_line()}\n{json.dumps(fields)}\n")
    assert raised.value.line == 3


def test_a_quote_of_the_owners_own_may_have_no_page():
    """As in a deck that was written by hand."""
    quote = {"text": "t", "source": "a.txt", "start": 0, "end": 1, "first_line": 3, "last_line": 3}
    line = json.dumps({"version": 1, "kind": "short", "question": "q?", "answer": "a", "quote": quote})
    (card,) = read_deck("deck", line)
    assert card.place == "a.txt, line 3"


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\r"])
def test_only_line_feeds_end_a_card(mark):
    """Texts of PDF documents have other marks that Python takes for line ends."""
    card = Card(CardKind.SHORT, f"What{mark}is it?", "a", quote={**QUOTE, "text": f"It is{mark}a."})
    assert read_deck("deck", deck_text([card, CARDS[0]])) == [card, CARDS[0]]
    assert read_deck("deck", deck_text([card]).replace("\n", "\r\n")) == [card]
    (row,) = read_table("a.csv", f'question,answer\n"What{mark}is it?",a\n')
    assert row.question == f"What{mark}is it?"


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_deck_without_cards_is_empty(text):
    """It is no deck to learn."""
    with pytest.raises(EmptyInput):
        read_deck("deck", text)


def test_the_id_is_that_of_question_and_answer():
    """What a learner knows stays when the deck is made again with other levels or places."""
    changed = Card(CardKind.CLOZE, CARDS[0].question, "1856", level=Level.EASY)
    assert changed.id == CARDS[0].id != Card(CardKind.CLOZE, CARDS[0].question, "1857").id


def test_anki_gets_front_back_and_tags():
    """Markup is escaped, and tabs inside a field are quoted."""
    lines = anki_text(CARDS).splitlines()
    assert lines[:2] == ["#separator:tab", "#html:true"]
    assert lines[4] == "Peas were sown in ____.\t<b>1856</b><br>Peas were sown in 1856.<br>a.pdf, p. 3\tcloze hard"
    assert "What is &lt;b&gt;?" in lines[5] and '"' in lines[5]


def test_markdown_has_questions_then_answers():
    """Both numbered, the answers with their sources."""
    text = markdown_text(CARDS)
    questions, answers = text.split("# Answers\n")
    assert "1. Peas were sown in \\_\\_\\_\\_." in questions and "1856" not in questions
    assert (
        "1. **1856**\n   > Peas were sown in 1856.\n   > a.pdf, p. 3\n" in answers and "3. **dig \\> sow**" in answers
    )


def test_a_question_of_several_lines_is_one_item():
    """In Markdown, its lines would end the list."""
    text = markdown_text([Card(CardKind.SHORT, "What\n\n# is it?", "a\nb")])
    assert "1. What \\# is it?\n" in text and "1. **a b**" in text


def test_a_question_that_begins_with_a_number_sign_is_no_comment_for_anki():
    """Anki skips lines that begin with #; the four of the head are its settings."""
    text = anki_text([Card(CardKind.SHORT, "#include what?", "a header")])
    assert text.splitlines()[4].startswith("&#35;include what?\t") and text.count("\n#") == 3


def test_a_table_becomes_a_deck():
    """The kind follows from the question and the choices."""
    table = "Question;Answer;Choices;Kind;Level\nhaus;house;;;easy\nPeas ____;1856;;;\nYear?;1856;1543|1610;;\nSteps;dig|sow;;order;\n"
    cards = read_table("a.csv", table)
    assert [card.kind for card in cards] == [CardKind.SHORT, CardKind.CLOZE, CardKind.CHOICE, CardKind.ORDER]
    assert (
        cards[0].level is Level.EASY
        and cards[2].choices == ("1543", "1610", "1856")
        and cards[3].items == ("dig", "sow")
    )


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("question,answer\nx,\n", "needs"),
        ("question,answer,kind\nx,y,z\n", "kind is z"),
        ("question,answer\nWhere?,in Paris, France\n", "3 fields for 2 columns: put a text that has a ',' in quotes"),
        ('question,answer\nx,"y\n', "not closed"),
        ("question,answer,kind\n,,\nz,z,\nx,y,order\n", "order card"),
    ],
)
def test_a_table_that_is_none_is_refused(table, problem):
    """With the line."""
    with pytest.raises(BadDocument, match=problem) as raised:
        read_table("a.csv", table)
    assert raised.value.line == table.count("\n")
    assert raised.value.kind == "deck"  # without it, the advice would be --format


@pytest.mark.parametrize(
    ("head", "problem"), [("a,b", "no column question"), ("question,answer,Answer", "two columns answer")]
)
def test_columns_that_do_not_tell_question_and_answer_are_refused(head, problem):
    """In the first line, whose advice names the columns."""
    with pytest.raises(BadDocument, match=problem) as raised:
        read_table("a.csv", f"{head}\nx,y,z\n")
    assert (raised.value.line, raised.value.kind) == (1, "deck table")


def test_columns_without_a_title_may_be_empty():
    """Spreadsheets write such rows."""
    assert len(read_table("a.csv", "question,answer\nx,y,,\n\n")) == 1
