"""The sentences that give a question about their subject, and the question."""

from __future__ import annotations

import pytest

from llmcli.documents.reading.document import Document
from llmcli.tasks.quiz.source_sentences import SourceText
from llmcli.tasks.quiz.subject_questions import find_question


def ask(sentence):
    """Return the question about a sentence, and its answer."""
    (found,) = SourceText(Document("notes.md", sentence + "\n")).sentences
    question = find_question(found)
    return question.ask("What"), question.subject.answer


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "The worker keeps a loaded model in memory for five minutes.",
            "What keeps a loaded model in memory for five minutes?",
            "worker",
        ),
        (
            "Gregor Mendel sowed peas in the garden of a monastery in Brno.",
            "What sowed peas in the garden of a monastery in Brno?",
            "Gregor Mendel",
        ),
        (
            "A damaged file is removed from the cache directory (70), and the command goes on.",
            "What is removed from the cache directory?",
            "damaged file",
        ),
        (
            "The test runs two hundred requests against a server; others use mocks.",
            "What runs two hundred requests against a server?",
            "test",
        ),
    ],
)
def test_the_predicate_is_asked_about_as_it_stands(sentence, question, answer):
    """Up to a second clause, without what stands in parentheses; the answer has no article."""
    assert ask(sentence) == (question, answer)


@pytest.mark.parametrize(
    "sentence",
    [
        "If the server fails, the client sends its request to another one.",  # begins with a clause
        "Most tests use small models with random weights and few layers.",  # a plural
        "The server logs show the requests of all clients of a day.",  # "logs" is no verb here
        "The request sent to the server fails after thirty seconds of waiting.",  # nor is "sent"
        "The library is a collection of readers, writers and other tools.",  # many things are
        "The writer does not know what readers of later years expect.",
        "The parser keeps them for the next call of the same function.",  # who are they?
        "The rest is removed when the command ends without an error.",
        "The cache is full if it is so and not.",  # few telling words
        "The charset detector heavily depends on enough content in a file.",
        "Der Arbeiter behält ein geladenes Modell f\u00fcnf Minuten im Speicher.",
    ],
)
def test_a_sentence_whose_question_would_be_unclear_gives_none(sentence):
    """Better few than bad."""
    found = SourceText(Document("notes.md", sentence + "\n")).sentences
    assert [find_question(each) for each in found] == [None] * len(found)
