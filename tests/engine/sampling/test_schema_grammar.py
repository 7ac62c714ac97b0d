"""Which grammar constrains the answer to a request."""

from __future__ import annotations

import pytest
from engine.tools import req

from llmcli.engine.sampling.schema_grammar import grammar_for_request, schema_to_grammar
from llmcli.errors import InputError


def test_schema_choice_and_grammar_each_give_a_grammar():
    """A request without any of them has no grammar."""
    schema = {"type": "integer"}
    assert grammar_for_request(req("s", schema=schema)) == schema_to_grammar(schema)
    assert grammar_for_request(req("l", labels=("yes", "no"))) == 'root ::= ("no" | "yes")'
    assert grammar_for_request(req("g", grammar='root ::= "x"')) == 'root ::= "x"'
    assert grammar_for_request(req("free")) is None


@pytest.mark.parametrize("pattern", ["a{1001}", "(ab){2,5000}"])
def test_patterns_that_repeat_too_often_are_refused(pattern):
    """llama.cpp would expand them, however deep in the schema they are."""
    with pytest.raises(InputError, match="repeats more than 1000 times"):
        schema_to_grammar({"type": "array", "items": {"anyOf": [{"type": "string", "pattern": pattern}]}})


def test_a_schema_nested_too_deep_is_refused():
    """It is refused before any recursion."""
    schema = {"type": "integer"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InputError, match="nested more than 100 deep"):
        schema_to_grammar(schema)
