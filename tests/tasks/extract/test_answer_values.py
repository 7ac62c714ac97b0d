"""Answers read as JSON, with the probability of each value."""

from __future__ import annotations

import math

import pytest

from llmcli.tasks.extract.answer_values import TokenProbabilities, UnusableAnswer, parse_answer


def test_each_single_value_has_its_range_in_the_answer():
    """Names have none; quotation marks are outside."""
    value, text, spans = parse_answer('```json\n{"a": "x\\"y", "b": [1, null, {"c": true}], "d": {}, "e": []}\n```')
    assert value == {"a": 'x"y', "b": [1, None, {"c": True}], "d": {}, "e": []}
    assert [text[start:end] for start, end in spans] == ['x\\"y', "1", "null", "true"]


@pytest.mark.parametrize(
    "answer", ["", "yes", '{"a": 1', '{"a": 1, "a": 2}', "[NaN]", "[" * 100_000, "1 2", "x" * 300_000]
)
def test_an_answer_that_is_no_json_is_unusable(answer):
    """Names that occur twice and numbers that JSON lacks are refused."""
    with pytest.raises(UnusableAnswer):
        parse_answer(answer)


def test_the_probability_of_a_value_is_that_of_its_tokens():
    """Those that it shares with what surrounds it count; a letter may be several bytes."""
    _, text, spans = parse_answer('{"a": "caf\u00e9 x", "b": 12}')
    tokens = [b' {"a": "', b"caf", b"\xc3", b"\xa9 x", b'", "b": ', b"1", b"2}"]
    found = TokenProbabilities([(token, -0.5 * number) for number, token in enumerate(tokens)]).of_spans(text, spans)
    assert found == pytest.approx([math.exp(-0.5 - 1 - 1.5), math.exp(-2.5 - 3)])


def test_without_tokens_there_is_no_probability():
    """Also if the tokens are not those of the answer."""
    _, text, spans = parse_answer('{"a": 1}')
    assert TokenProbabilities().of_spans(text, spans) == [None]
    assert TokenProbabilities([(b"other", -1.0)]).of_spans(text, spans) == [None]
