import pytest

from llmcli.documents.protected import MESSAGE, PLAIN, code_spans, find


def found(text, kinds=PLAIN):
    return [text[span.start : span.end] for span in find(text, kinds)]


@pytest.mark.parametrize(
    "text",
    ["%s", "%1$s", "%(name)s", "%.2f", "{name}", "{0}", "{}", "{{x}}", "{% if x %}", "${x}", "$1", "%{x}", "$t(key.a)",
     "`code`", "https://a.example/b?c=d&e#f", "www.example.org", "ann.b@c.example.org", '<a href="x">', "</b>", "<br/>",
     "{0,number,integer}", "``a ` b``", "mailto:a@b.org"],
)  # fmt: skip
def test_protected_texts_are_found_whole(text):
    """Each of these is one span, alone and between words."""
    assert found(text) == [text]
    assert found(f"Words {text} words.") == [text]


@pytest.mark.parametrize(
    "text", ["50% de plus", "costs $5.00", "a < b > c", "one ` tick", "{not closed", "e.g. and/or"]
)
def test_words_are_not_protected(text):
    """Percentages, prices, comparisons and lone marks are words."""
    assert found(text) == []


def test_a_url_ends_before_the_sentence_does():
    """Marks of the sentence and brackets that the address does not open are no part of it."""
    assert found("(see https://a.b/c_(d), or http://e.f/g.)") == ["https://a.b/c_(d)", "http://e.f/g"]


def test_numbers_come_with_their_units():
    """Numbers are a kind of their own, with the unit behind them."""
    text = "3.5 kg cost $5.00, 1,234 km/h is 50% of it at 20 °C in h264"
    assert found(text, {"number"}) == ["3.5 kg", "$5.00", "1,234 km/h", "50%", "20 °C"]


def test_kinds_say_what_is_looked_for():
    """Only the kinds that are asked for are found, and each span says its kind."""
    text = "`a` :name %s &nbsp; a@b.org"
    assert found(text, {"colon"}) == [":name"]
    assert [span.kind for span in find(text, {"code", "entity", "email", "printf"})] == [
        "code", "placeholder", "entity", "email",
    ]  # fmt: skip
    assert found(text, ()) == []
    assert "code" not in MESSAGE


def test_code_needs_a_run_of_the_same_length():
    """A run of backticks is closed by one as long; other runs between them are code."""
    assert code_spans("``a`b`` `c") == [(0, 7)]
