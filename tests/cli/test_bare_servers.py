"""Every verb works on a server that has nothing but chat, or says in one line what it needs; and on one that has all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fake_server import FakeServer, last_message, stream_answer

from llmcli.cli.command_registry import model_commands

NOTES = """\
The bicycle workshop will be closed on Monday, 4 May. The roof has to be repaired after the storm.

The workshop opens again on Tuesday at ten. The new roof costs 4,200 euros.
"""
TABLE = "id,text\n1,The invoice is wrong\n2,I love this bicycle\n"
GERMAN = "Die Werkstatt ist am Montag geschlossen."
FIRST = "The bicycle workshop will be closed on Monday, 4 May."
SAYS = {
    "Copy the": FIRST,
    "CREATE TABLE": "SELECT COUNT(*) FROM rows",
    "Translate into": GERMAN,
    "List its main points": f"- {FIRST}\n- The roof has to be repaired after the storm.",
    "In short:": "it is about money",
    "Answer Yes or No": "Yes",
    "yes or no": "yes",
    "shell command": "ls -l",
}
"""What the model answers, by a part of the question; else one of the labels that the question names, or a sentence."""
LABELS = ("positive", "bug", "billing")
HIDDEN_STATES, TOKEN_SCORES = "hidden states", "the log-probabilities of a text"

VERBS = {
    "ask": ["ask", "Why?"],
    "ask -f": ["ask", "-f", "notes.txt", "When is the workshop closed?"],
    "ask -f of a long document": ["ask", "-f", "long.txt", "When is the workshop closed?"],
    "ask --cite": ["ask", "--cite", "-f", "notes.txt", "When is the workshop closed?"],
    "ask --schema": ["ask", "--schema", "name, age int", "Who wrote it?"],
    "ask --sql": ["ask", "--sql", "-f", "rows.csv", "How many rows are there?"],
    "ask of records": ["ask", "What is it about?", "--column", "text", "-f", "rows.csv"],
    "ask -f an index": ["ask", "-f", "indexed", "When is the workshop closed?"],
    "chat": ["chat"],
    "generate": ["generate", "poem", "--var", "topic=rain"],
    "generate of records": ["generate", "poem", "--var", "topic=rain", "-f", "rows.csv"],
    "command": ["command", "list files"],
    "translate": ["translate", "--to", "de", "line.txt"],
    "translate --qe": ["translate", "--qe", "--to", "de", "line.txt"],
    "translate --review": ["translate", "--review", "--to", "de", "line.txt"],
    "translate of records": ["translate", "--to", "de", "--column", "text", "lines.csv"],
    "summarize": ["summarize", "notes.txt"],
    "summarize bullets": ["summarize", "--style", "bullets", "notes.txt"],
    "summarize headline": ["summarize", "--style", "headline", "notes.txt"],
    "summarize abstract": ["summarize", "--style", "abstract", "notes.txt"],
    "summarize outline": ["summarize", "--style", "outline", "notes.txt"],
    "summarize minutes": ["summarize", "--style", "minutes", "notes.txt"],
    "summarize key-sentences": ["summarize", "--style", "key-sentences", "notes.txt"],
    "summarize --cite": ["summarize", "--cite", "notes.txt"],
    "summarize --update": ["summarize", "--update", "answer.txt", "notes.txt"],
    "summarize --combine": ["summarize", "--combine", "notes.txt", "line.txt"],
    "summarize --words": ["summarize", "--words", "5", "notes.txt"],
    "summarize of records": ["summarize", "--column", "text", "rows.csv"],
    "key sentences of records": ["summarize", "--style", "key-sentences", "--column", "text", "rows.csv"],
    "sentiment": ["sentiment", "line.txt"],
    "sentiment --aspects": ["sentiment", "--aspects", "line.txt"],
    "sentiment --calibrate": ["sentiment", "--calibrate", "rated.csv"],
    "sentiment --scale": ["sentiment", "--scale", "3", "line.txt"],
    "classify": ["classify", "--labels", "billing,bug", "line.txt"],
    "classify --examples": ["classify", "--labels", "billing,bug", "--examples", "examples.csv", "line.txt"],
    "classify --calibrate": ["classify", "--labels", "billing,bug", "--calibrate", "examples.csv"],
    "classify --multi": ["classify", "--multi", "--labels", "billing,bug", "line.txt"],
    "filter --files": ["filter", "it is about money", "--files", "notes.txt", "--threshold", "0"],
    "filter": ["filter", "it is about money", "line.txt", "--threshold", "0"],
    "extract": ["extract", "--schema", "day, price number", "notes.txt"],
    "extract --free": ["extract", "--free", "--schema", "day", "notes.txt"],
    "extract --many": ["extract", "--many", "--schema", "day", "notes.txt"],
    "check": ["check", "answer.txt", "--against", "notes.txt", "--threshold", "0"],
    "proofread": ["proofread", "notes.txt"],
    "embed": ["embed", "line.txt"],
    "similar": ["similar", "a workshop", "line.txt"],
    "tokens": ["tokens", "notes.txt"],
    "logs repeat": ["logs", "repeat", "1"],
}
NEEDS = {
    "summarize key-sentences": HIDDEN_STATES,
    "key sentences of records": HIDDEN_STATES,
    "translate --qe": TOKEN_SCORES,
    "proofread": TOKEN_SCORES,
    "embed": HIDDEN_STATES,
    "similar": HIDDEN_STATES,
}
"""What the verbs need that no server gives."""
ASKS_A_PERSON = {"label"}
HEAD_LINES = 1
"""A table has its head before the first answer comes."""


class ScriptedServer(FakeServer):
    """A server with a model that does what it is told, if the server can.

    ``has_all``: it scores candidates, counts tokens, obeys JSON schemas and reports log-probabilities; else it has none.
    """

    def __init__(self, *, has_all: bool) -> None:
        super().__init__()
        self.has_all = has_all
        if has_all:
            self.models[0]["owned_by"] = "llmcli"
            self.paths |= {"/v1/count": self._count, "/v1/score": self._score}
        else:
            self.fields_refused = {"response_format", "logprobs", "top_logprobs", "grammar"}
        self.usual = self._answer

    def _count(self, handler, body) -> None:
        handler.give(200, {"tokens": sum(len(each["content"].split()) for each in body["messages"])})

    def _score(self, handler, body) -> None:
        said = answer_text(body)
        scores = [
            {"candidate": each, "logprob": -0.1 if each.strip() == said else -3.0, "tokens": 1}
            for each in body["candidates"]
        ]
        handler.give(200, {"scores": scores, "usage": {"prompt_tokens": 7, "completion_tokens": 0}})

    def _answer(self, handler, body) -> None:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema") or told_schema(body)
        said = answer_text(body) if schema is None else json.dumps(fill(schema))
        stream_answer(said)(handler, body)


def told_schema(body):
    """Return the schema that the instructions state; None without one."""
    for each in body["messages"]:
        found = re.search(r"matches this JSON schema.*:\n(\{.*\})", each["content"])
        if found:
            return json.loads(found[1])
    return None


def fill(schema):
    """Return a value of a schema: the first of the choices, no more than there must be."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return fill(schema[name][0])
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: fill(each) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [fill(schema["items"])] if "items" in schema else []
    return {"string": "Monday", "number": 4, "integer": 4, "boolean": True, "null": None}[kind]


def answer_text(body):
    """Return what the model says."""
    said = last_message(body)
    known = next((answer for part, answer in SAYS.items() if part in said), None)
    if known is None and any(GERMAN in each["content"] for each in body["messages"]):
        known = GERMAN
    whole = " ".join(each["content"] for each in body["messages"])
    return known or next((label for label in LABELS if label in whole), FIRST)


@pytest.fixture(params=["none", "all"])
def scripted_server(request, server):
    """Return a server with none of the abilities, or with all; ``server`` sets how errors are retried."""
    server.close()
    made = ScriptedServer(has_all=request.param == "all")
    yield made
    made.close()


@pytest.fixture
def world(tmp_path, monkeypatch, llm):
    """Write the inputs into the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMCLI_LOGS", "on")
    (tmp_path / "indexed").mkdir()
    for name, text in {
        "notes.txt": NOTES,
        "long.txt": "\n\n".join(f"{NOTES}\nThis is part {number}." for number in range(120)),
        "indexed/a.txt": NOTES,
        "line.txt": "The workshop is closed on Monday.\n",
        "lines.csv": "id,text\n1,The workshop is closed on Monday.\n",
        "answer.txt": FIRST,
        "rows.csv": TABLE,
        "rated.csv": "text,label\n" + "good,positive\nbad,negative\n" * 8,
        "examples.csv": "text,label\n" + "The invoice is wrong,billing\nIt crashes,bug\n" * 8,
    }.items():
        Path(name).write_text(text)
    assert llm("index", "add", "indexed").code == 0


def test_the_table_has_every_verb():
    """All commands that run a model, but those that ask a person."""
    assert {command.name for command in model_commands()} - ASKS_A_PERSON <= {argv[0] for argv in VERBS.values()}


@pytest.mark.usefixtures("world")
def test_every_verb_works_or_says_what_it_needs(llm, scripted_server):
    """Never a traceback, 70, or nothing at all with 0."""
    wrong = []
    where = ["--base-url", scripted_server.url, "-m", "big"]
    for name, argv in VERBS.items():
        run = llm(*argv, *where, stdin=b"Hello\n" if name == "chat" else b"")
        problem = find_problem(name, run)
        if problem:
            wrong.append(f"{name}: {problem}\n  exit code {run.code}\n  {run.out[:300]!r}\n  {run.err[:400]!r}")
    assert not wrong, "\n".join(wrong)


def find_problem(name, run):
    """Return what is wrong about a run, or ""."""
    if "Traceback" in run.err:
        return "a traceback"
    needs = NEEDS.get(name)
    if needs is None:
        return "" if run.code == 0 and run.out.strip() else "it does not work"
    lines = run.err.splitlines()
    if run.code != 69 or needs not in run.err or run.out.count("\n") > HEAD_LINES:
        return "it does not say what it needs"
    return "" if len(lines) <= 2 and all(lines) else "it says more than one line and the next step"
