"""The grammar of the values of a passage, by llguidance itself."""

from __future__ import annotations

import json

import llguidance
import pytest

from llmcli.tasks.extract.value_grammar import values_grammar
from llmcli.tasks.extract.value_locator import ValueLocator
from llmcli.tasks.extract.value_schema import read_value_schema
from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.tasks.schema_argument import parse_shorthand, shorthand_schema

TEXT = 'Invoice No.:12345 from "Acme Corp." dated 3 March 2024.\nTotal: $1,234.50 (due 04/15/2024).\n\nTags: red, a\\b, caf\u00e9'
SHORT = "name, amount (number), n int, due (date), ok bool, tags list"
VALUES = {
    "name": "Acme",
    "amount": 1234.5,
    "n": 3,
    "due": "2024-04-15",
    "ok": True,
    "tags": ["red", "a\\b", "caf\u00e9"],
}
TOKENIZER = llguidance.LLTokenizer("byte")


def accepts(schema, text, value, *, many=False):
    """Whether the grammar of a schema and a text admits a value, a byte a token."""
    grammar = values_grammar(read_value_schema(schema), ValueLocator(QuotableDocument("a", text).whole()), many=many)
    matcher = llguidance.LLMatcher(TOKENIZER, llguidance.LLMatcher.grammar_from_lark(grammar))
    assert not matcher.is_error(), matcher.get_error()
    tokens = list((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode())
    return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("change", "admitted"),
    [
        ({}, True),
        ({"name": None, "amount": None, "n": None, "due": None, "ok": None, "tags": []}, True),
        ({"name": 'from "Acme Corp." dated'}, True),
        ({"name": "12345"}, True),
        ({"name": "dated 3 March 2024. Total: $1,234.50"}, True),
        ({"name": "Acm"}, False),
        ({"name": "234.50"}, False),
        ({"name": " Acme"}, False),
        ({"name": ""}, False),
        ({"name": ", a"}, False),
        ({"name": "Corp"}, True),
        ({"name": "04/15/2024). Tags"}, False),
        ({"name": "Evil Corp."}, False),
        ({"amount": 1234.50}, True),
        ({"amount": 99}, False),
        ({"n": 2024}, True),
        ({"n": 1234}, False),
        ({"due": "2024-03-03"}, True),
        ({"due": "2024-03-05"}, False),
        ({"tags": ["red, a\\b"]}, True),
        ({"tags": ["blue"]}, False),
    ],
)
def test_values_are_those_of_the_passage(change, admitted):
    """Whole words without the marks around them, its numbers and dates; each may be null."""
    schema = shorthand_schema(parse_shorthand(SHORT), nullable=True)
    assert bool(accepts(schema, TEXT, {**VALUES, **change})) is admitted


def test_lengths_bounds_patterns_and_choices_hold():
    """A pattern is found anywhere in a value unless it is anchored."""
    schema = {
        "type": "object",
        "properties": {
            "code": {"type": "string", "pattern": r"^[A-Z]{2}-\d+/x$"},
            "part": {"type": "string", "pattern": r"\d", "maxLength": 6},
            "count": {"type": "integer", "minimum": 5, "multipleOf": 2},
            "kind": {"enum": ["red", 3]},
        },
    }
    text = "AB-12/x CD-x and 4 or 7 or 8, item 9 of many, 3"
    good = {"code": "AB-12/x", "part": "item 9", "count": 8, "kind": "red"}
    assert accepts(schema, text, good) and accepts(schema, text, {**good, "kind": 3})
    for change in (
        {"code": "CD-x"},
        {"part": "and"},
        {"part": "item 9 of"},
        {"count": 7},
        {"count": 4},
        {"kind": "blue"},
    ):
        assert not accepts(schema, text, {**good, **change}), change


def test_a_list_of_objects_is_bounded():
    """It may be empty; white space is fixed."""
    schema = shorthand_schema(parse_shorthand("name"), nullable=True)
    objects = [{"name": "red"}] * 40
    text = "red and blue " * 30
    assert accepts(schema, text, [], many=True) and accepts(schema, text, objects[:30], many=True)
    assert not accepts(schema, text, objects * 2, many=True)
    assert not accepts(schema, text, '[{"name":  "red"}]', many=True)


def test_a_passage_without_words_has_only_null():
    """And a list without items."""
    schema = shorthand_schema(parse_shorthand("name, n int, tags list"), nullable=True)
    assert accepts(schema, " \n ", {"name": None, "n": None, "tags": []})


def test_text_of_scripts_without_spaces_can_be_taken_in_part():
    """A character is a word there."""
    schema = shorthand_schema(parse_shorthand("name"), nullable=True)
    assert accepts(schema, "\u5f20\u4e09\u5728\u5317\u4eac\u5de5\u4f5c", {"name": "\u5f20\u4e09"})
