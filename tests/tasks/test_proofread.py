"""proofread: the words with most surprisal, in documents of any length."""

from __future__ import annotations

import pytest
from scripted import ScriptedBackend, score_words
from tasks.helpers import error, of, result

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.passages import Section, number_passages
from llmcli.errors import TimedOut, Unsupported
from llmcli.tasks.proofread import SuspiciousWord, proofread
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import ItemFailed, Result

TEXT = "It is fien.\nThe rooof is wett.\n"
BITS = {"fien": 30.0, "rooof": 40.0, "wett": 25.0}


def surprise(request):
    """Answer with the bits of each word."""
    return tuple(score_words(candidate, lambda token: BITS.get(token, 3.0)) for candidate in request.candidates)


DEFAULT = SuspiciousWord()


def run(*texts, wanted=DEFAULT, answer=surprise, **scripting):
    backend = ScriptedBackend(answer, **{"token_scores": True, **scripting})
    documents = [text if isinstance(text, Document | ItemFailed) else Document("a.txt", text) for text in texts]
    return list(proofread(backend, documents, GenerationOptions(), wanted)), backend


def words_of(events):
    return [each["word"] for each in result(events).fields["words"]]


def test_words_come_in_the_order_of_the_text_with_their_places():
    """Lines and columns count characters from 1."""
    events, _ = run(TEXT)
    first, second, _ = result(events).fields["words"]
    place = {"line": 1, "column": 7, "start": 6, "end": 10, "page": None}
    assert first == {"word": "fien", "score": 30.0, "suggestion": None, **place}
    assert (second["word"], second["line"], second["column"]) == ("rooof", 2, 5)
    assert words_of(events) == ["fien", "rooof", "wett"]
    assert result(events).fields["scored"] == 7


def test_top_keeps_the_most_suspicious_and_the_threshold_the_least():
    """Both together hold."""
    assert words_of(run(TEXT, wanted=SuspiciousWord(0.0, 2))[0]) == ["fien", "rooof"]
    assert words_of(run(TEXT, wanted=SuspiciousWord(30.0))[0]) == ["fien", "rooof"]
    assert words_of(run(TEXT, wanted=SuspiciousWord(35.0, 2))[0]) == ["rooof"]
    assert words_of(run("same same same", wanted=SuspiciousWord(0.0, 1))[0]) == ["same"]
    assert result(run("same same same", wanted=SuspiciousWord(0.0, 1))[0]).fields["words"][0]["column"] == 1


def test_the_score_of_a_word_that_looks_misspelled_is_higher():
    """It decides about the threshold and the rank; the suggestion is there for each of them."""
    text = "You will recieve the letter on Monday, and your neihgbor soon after.\n"
    bits = {"recieve": 12.5, "neihgbor": 9.0, "letter": 18.0}

    def answer(request):
        return tuple(score_words(candidate, lambda token: bits.get(token, 3.0)) for candidate in request.candidates)

    (word,) = result(run(text, answer=answer)[0]).fields["words"]
    assert (word["word"], word["score"], word["suggestion"]) == ("recieve", 22.5, "receive")
    assert words_of(run(text, answer=answer, wanted=SuspiciousWord(0.0, 2))[0]) == ["recieve", "neihgbor"]
    assert words_of(run(text, answer=answer, wanted=SuspiciousWord(18.5))[0]) == ["recieve", "neihgbor"]


@pytest.mark.parametrize("length", [3, 30])
def test_a_document_of_any_length_is_read_with_context(length):
    """Words at its head, in its middle and at its tail are found, and every window but the first has a context."""
    context = 400
    filler = "It is so. " * (length * context // 20)
    text = f"fien {filler}rooof {filler}wett"
    events, backend = run(text, context=context)
    assert words_of(events) == ["fien", "rooof", "wett"]
    assert "".join(request.candidates[0] for request in backend.requests) == text
    assert all(len(request.prompt + request.candidates[0]) < context for request in backend.requests)
    assert all(request.prompt.strip() for request in backend.requests[1:])


def test_few_windows_are_requested_at_once():
    """So a long document is not kept twice: the next request is made when one has ended."""
    backend = ScriptedBackend(surprise, token_scores=True, context=100)
    events = proofread(backend, [Document("a.txt", "It is so. " * 2000)], GenerationOptions(), SuspiciousWord())
    next(events)
    assert len(backend.requests) <= 70
    list(events)
    assert len(backend.requests) > 200


def test_code_blocks_are_not_read_for_errors():
    """Their words are context only."""
    assert words_of(run("It is fien.\n\n```\nrooof()\n```\n\nThe wett.")[0]) == ["fien", "wett"]


def test_pages_of_a_document_are_named():
    """Where the format has pages."""
    source = number_passages("a.pdf", [Section("It is.", page=1), Section("So fien.", page=2)], "pdf")
    events, _ = run(Document("a.pdf", source.text, source=source))
    assert result(events).fields["words"][0]["page"] == 2


def test_a_blank_document_has_no_words():
    """That is no failure."""
    events, backend = run(" \n")
    assert (words_of(events), result(events).blank, backend.requests) == ([], True, [])


def test_documents_fail_alone():
    """An unreadable one, or one whose request fails."""
    events, _ = run(TEXT, ItemFailed(0, "b", TimedOut()), TEXT)
    assert [each.item for each in of(Result, events)] == [0, 2] and of(ItemFailed, events)[0].item == 1
    assert isinstance(error(run(TEXT, answer=lambda _: TimedOut())[0]), TimedOut)


def test_a_server_without_token_scores_is_refused():
    """Its answers have no log-probabilities of a given text."""
    with pytest.raises(Unsupported):
        run(TEXT, token_scores=False)
