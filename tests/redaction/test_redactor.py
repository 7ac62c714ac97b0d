"""Texts with placeholders, and answers with the values put back."""

from __future__ import annotations

import json
import random

import planted_values
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcli.redaction import placeholders
from llmcli.redaction.redactor import Redactor, UsedPlaceholders
from llmcli.redaction.request_redaction import Restorer, StopFilter


def send(text, redactor=None):
    """Return a text as it is sent, and its placeholders."""
    redactor, used = redactor or Redactor(), UsedPlaceholders()
    redactor.learn([text])
    return redactor.redact(text, used), used


def restore(pieces, used, **how):
    restorer = Restorer(used, **how)
    return "".join([*map(restorer.feed, pieces), restorer.finish()]), restorer


def test_the_same_value_has_the_same_placeholder():
    """In one text and in later ones; another value has another one."""
    redactor = Redactor()
    first, _ = send("a@example.org b@example.org a@example.org", redactor)
    assert first == "PII_EMAIL_1 PII_EMAIL_2 PII_EMAIL_1"
    assert send("to b@example.org", redactor)[0] == "to PII_EMAIL_2"


def test_a_known_value_is_replaced_wherever_it_stands():
    """A password is found by what stands before it, and replaced also where that is missing."""
    redactor = Redactor()
    assert send("Try hunter2: password=hunter2.", redactor)[0] == "Try PII_KEY_1: password=PII_KEY_1."
    assert send('He said "hunter2" and hunter22', redactor)[0] == 'He said "PII_KEY_1" and hunter22'


def test_the_digits_of_a_known_value_are_replaced_without_their_separators():
    """A task may repeat a number of its text in another form; other numbers and short ones stay."""
    redactor = Redactor()
    send("DE89 3704 0044 0532 0130 00 or +49 30 90210417", redactor)
    sent, used = send("missing: 370400440532013000; 90210417; 37040044; 53201; 370400440532013001", redactor)
    assert sent == "missing: PII_IBAN_3; PII_PHONE_4; PII_IBAN_5; 53201; 370400440532013001"
    assert restore([sent], used)[0].endswith(": 370400440532013000; 90210417; 37040044; 53201; 370400440532013001")


def test_text_that_looks_like_a_placeholder_comes_back_as_it_was():
    """It is replaced by one itself."""
    text = "PII_EMAIL_1 is not jane@example.org, nor is pii-card-7 or PII\\_KEY\\_3, PII&#95;IP&#95;4, **PII**_KEY_5, \uff30\uff29\uff29_KEY_6"
    sent, used = send(text)
    assert "PII_EMAIL_1 is" not in sent and "card" not in sent
    assert restore([sent], used)[0] == text


@pytest.mark.parametrize(
    "document",
    [
        {"card": 4111111111111111, "cards": [5555555555554444, 4111111111111111], "n": 5},
        {
            "text": 'a "b" jane@example.org\n',
            "key": "sk-ant-" + "a1" * 20,
            "deep": [{"iban": "DE89370400440532013000"}],
        },
    ],
)
def test_json_stays_json(document):
    """With the same types: a number is replaced by another number."""
    text = json.dumps(document)
    sent, used = send(text)
    assert used and "4111111111111111" not in sent and "jane" not in sent
    parsed = json.loads(sent)
    assert {key: type(value) for key, value in parsed.items()} == {key: type(value) for key, value in document.items()}
    assert restore([sent], used)[0] == text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("PII_EMAIL_1", True),
        ("pii_email_1", True),
        ("PII\\_EMAIL\\_1", True),
        ("PII-EMAIL-1", True),
        ("PII_CORREO_1", True),  # the kind was translated
        ("PII EMAIL 1", True),
        ("PII\\_**EMAIL**_1", True),
        ("PII_E-MAIL_1", True),
        ("PII_EMAIL_ADDRESS_1", True),
        ("PII&#95;EMAIL&#95;1", True),
        ("PII&#x5f;EMAIL&lowbar;1", True),
        ("PII%5FEMAIL%5F1", True),
        ("PII\\u005fEMAIL\\u005f1", True),
        ("\uff30\uff29\uff29\uff3f\uff25\uff2d\uff21\uff29\uff2c\uff3f\uff11", True),
        ("PII_EM\u200bAIL_\u0661", True),
        ("PII\u2014EMAIL\u20141", True),
        ("PII__EMAIL__1", True),
        ("PII<em>EMAIL</em>1", True),
        ("PIIEMAIL1", True),
        ("PII_1", True),  # a number is used once
        ("PII&#95;EMAIL&#95;2", False),
        ("PII%5FEMAIL%5F9", False),
        ("PII_E-MAIL_9", False),
        ("PII_9", False),
        ("PII_EMAIL-address", False),
        ("\uff30\uff29\uff29\uff3f\uff25\uff2d\uff21\uff29\uff2c", False),
        ("PII_EMAIL_2", False),
        ("PII_PHONE_1", False),
        ("PII_EMAIL", False),
    ],
)
def test_a_placeholder_is_known_when_it_is_nearly_right(written, meant):
    """What names no value of this request is damaged; it stays as it is."""
    sent, used = send("jane@example.org +49 30 1234567")
    assert sent == "PII_EMAIL_1 PII_PHONE_2"
    text, restorer = restore([f"<{written}>"], used)
    assert restore(list(f"<{written}>"), used)[0] == text
    assert text == ("<jane@example.org>" if meant else f"<{written}>")
    assert restorer.damaged == ([] if meant else [written])


@pytest.mark.parametrize(
    ("written", "restored"),
    [
        ("**PII**\\_EMAIL_1", "jane@example.org"),
        ("**PII_EMAIL_1**", "**jane@example.org**"),
        ("PII_**EMAIL_1**", "jane@example.org"),
        ("`PII_EMAIL_1`", "`jane@example.org`"),
        ("<b>PII</b>_EMAIL_1", "jane@example.org"),
    ],
)
def test_markup_inside_of_a_placeholder_goes_with_it(written, restored):
    """Markup around it stays; one half of a pair is not left alone. Pieces of any size give the same text."""
    _, used = send("jane@example.org")
    for pieces in ([f"to {written}, now"], list(f"to {written}, now"), [f"to {written}"]):
        text, restorer = restore(pieces, used)
        assert text.removesuffix(", now") == f"to {restored}" and not restorer.damaged


@pytest.mark.parametrize(
    "written",
    [
        "PII _EMAIL_1",
        "PII_ EMAIL_ 1",
        "PII _ EMAIL _ 1",
        "PII  EMAIL  1",
        "PII - EMAIL - 1",
        "pii _email_ 1",
        "P\u200bII_EMAIL_1",
        "P\u200bI\u200bI\u200b_\u200bE\u200bM\u200bA\u200bI\u200bL\u200b_\u200b1",
        "PII\u2060_\ufeffEMAIL_1",
        "PII\u200b EMAIL\u200b 1",
        "PII_\u00a0EMAIL_1",
        "PII\u2009_\u2009EMAIL\u2009_\u20091",
        "PII\\_\nEMAIL\\_1",
        "PII_\r\n  EMAIL_1",
        "PII_EMAIL\n_1",
        "PII_EMAIL\t_1",
    ],
)
def test_blanks_and_invisible_characters_in_a_placeholder_are_read_over(written):
    """Wherever the answer is split."""
    _, used = send("jane@example.org +49 30 1234567")
    said = f"Write to {written}, now."
    for pieces in ([said], list(said), *([said[:at], said[at:]] for at in range(len(said)))):
        text, restorer = restore(pieces, used)
        assert text == "Write to jane@example.org, now." and not restorer.damaged


@pytest.mark.parametrize(
    "written",
    [
        "P II_EMAIL_1",
        "PII_EM AIL_1",
        "P I I _ E M A I L _ 1",
        "[PII]_EMAIL_1",
        "PII[EMAIL]1",
        "PII_EMAIL_[1]",
        "PII(EMAIL)1",
        "PII_EMA\nIL_1",
        "PII.EMAIL.1",
        "PII/EMAIL/1",
        "PII, EMAIL, 1",
        "PII%20EMAIL%201",
        "PII\u203fEMAIL\u203f1",
        "PII_&ZeroWidthSpace;EMAIL_1",
        "PII_EMAIL_&nbsp;1",
        "\u0420II_EMAIL_1",
        "Pll_EMAIL_1",
        "PII_EMAIL _2",
        "PII _EMAIL_9",
        "PII EMAIL 9",
    ],
)
def test_a_disfigured_placeholder_that_is_not_restored_is_reported(written):
    """Once, with the characters that the model wrote, wherever the answer is split; and in JSON."""
    _, used = send("jane@example.org +49 30 1234567")
    said = f"Write to {written}, now."
    text, whole = restore([said], used)
    _, split = restore(list(said), used)
    assert text == said and len(whole.damaged) == 1 and split.damaged == whole.damaged
    restorer = Restorer(used)
    assert restorer.restore_json({"text": [said]}) == {"text": [said]} and restorer.damaged == whole.damaged


def test_a_list_after_a_word_is_no_placeholder():
    """Lines join the parts of a placeholder only with an underscore."""
    _, used = send("jane@example.org")
    for said in ("PII email\n- 1 person", "PII email\n\n1. first", "PII _and_ 1 more", "the PII (email) of 1"):
        text, restorer = restore([said], used)
        assert text == said and not restorer.damaged


def test_other_words_are_no_placeholders():
    """PII is an abbreviation as well."""
    _, used = send("jane@example.org")
    said = "PII data, PII email addresses, a PII, PII 1, piiano, piiano 1, PII-1, PII email 12 times"
    text, restorer = restore(list(said), used)
    assert text == said and not restorer.damaged


def test_values_of_other_requests_are_not_put_into_an_answer():
    """A number that another document has is damaged here."""
    redactor = Redactor()
    send("jane@example.org", redactor)
    _, used = send("tom@example.org", redactor)
    text, restorer = restore(["PII_EMAIL_1, PII_EMAIL_2"], used)
    assert text == "PII_EMAIL_1, tom@example.org" and restorer.damaged == ["PII_EMAIL_1"]


def test_a_cut_answer_may_end_in_a_placeholder():
    """It is incomplete and not damaged."""
    _, used = send("jane@example.org")
    restorer = Restorer(used)
    assert restorer.feed("to PII_EMAIL") + restorer.finish(cut=True) == "to PII_EMAIL" and not restorer.damaged


def test_values_in_json_answers_are_escaped_where_they_must_be():
    """A value that was escaped already stays as it was."""
    sent, used = send('"password": "a\\"b1" secret: `x"y\tz1`')
    text, _ = restore([json.dumps({"all": sent})], used, in_json=True)
    assert json.loads(text) == {"all": '"password": "a"b1" secret: `x"y\tz1`'}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.data())
def test_any_split_of_an_answer_restores_the_same_text(seed, data):
    """Placeholders may be split anywhere, and stand beside anything."""
    rng = random.Random(seed)
    text = "".join(planted_values.plant(rng, rng.choice(list(planted_values.MAKERS))).text for _ in range(3))
    sent, used = send(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=30)))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    restored, restorer = restore(pieces, used)
    assert restored == text and not restorer.damaged
    assert restore(list(sent), used)[0] == text


@settings(max_examples=200, deadline=None)
@given(
    st.text("ab\n@", max_size=40), st.lists(st.text("ab\n@", min_size=1, max_size=3), min_size=1, max_size=3), st.data()
)
def test_an_answer_ends_at_the_first_stop_string(text, stop, data):
    """However it is split, and nothing of a stop string is shown."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    stops = StopFilter(stop)
    shown = "".join([*map(stops.feed, pieces), stops.finish()])
    ends = [text.index(each) for each in stop if each in text]
    if not ends:
        assert shown == text and not stops.stopped
    else:
        assert stops.stopped and text.startswith(shown) and not any(each in shown for each in stop)


def test_old_values_are_forgotten(monkeypatch):
    """The table stays small; a number is never used again."""
    monkeypatch.setattr(placeholders, "MAX_KNOWN_VALUES", 3)
    redactor = Redactor()
    for number in range(10):
        send(f"mail{number}@example.org", redactor)
    assert send("mail9@example.org mail0@example.org", redactor)[0] == "PII_EMAIL_10 PII_EMAIL_11"
