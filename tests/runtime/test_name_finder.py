"""Names of people, as a model on this machine finds them."""

from __future__ import annotations

import pytest
from scripted import ScriptedBackend, last_message

from llmcli.errors import TemporaryFailure
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.redaction.redactor import Redactor, UsedPlaceholders
from llmcli.runtime.redaction_policy import LocalNameFinder, parse_names, split_pieces


@pytest.fixture
def find(tmp_path):
    """Return a function that makes a finder on a scripted model, and the model."""

    def make(answer):
        backend = ScriptedBackend(answer)
        return LocalNameFinder(backend, PromptLibrary(tmp_path)), backend

    return make


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ('{"names": ["Jane Doe", "Tom", "Jane Doe"]}', ["Jane Doe", "Tom"]),
        ('{"names": ["Jane Doe", "To', ["Jane Doe"]),
        ('{"names": ["Nobody", "paris", 7, ""]}', []),
        ("[]", []),
        ("", []),
    ],
)
def test_names_are_those_that_the_text_holds(answer, names):
    """Also of an answer that a limit cut; words in lower case are none."""
    assert parse_names(answer, "Jane Doe met Tom in paris.") == names


def test_long_texts_are_cut_at_sentences():
    """Each piece is short; nothing with a capital letter is left out."""
    text = "".join(f"Sentence {n} is about Jane and Tom. " for n in range(200)) + "x" * 2000 + "Z"
    pieces = list(split_pieces(text))
    assert max(map(len, pieces)) <= 600 and "".join(pieces).replace(" ", "").count("Jane") == 200
    assert list(split_pieces("nothing in here\n")) == [] and list(split_pieces("\u5f20\u4f1f")) == ["\u5f20\u4f1f"]


def test_a_piece_is_asked_about_once(find):
    """Instructions that come with each request cost one call."""
    finder, backend = find(lambda _: '{"names": ["Jane"]}')
    assert finder(["Hi Jane", "Hi Jane"]) == ["Jane"] == finder(["Hi Jane"])
    assert len(backend.requests) == 1 and last_message(backend.requests[0]) == "Text: Hi Jane"
    assert finder([]) == []


def test_a_name_is_replaced_in_all_texts(find):
    """Once it is known."""
    finder, _ = find(lambda request: '{"names": ["Jane"]}' if "Hi" in last_message(request) else '{"names": []}')
    redactor, used = Redactor(find_names=finder), UsedPlaceholders()
    redactor.learn(["Ask Jane.", "Hi Jane"])
    assert redactor.redact("Ask Jane, not Janet.", used) == "Ask PII_NAME_1, not Janet."


@pytest.mark.parametrize(
    "written",
    [
        "Jane Doe",
        "JANE DOE",
        "jane doe",
        "Jane\nDoe",
        "Jane\u00a0Doe",
        "Ja\u00adne Doe",
        "Jane \u200bDoe",
        "\uff2aane Doe",
    ],
)
def test_a_name_is_replaced_however_it_is_written(find, written):
    """The model writes it in its usual form; the text has it in capitals, on two lines, with invisible characters."""
    finder, _ = find(lambda _: '{"names": ["Jane Doe"]}')
    redactor, used = Redactor(find_names=finder), UsedPlaceholders()
    text = f"Hello, {written}, and Janet."
    redactor.learn([text])
    assert redactor.redact(text, used) == "Hello, PII_NAME_1, and Janet."
    assert used.by_number[1].value == written


def test_a_failure_of_the_model_ends_the_search(find):
    """Nothing is sent on then."""
    finder, _ = find(lambda _: TemporaryFailure("the model"))
    with pytest.raises(TemporaryFailure):
        finder(["Hi Jane"])
