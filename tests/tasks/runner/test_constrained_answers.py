"""Answers in a form, on backends that have every constraint, some of them, or none."""

from __future__ import annotations

import pytest
from scripted import ScriptedBackend
from tasks.helpers import run_work

from llmcli.errors import Unsupported
from llmcli.errors.model_errors import BadGrammar
from llmcli.fast_dataclass import replace
from llmcli.tasks.runner.constrained_answers import ask_constrained
from llmcli.types import Message, Request, Role

REQUEST = Request("a", (Message(Role.USER, "hello"),))
SCHEMA = {"type": "string"}


def by_grammar(request):
    return replace(request, grammar="start: /a/")


def by_schema(request):
    return replace(request, schema=SCHEMA)


def ask(answer, constraints=(by_grammar, by_schema)):
    """Return the text of the answer, how many constraints the backend has not, and its requests."""
    backend = ScriptedBackend(answer)
    answer, num_missing = run_work(backend, lambda run: ask_constrained(run.ask, REQUEST, constraints))
    return answer.text, num_missing, backend.requests


@pytest.mark.parametrize(("names", "num_missing"), [((), 0), (("grammar",), 1), (("grammar", "schema"), 2)])
def test_the_strongest_constraint_of_the_backend_is_used(names, num_missing):
    """What the backend refuses is left out, from the strongest constraint on; without any, the request is as it is."""

    def answer(request):
        refused = next((name for name in names if getattr(request, name)), None)
        return "yes" if refused is None else Unsupported(refused)

    text, missing, requests = ask(answer)
    assert (text, missing) == ("yes", num_missing)
    assert [request.id for request in requests] == ["a", "a.free", "a.free.free"][: num_missing + 1]
    constraints = [(bool(request.grammar), bool(request.schema)) for request in requests]
    assert constraints == [(True, False), (False, True), (False, False)][: num_missing + 1]


def test_a_grammar_that_is_too_large_is_left_out():
    """A grammar that the engine refuses is a reason for the next constraint."""
    text, missing, _ = ask(lambda request: BadGrammar("a grammar") if request.grammar else "yes")
    assert (text, missing) == ("yes", 1)


def test_a_schema_that_no_answer_fits_is_an_error():
    """A refused schema is the user's mistake, and no reason to ask without one."""
    with pytest.raises(BadGrammar):
        ask(lambda request: BadGrammar("a schema") if request.schema else "yes", [by_schema])
