import random
import re

import pytest

from llmcli.documents import protected_spans
from llmcli.documents.protected_spans import MESSAGE_KINDS, PLAIN_TEXT_KINDS, code_spans, find_spans


def found(text, kinds=PLAIN_TEXT_KINDS):
    return [text[span.start : span.end] for span in find_spans(text, kinds)]


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
    """Percentages, prices, comparisons and lone punctuation are words."""
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    ["words", "", "%s", "{name}", "{{x}}", "{% if x %}", "${x}", "$t(key)", "%{x}", "www.example.org", "see mailto:a@b.org",
     "tel:1", "a.b@c.example.org", "<b>", "3.5 kg", "\u20ac5", "&nbsp;", "&File", ":name", ":smile:", "@user", "++ctrl+c++",
     "{: .class}", "{f(x)}", ":name[", "words ^id", "%1", "%n", "\x1b[1m", "a\rb", "\ufeff", "\ud800", "`code`", "`%s`"],
)  # fmt: skip
def test_short_and_long_texts_have_the_same_spans(text):
    """A short text is searched for necessary characters first, for each kind, and no span is lost."""
    before = "\n" + "x" * 5000 + "\n"
    for kinds in [*([kind] for kind in protected_spans._SYNTAXES), protected_spans._SYNTAXES.keys() | {"code"}]:
        long, short = find_spans(before + text, kinds), find_spans("\n" + text, kinds)
        moved = [(span.start + len(before) - 1, span.end + len(before) - 1, span.kind) for span in short]
        assert [(span.start, span.end, span.kind) for span in long] == moved


def test_a_url_ends_before_the_sentence_does():
    """Punctuation of the sentence and unmatched brackets are not part of it."""
    assert found("(see https://a.b/c_(d), or http://e.f/g.)") == ["https://a.b/c_(d)", "http://e.f/g"]


def test_numbers_come_with_their_units():
    """Numbers are a separate kind, with the unit after them."""
    text = "3.5 kg cost $5.00, 1,234 km/h is 50% of it at 20 °C in h264"
    assert found(text, {"number"}) == ["3.5 kg", "$5.00", "1,234 km/h", "50%", "20 °C"]


def test_only_requested_kinds_are_found():
    """Only the requested kinds are found, and each span has its kind."""
    text = "`a` :name %s &nbsp; a@b.org"
    assert found(text, {"colon"}) == [":name"]
    assert [span.kind for span in find_spans(text, {"code", "entity", "email", "printf"})] == [
        "code", "placeholder", "entity", "email",
    ]  # fmt: skip
    assert found(text, ()) == []
    assert "code" not in MESSAGE_KINDS


def test_code_needs_a_run_of_the_same_length():
    """A run of backticks is closed by one of equal length; other runs between them are code."""
    assert code_spans("``a`b`` `c") == [(0, 7)]


FRAGMENTS = [
    *"ab hw.s3:/@%$&{}<>[]()#!1,2\u20ac\u00a0\u2019\u6f22_-+=?'\"`\\|\n\x85\u00e9\u0663",
    *("http://", "www.", "mailto:", "s3://", "a@b.c", "{{x}}", "{0}", "%s", "%(n)d", "$t(k)", "${a}", "$A_B", "&nbsp;"),
    *("&#160;", ":smile:", ":id", "%L1", "%n", "{:.c}", "<b>", "<a href='x'>", "</i", "12 km", "1,234.5", "\u20ac 5"),
    *("`c`", "%{x}", "%<a>d", "{#c#}", "{%x%}", "tel:", "words" * 40, "+/" * 40),
]


@pytest.mark.parametrize("step", [0, 1, 3, protected_spans._STEP_CHARS])
def test_skipped_text_contains_no_span(monkeypatch, step):
    """Skipping text where no pattern can begin finds the same spans as the patterns alone, at any step size."""
    monkeypatch.setattr(protected_spans, "_STEP_CHARS", step)
    monkeypatch.setattr(protected_spans, "_compile_pattern", protected_spans._compile_pattern.__wrapped__)
    chance = random.Random(step)
    for _ in range(50):
        kinds = frozenset(chance.choices(list(protected_spans._SYNTAXES), k=chance.randrange(1, 8)))
        names = [name for name in protected_spans._SYNTAXES if name in kinds]
        alone = re.compile(
            "|".join(f"(?P<{name.replace('-', '_')}>{protected_spans._SYNTAXES[name][1]})" for name in names)
        )
        for _ in range(10):
            text = "".join(chance.choices(FRAGMENTS, k=chance.randrange(1, 40)))
            spans = [protected_spans._span_of_match(match, text) for match in alone.finditer(text)]
            assert find_spans(text, kinds) == [span for span in spans if span.end > span.start], (text, kinds)


def test_a_text_without_spans_is_scanned_in_steps():
    """No single step of the search scans megabytes, since a signal would have to wait for it."""
    pattern = protected_spans._compile_pattern(PLAIN_TEXT_KINDS)
    for text in ("\u6f22" * 100_000, "." * 100_000, "a1" * 50_000):
        assert max(len(match.group()) for match in pattern.finditer(text)) <= protected_spans._STEP_CHARS + 1
