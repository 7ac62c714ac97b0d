"""Every verb works on a server that has nothing but chat, or says in one line what it needs; and on one that has all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fake_server import FakeServer, complete_answer, last_message, stream_answer

from llmcli.cli.command_registry import model_commands

NOTES = """\
The bicycle workshop will be closed on Monday, 4 May. The roof has to be repaired after the storm.

The workshop opens again on Tuesday at ten. The new roof costs 4,200 euros.
"""
TABLE = "id,text\n1,The invoice is wrong\n2,I love this bicycle\n"
REQUEST = (
    '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", '
    '"body": {"messages": [{"role": "user", "content": "When is the workshop closed?"}]}}'
)
GERMAN = "Die Werkstatt ist am Montag geschlossen."
FIRST = "The bicycle workshop will be closed on Monday, 4 May."
SAYS = {
    "Copy the": FIRST,
    "CREATE TABLE": "SELECT COUNT(*) FROM rows",
    "Translate into": GERMAN,
    "List its main points": f"- {FIRST}\n- The roof has to be repaired after the storm.",
    "Write the outline": "## The roof\n- repairs\n\n## Opening hours\n- closed on Monday",
    "Write minutes": f"Topics\n- {FIRST}",
    "what this text has opinions about": "workshop | closed | negative",
    "In short:": "it is about money",
    "Answer Yes or No": "Yes",
    "yes or no": "yes",
}
"""What the model answers, by a part of the question; else one of the labels that the question names, or a sentence."""
LABELS = {"negative": "positive", "bug": "billing"}
"""The answers about a text of the inputs, and about one without content."""
HIDDEN_STATES, TOKEN_SCORES = "hidden states", "the log-probabilities of a text"
NO_SERVER_HAS = {HIDDEN_STATES, TOKEN_SCORES}

VERBS = {
    "ask": (["ask", "Why?"], FIRST),
    "ask -f": (["ask", "-f", "notes.txt", "When is the workshop closed?"], FIRST),
    "ask -f of a long document": (["ask", "-f", "long.txt", "When is the workshop closed?"], '[1] long.txt, line 1: "The'),
    "ask -f of an index": (["ask", "-f", "indexed", "When is the workshop closed?"], FIRST),
    "ask --cite": (["ask", "--cite", "-f", "notes.txt", "When is the workshop closed?"], '[1] notes.txt, line 1: "The'),
    "ask --schema": (["ask", "--schema", "name, age int", "Who wrote it?"], '{"name": "Monday", "age": 4}'),
    "ask --sql": (["ask", "--sql", "-f", "rows.csv", "How many rows are there?"], "2\n"),
    "ask of records": (["ask", "What is it about?", "--column", "text", "-f", "rows.csv"], f'bicycle,"{FIRST}"'),
    "chat": (["chat"], FIRST),
    "generate": (["generate", "poem", "--var", "topic=rain"], FIRST),
    "generate report": (["generate", "report", "--outline", "outline.md"], f"## Workshop\n\n{FIRST}"),
    "generate report --from": (
        ["generate", "report", "--outline", "outline.md", "--from", "notes.txt"], f'[1].\n\n## Sources\n\n[1] "{FIRST}"',
    ),
    "generate report --outline-only": (["generate", "report", "Workshops", "--outline-only"], "## The roof (1000 words)"),
    "generate report --revise": (["generate", "report", "-o", "report.md", "--revise", "Workshop", "New", "--json"], FIRST),
    "generate of records": (["generate", "poem", "--var", "topic=rain", "-f", "rows.csv"], f'bicycle,"{FIRST}"'),
    "command": (["command", "list files"], "Monday"),
    "translate": (["translate", "--to", "de", "line.txt"], GERMAN),
    "translate --qe": (["translate", "--qe", "surprisal", "--to", "de", "line.txt"], TOKEN_SCORES),
    "translate --review": (["translate", "--review", "--to", "de", "line.txt"], GERMAN),
    "translate of records": (["translate", "--to", "de", "--column", "text", "lines.csv"], f"Monday.,{GERMAN}"),
    "summarize": (["summarize", "notes.txt"], FIRST),
    "summarize bullets": (["summarize", "--style", "bullets", "notes.txt"], f"- {FIRST}"),
    "summarize headline": (["summarize", "--style", "headline", "notes.txt"], FIRST),
    "summarize abstract": (["summarize", "--style", "abstract", "notes.txt"], FIRST),
    "summarize outline": (["summarize", "--style", "outline", "notes.txt"], FIRST),
    "summarize minutes": (["summarize", "--style", "minutes", "notes.txt"], FIRST),
    "summarize key-sentences": (["summarize", "--style", "key-sentences", "notes.txt"], HIDDEN_STATES),
    "summarize --cite": (["summarize", "--cite", "notes.txt"], f"- {FIRST}\n  > {FIRST}"),
    "summarize --update": (["summarize", "--update", "answer.txt", "notes.txt"], FIRST),
    "summarize --combine": (["summarize", "--combine", "notes.txt", "line.txt"], FIRST),
    "summarize --words": (["summarize", "--words", "5", "notes.txt"], FIRST),
    "summarize of records": (["summarize", "--column", "text", "rows.csv"], f'bicycle,"{FIRST}"'),
    "key sentences of records": (["summarize", "--style", "key-sentences", "--column", "text", "rows.csv"], HIDDEN_STATES),
    "sentiment": (["sentiment", "line.txt"], "negative\t"),
    "sentiment --aspects": (["sentiment", "--aspects", "line.txt"], "workshop: closed (negative)"),
    "sentiment --scale": (["sentiment", "--scale", "3", "line.txt"], "negative\t"),
    "sentiment --calibrate": (["sentiment", "--calibrate", "rated.csv"], "16 of rated.csv"),
    "classify": (["classify", "--labels", "billing,bug", "line.txt"], "bug\t"),
    "classify --examples": (["classify", "--labels", "billing,bug", "--examples", "examples.csv", "line.txt"], "bug\t"),
    "classify --calibrate": (["classify", "--labels", "billing,bug", "--calibrate", "examples.csv"], "16 of examples.csv"),
    "classify --multi": (["classify", "--multi", "--labels", "billing,bug", "line.txt"], "bug\t"),
    "filter": (["filter", "it is about money", "line.txt", "--threshold", "0"], "The workshop"),
    "filter --files": (["filter", "it is about money", "--files", "notes.txt", "--threshold", "0"], "notes.txt"),
    "audit sentiment": (["audit", "sentiment", "--swap", "pronouns", "people.txt"], "negative\tthey\t1\t"),
    "audit ask": (["audit", "ask", "When?", "--swap", "pronouns", "-f", "people.txt"], "refused\tthey\t1\t0.0000"),
    "extract": (["extract", "--schema", "day, price (number)", "notes.txt"], '"day": "Monday",\n  "price": 4'),
    "extract --free": (["extract", "--free", "--schema", "day", "notes.txt"], '"day": "Monday"'),
    "extract --many": (["extract", "--many", "--schema", "day", "notes.txt"], '"day": "Monday"'),
    "check": (["check", "answer.txt", "--against", "notes.txt"], "answer.txt:1: supported"),
    "proofread": (["proofread", "notes.txt"], TOKEN_SCORES),
    "run-batch": (["run-batch", "-i", "requests.jsonl"], f'"content": "{FIRST}"'),
    "embed": (["embed", "line.txt"], HIDDEN_STATES),
    "similar": (["similar", "a workshop", "line.txt"], HIDDEN_STATES),
    "tokens": (["tokens", "notes.txt"], "50    1.2% notes.txt"),
    "logs repeat": (["logs", "repeat", "1"], FIRST),
}  # fmt: skip
"""Command lines, with a part of what each prints, or with what it needs and no server has."""
ASKS_A_PERSON = {"label"}
HEAD_LINES = 1
"""A table has its head before the first answer comes."""


class ScriptedServer(FakeServer):
    """A server with a model that does what it is told, if the server can.

    ``abilities``: "none" of JSON schemas, log-probabilities and scores; the first two as "vllm" has them; or "all", as
    ``llm serve`` has them.
    """

    def __init__(self, abilities: str) -> None:
        super().__init__()
        self.abilities = abilities
        if abilities == "none":
            self.fields_refused = {"response_format", "logprobs", "top_logprobs"}
        elif abilities == "all":
            self.models[0]["owned_by"] = "llmcli"
            self.paths |= {"/v1/count": self._count, "/v1/score": self._score}
        self.usual = self._answer

    def _count(self, handler, body) -> None:
        handler.give(200, {"tokens": sum(len(each["content"].split()) for each in body["messages"])})

    def _score(self, handler, body) -> None:
        said = answer_text(body)
        logprobs = {each: -0.1 if each.strip() == said else -3.0 for each in body["candidates"]}
        scores = [{"candidate": each, "logprob": logprob, "tokens": 1} for each, logprob in logprobs.items()]
        handler.give(200, {"scores": scores, "usage": {"prompt_tokens": 7, "completion_tokens": 0}})

    def _answer(self, handler, body) -> None:
        if body.get("logprobs"):
            said = answer_text(body)
            token = {"token": said, "logprob": -0.1, "bytes": list(said.encode())}
            complete_answer({"content": said}, logprobs={"content": [{**token, "top_logprobs": [token]}]})(
                handler, body
            )
            return
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
    whole = " ".join(each["content"] for each in body["messages"])
    known = next((answer for part, answer in SAYS.items() if part in said), None)
    if known is None and GERMAN in whole:  # it is asked again
        known = GERMAN
    if known is None and "numbered passages" in whole:
        known = f"{FIRST} [1]"
    about_something = re.search("workshop|invoice|crashes|good|bad", said)
    return known or next((each if about_something else other for each, other in LABELS.items() if each in whole), FIRST)


@pytest.fixture(params=["none", "vllm", "all"])
def scripted_server(request, server):
    """Return a server with none, some or all of the abilities; ``server`` sets how errors are retried."""
    server.close()
    made = ScriptedServer(request.param)
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
        "people.txt": "{person} called since {they} closed the workshop.\n",
        "lines.csv": "id,text\n1,The workshop is closed on Monday.\n",
        "answer.txt": FIRST,
        "outline.md": "# Workshops\n\n## Workshop (11 words)\n- closed on Monday\n",
        "report.md": "# Workshops\n\n## Workshop\n\nIt is closed.\n",
        "rows.csv": TABLE,
        "requests.jsonl": REQUEST,
        "rated.csv": "text,label\n" + "good,positive\nbad,negative\n" * 8,
        "examples.csv": "text,label\n" + "The invoice is wrong,billing\nIt crashes,bug\n" * 8,
    }.items():
        Path(name).write_text(text)
    assert llm("index", "add", "indexed").code == 0


def test_the_table_has_every_verb():
    """All commands that run a model, but those that ask a person. ``index`` runs none on a server."""
    tried = {argv[0] for argv, _ in VERBS.values()}
    assert {command.name for command in model_commands()} - ASKS_A_PERSON <= tried


@pytest.mark.usefixtures("world")
def test_every_verb_works_or_says_what_it_needs(llm, scripted_server):
    """Never a traceback, 70, or nothing at all with 0."""
    where, wrong = ["--base-url", scripted_server.url, "-m", "big"], []
    for name, (argv, expected) in VERBS.items():
        run = llm(*argv, *where, stdin=b"Hello\n" if name == "chat" else b"")
        if not (
            says_what_it_needs(run, expected) if expected in NO_SERVER_HAS else run.code == 0 and expected in run.out
        ):
            wrong.append(f"{name}: exit code {run.code}\n{run.out[:300]}\n{run.err[:400]}")
    assert not wrong, "\n".join(wrong)


def says_what_it_needs(run, need):
    """Return whether a run ended with 69, one line that names the need, and one with the next step."""
    said, *more = run.err.splitlines()
    return run.code == 69 and need in said and len(more) == 1 and run.out.count("\n") <= HEAD_LINES


def test_a_need_of_all_records_is_said_once(llm, scripted_server, write, tmp_path):
    """Not with each of them; the output is not begun."""
    table, out = write("a.csv", "text\n" + "a text\n" * 500), tmp_path / "out.csv"
    run = llm("embed", table, "--column", "text", "-o", str(out), "--base-url", scripted_server.url, "-m", "big")
    assert says_what_it_needs(run, HIDDEN_STATES) and "--backend local" in run.err
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("out")] == []
