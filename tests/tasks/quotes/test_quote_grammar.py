"""The grammar of quotations admits parts of its text only, tried byte by byte."""

from __future__ import annotations

import json

import pytest

from llmcli.tasks.quotes.quote_grammar import quote_grammar, quote_terminal, split_chunks

PASSAGE = 'The quick brown fox jumps over the "lazy" dog\\cat / bird.\nIt costs 3.5 million  dollars, étude.\n\nStop here. Next one.'


def allows(grammar: str, text: str) -> bool:
    """Whether a text is a whole answer."""
    from llguidance import LLMatcher, LLTokenizer

    matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_lark(grammar), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return all(map(matcher.consume_token, text.encode())) and matcher.is_accepting()


def test_a_quotation_has_words_of_the_passage_in_their_order():
    """At least five of them, from white space to white space, in one paragraph; or a whole short sentence; or NONE."""
    grammar = quote_grammar(PASSAGE)
    right = [
        "NONE",
        "quick brown fox jumps over",
        'the "lazy" dog\\cat / bird. It costs 3.5 million dollars, étude.',
        "Stop here.",
        "Next one.",
    ]
    wrong = [
        "",
        " ",
        "quick brown fox jumps",
        " quick brown fox jumps over",
        "quick brown fox jumps over ",
        "uick brown fox jumps over",
        "quick brown fox leaps over",
        "5 million dollars, étude. It costs",
        "dollars, étude. Stop here. Next one.",
        "none",
        "The quick brown fox jumps over the",
    ]
    assert [text for text in right if not allows(grammar, text)] == []
    assert [text for text in wrong[:-1] if allows(grammar, text)] == []
    assert allows(grammar, wrong[-1])
    assert not allows(quote_grammar(PASSAGE, max_characters=30), wrong[-1])
    assert not allows(quote_grammar(PASSAGE, allows_none=False), "NONE")


def test_a_number_is_not_cut():
    """A quotation that began inside of 3.5 would say something else."""
    grammar = quote_grammar(PASSAGE, min_words=1)
    assert allows(grammar, "3.5 million") and not allows(grammar, "5 million") and not allows(grammar, "3.5 mill")


def test_scripts_without_spaces_are_quoted_by_character():
    """Ten characters stand for five words."""
    grammar = quote_grammar("私は昨日東京で新しい本を買いました。それは面白いです。")
    assert allows(grammar, "昨日東京で新しい本を")
    assert not allows(grammar, "昨日東京") and not allows(grammar, "昨日大阪で新しい本を")


@pytest.mark.parametrize("passage", ["", " ", "\n", "x", 'a"b', "\\", "/", "NONE", "\f", "two words", "a\n\nb"])
def test_any_passage_makes_a_grammar(passage):
    """NONE can always be said, and a passage of few words is quoted as a whole."""
    assert allows(quote_grammar(passage), "NONE")
    assert allows(quote_grammar(passage, allows_none=False), passage.strip() or "NONE") or "\n" in passage


def test_a_quotation_inside_json_is_escaped():
    """The terminal stands between the quotes of a string, and the value is what the passage says."""
    grammar = 'start: "\\"" SPAN "\\""\n' + quote_terminal("SPAN", PASSAGE, json_escaped=True)
    for text in ('the "lazy" dog\\cat / bird. It', "étude.", "fox"):
        assert allows(grammar, json.dumps(text, ensure_ascii=False))
    for text in ('the "lazy" cat', "", " ", "étude.\n\nStop", "étude. Stop"):
        assert not allows(grammar, json.dumps(text, ensure_ascii=False))


def test_chunks_are_words_blanks_and_paragraph_ends():
    """A single line end is a blank."""
    assert list(split_chunks(" a\nb  c\r\n\r\nd\fe ")) == ["a", " ", "b", " ", "c", "\n", "d", "\n", "e"]
