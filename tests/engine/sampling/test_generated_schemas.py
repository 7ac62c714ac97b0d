"""Schemas of all kinds through the engine: every answer ends by itself and matches, whatever the model."""

from __future__ import annotations

import json

import jsonschema
import pytest
from engine.tools import answer, regex_grammar, req, wild
from schema_generator import schemas

from llmcli.engine.sampling.grammar_compiler import GrammarMatcher
from llmcli.errors.model_errors import BadGrammar
from llmcli.types import Finished, FinishReason, TextDelta


@pytest.mark.parametrize("count", [8, pytest.param(30, marks=pytest.mark.stress)])
@pytest.mark.parametrize(("name", "seed", "temperature"), [("chatml", 1, 1.0), ("llama", 2, 3.0), ("mamba", 3, 0.5)])
def test_answers_of_models_that_know_nothing_match(engines, name, seed, temperature, count):
    """The texts are random, within the bounds of their schema."""
    asked = schemas(count, seed)
    requests = [
        req(f"{number}", schema=schema, sampling=wild(number, temperature), max_tokens=3000)
        for number, schema in enumerate(asked)
    ]
    outcomes = answer(engines(name), *requests)
    for number, schema in enumerate(asked):
        outcome = outcomes[f"{number}"]
        assert outcome.error is None and outcome.reason is FinishReason.STOP, schema
        jsonschema.validate(json.loads(outcome.text), schema, jsonschema.Draft202012Validator)


def test_a_constrained_answer_can_be_cancelled(engines):
    """Before its end, at once; one beside it goes on."""
    schema = {"type": "array", "items": {"type": "string", "minLength": 5000}, "minItems": 100}
    engine = engines("chatml")
    with engine.open() as job:
        job.submit(req("long", schema=schema, sampling=wild(1, 3.0), max_tokens=4000))
        job.submit(req("short", schema={"enum": ["x"]}))
        job.close_input()
        ended = {}
        for event in job:
            if isinstance(event, TextDelta) and event.id == "long":
                job.cancel("long")
            elif isinstance(event, Finished):
                ended[event.id] = event.reason
    assert ended == {"long": FinishReason.CANCELLED, "short": FinishReason.STOP}


def test_a_grammar_that_takes_too_long_ends_its_own_request_only(engines):
    """With an error that names it; one beside it is answered."""
    grammar = regex_grammar("(a|b|c|d){500}" + "(.*a.*b.*c.*d){12}[^x]{3000}")
    hard = req("hard", grammar=grammar, sampling=wild(1, 3.0), max_tokens=700)
    outcomes = answer(engines("chatml"), hard, req("easy", labels=("yes",)))
    assert outcomes["easy"].error is None and outcomes["easy"].text == "yes"
    assert outcomes["hard"].error is None or outcomes["hard"].error.subject == "grammar"


def test_an_error_of_a_matcher_ends_its_request_only(engines, monkeypatch):
    """Also in the middle of its answer."""
    accept = GrammarMatcher.accept

    def failing(self, token):
        if self._subject == "grammar":
            raise BadGrammar("grammar", detail="it takes too long to follow")
        return accept(self, token)

    monkeypatch.setattr(GrammarMatcher, "accept", failing)
    outcomes = answer(engines("chatml"), req("bad", grammar='start: "a"'), req("good", labels=("yes",)))
    assert isinstance(outcomes["bad"].error, BadGrammar) and outcomes["bad"].reason is FinishReason.ERROR
    assert outcomes["good"].text == "yes"


def test_a_constrained_answer_may_hold_the_tags_of_reasoning(engines):
    """They are text there: nothing of the JSON is taken for reasoning."""
    schema = {"const": "<think>a</think> b"}
    outcome = answer(engines("chatml"), req("a", schema=schema, max_tokens=60))["a"]
    assert (outcome.text, outcome.reasoning) == (json.dumps(schema["const"]), "")


def test_an_answer_ends_with_its_last_token(engines):
    """No evaluation is spent on the token that ends a generation where nothing else may follow."""
    outcome = answer(engines("chatml"), req("a", labels=("x",), max_tokens=60))["a"]
    assert (outcome.text, outcome.reason) == ("x", FinishReason.STOP)
    assert outcome.finished.usage.completion_tokens == 1
