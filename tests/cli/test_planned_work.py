"""The work that ``--dry-run`` shows is that of the run: calls, and tokens of prompts where no answer decides them."""

from __future__ import annotations

import json
import struct

import pytest
from lying_translators import greek, well
from scripted import Reply, all_messages

from llmcli.errors import InternalError
from llmcli.types import FinishReason

SALES = "region,product,price\n" + "".join(f"{'North' if n % 3 else 'South'},p{n},{n % 40}\n" for n in range(60))
LOG = "\n".join(f"Day {n}: pump {n} ran for {n % 7} hours and was then stopped for the night." for n in range(200))
GUIDE = """# The pump

The pump ran for **4 hours**. It was then stopped for the night.

- Check the `valve` first.
- Check the `valve` first.
- 42

Each day it runs again. It has a filter, which is old. Replace it each month.
"""
FILES = {
    "guide.md": GUIDE,
    "sentences.txt": " ".join(f"Pump {n} ran for {n} hours and stopped." for n in range(60)),
    "log.jsonl": "".join(json.dumps({"text": line}) + "\n" for line in LOG.splitlines()),
    "requests.jsonl": "".join(
        json.dumps(
            {
                "custom_id": str(n),
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"messages": [{"role": "user", "content": f"Pump {n}?"}], "n": 2},
            }
        )
        + "\n"
        for n in range(3)
    ),
    "terms.csv": "term,translation\npump,Pumpe\n",
    "sales.csv": SALES,
    "empty.csv": "region,price\n",
    "empty.md": "",
    "short.txt": "The rent is 900 euros.\n",
    "other.txt": "The deposit is 1,800 euros.\n",
    "log.txt": LOG,
    "answer.md": "The pump ran for 4 hours. It was stopped for the night.\n",
}


def respond(request):
    """Answer each kind of request so that the command ends well."""
    if request.prompt is not None and not request.messages:  # a text that becomes a vector
        return struct.pack("<2f", 1.0, 0.5)
    if request.candidates:
        return dict.fromkeys(request.candidates, -1.0)
    if "CREATE TABLE" in all_messages(request):
        return "SELECT product FROM sales WHERE price > 38"
    return "The pump ran for 4 hours [1]."


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a directory with ``FILES``, which is the current one."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


EXACT = [
    ("ask", "How many rows?", "-f", "sales.csv"),
    ("ask", "average price per region", "-f", "sales.csv"),
    ("ask", "--sql", "How many rows?", "-f", "sales.csv"),
    ("ask", "What is the highest price?", "-f", "sales.csv"),
    ("ask", "Why is it so?", "-f", "sales.csv"),
    ("ask", "How much is the rent?", "-f", "short.txt"),
    ("ask", "How much is the rent?", "-f", "short.txt", "-f", "other.txt"),
    ("ask", "-s", "Be brief.", "How many rows?", "-f", "sales.csv"),
    ("translate", "--pseudo", "accents", "guide.md"),
    ("translate", "--to", "fr", "--no-tm", "empty.md"),
]
RECORDS = [
    ("classify", "--labels", "good,bad", "log.txt"),
    ("classify", "--labels", "good,bad", "--multi", "--column", "product", "sales.csv"),
    ("classify", "--labels", "good,bad", "--column", "region", "--dedupe", "sales.csv"),
    ("classify", "--labels", "good,bad", "--limit", "5", "short.txt", "log.txt"),
    ("sentiment", "log.txt"),
    ("sentiment", "--by", "document", "log.txt", "--ctx", "700"),
    ("filter", "it is dear", "--column", "price", "--sample", "9", "sales.csv"),
    ("embed", "log.txt"),
    ("sentiment", "--aspects", "--limit", "5", "log.txt"),
    ("ask", "Is it dear?", "--column", "product", "--limit", "5", "-f", "sales.csv"),
    ("generate", "poem", "--column", "product", "--var", "topic=rain", "--limit", "5", "-f", "sales.csv"),
    ("extract", "--schema", "day", "--limit", "70", "--column", "text", "log.jsonl"),
    ("summarize", "--column", "product", "--limit", "5", "sales.csv"),
    ("translate", "--from", "en", "--to", "de", "--no-tm", "--column", "text", "--limit", "5", "log.jsonl"),
    ("translate", "--from", "en", "--to", "de", "--column", "region", "--limit", "9", "sales.csv"),
    ("run-batch", "-i", "requests.jsonl", "-o", "out.jsonl"),
]
TRANSLATIONS = [
    ("translate", "--from", "en", "--to", "de", "--no-tm", "guide.md"),
    ("translate", "--from", "en", "--to", "de", "--no-tm", "--glossary", "terms.csv", "guide.md"),
    ("translate", "--from", "en", "--to", "de", "--no-tm", "--review", "guide.md"),
    ("translate", "--from", "en", "--to", "de", "--no-tm", "sentences.txt", "--ctx", "700"),
    ("translate", "--to", "de", "--no-tm", "sentences.txt"),
]
RANGES = [
    ("ask", "Which pump ran?", "-f", "log.txt"),
    ("ask", "--cite", "How much is the rent?", "-f", "short.txt"),
    ("ask", "How much is the rent?", "-f", "."),
    ("ask", "--sql", "Which things are dear and blue?", "-f", "sales.csv"),
    ("ask", "--cite", "Which pump ran for 4 hours?", "-f", "log.txt"),
    ("ask", "Which pump ran for 4 hours?", "-f", "log.txt", "--ctx", "700"),
    ("ask", "--cite", "Which pump ran for 4 hours?", "-f", "log.txt", "--ctx", "700"),
    ("check", "answer.md", "--against", "log.txt"),
    ("check", "answer.md", "--against", "short.txt"),
]


def plan_and_run(llm, argv):
    """Return what --dry-run shows, the requests of the run, and the tokens of their prompts."""
    plan, requests, tokens, code = plan_and_run_with(llm, argv, respond)
    assert code in {0, 1, 3}
    return plan, requests, tokens


def plan_and_run_with(llm, argv, answer):
    """Return the same, and the exit code, with other answers."""
    options = {"context": int(argv[-1]), "env": {"LLMCLI_CTX": argv[-1]}} if "--ctx" in argv else {}
    argv = argv[:-2] if options else argv
    dry = llm(*argv, "--dry-run", "--json", answer=answer, **options)
    assert dry.code == 0 and _requests_of(dry) == [], dry.err
    run = llm(*argv, answer=answer, **options)
    requests = _requests_of(run)
    return json.loads(dry.out), requests, sum(run.backend.count(requests)[0]) if requests else 0, run.code


def _requests_of(run):
    return run.backend.requests if run.backend else []  # without work for a model there is no backend


@pytest.mark.parametrize("argv", EXACT, ids=" ".join)
def test_the_run_does_what_was_planned(llm, folder, argv):
    """The model gets as many calls and tokens of prompts as the plan says; none if a template answers."""
    plan, requests, tokens = plan_and_run(llm, argv)
    assert (plan["calls"], plan["tokens"]) == (len(requests), tokens)
    assert plan["min_calls"] <= len(requests) <= plan["max_calls"]


@pytest.mark.parametrize("argv", RANGES, ids=" ".join)
def test_the_run_is_within_the_planned_range(llm, folder, argv):
    """Where answers decide what is asked next, the plan says how many calls there are at least and at most."""
    plan, requests, tokens = plan_and_run(llm, argv)
    assert plan["min_calls"] <= len(requests) <= plan["max_calls"]
    assert plan["min_tokens"] <= tokens <= plan["max_tokens"]
    assert plan["min_calls"] <= plan["calls"] <= plan["max_calls"]
    assert plan["min_tokens"] <= plan["tokens"] <= plan["max_tokens"]


ANSWERS = {
    "empty": "",
    "one word": "Pump",
    "long": "The pump ran for hours and was stopped. " * 40,
    "another": "I cannot help with that.",
    "cut": Reply("The pump ran for hours and was " * 40, reason=FinishReason.LENGTH),
    "values": '{"day": "Day 3"}',
    "failing": InternalError(detail="boom"),
}
DECIDED = [
    *RANGES,
    *TRANSLATIONS,
    ("summarize", "log.txt"),
    ("summarize", "log.txt", "--ctx", "700"),
    ("summarize", "log.txt", "--style", "bullets", "--words", "40", "--ctx", "700"),
    ("summarize", "short.txt", "--words", "40"),
    ("extract", "--schema", "day", "log.txt"),
    ("extract", "--free", "--many", "--schema", "day", "log.txt", "--ctx", "700"),
    ("generate", "report", "Pumps", "--words", "900", "-o", "report.md"),
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("argv", DECIDED, ids=" ".join)
def test_the_run_is_within_the_range_whatever_the_model_answers(llm, folder, argv, answer):
    """A run that fails has at most so many calls and tokens."""

    def say(request):
        is_text = not request.candidates and (request.messages or request.prompt is None)
        return ANSWERS[answer] if is_text else respond(request)

    plan, requests, tokens, code = plan_and_run_with(llm, argv, say)
    assert len(requests) <= plan["max_calls"] and tokens <= plan["max_tokens"]
    if code == 0:
        assert plan["min_calls"] <= len(requests) and plan["min_tokens"] <= tokens


@pytest.mark.parametrize("answer", ["usual", *ANSWERS])
@pytest.mark.parametrize("argv", RECORDS, ids=" ".join)
def test_a_job_of_records_is_within_its_plan(llm, folder, argv, answer):
    """Whatever the model answers. Where no answer decides, the plan is exact."""

    def say(request):
        is_text = not request.candidates and (request.messages or request.prompt is None)
        return ANSWERS[answer] if is_text and answer != "usual" else respond(request)

    plan, requests, tokens, code = plan_and_run_with(llm, argv, say)
    assert plan["calls"] > 0
    assert len(requests) <= plan["max_calls"] and tokens <= plan["max_tokens"]
    if plan["min_calls"] == plan["max_calls"]:
        assert (len(requests), tokens) == (plan["calls"], plan["tokens"])
    if code == 0:
        assert plan["min_calls"] <= len(requests) and plan["min_tokens"] <= tokens


def test_the_plan_of_records_leaves_the_output_alone(llm, folder):
    """It has a row, also for several files, and an unfinished job stays as it is."""
    argv = ("classify", "--labels", "good,bad", "short.txt", "other.txt", "-o", "out.csv")
    run = llm(*argv, "--dry-run", answer=respond)
    assert (run.code, run.out.split("\t")[:2]) == (0, ["short.txt, other.txt", "2"])
    assert not (folder / "out.csv").exists() and run.err == ""
    assert llm(*argv, "--dry-run", "none.txt").code == 3
    for option in ("--resume", "--retry-failed"):
        run = llm(*argv, "--dry-run", option)
        assert run.code == 2 and option in run.err
    for option in ("--calibrate", "--eval"):
        run = llm(*argv, "--dry-run", option, "sales.csv")
        assert run.code == 2


@pytest.mark.parametrize("argv", TRANSLATIONS, ids=" ".join)
def test_valid_translations_take_the_least_work(llm, folder, argv):
    """Each text has one call, and the calls and tokens are exact."""

    def translate(request):
        return well(request).replace(greek("pump"), "Pumpe")  # as the glossary has it

    to_greek = tuple("el" if argument == "de" else argument for argument in argv)
    plan, requests, tokens, code = plan_and_run_with(llm, to_greek, translate)
    assert (code, len(requests), tokens) == (0, plan["calls"], plan["tokens"])
    assert (plan["min_calls"], plan["min_tokens"]) == (plan["calls"], plan["tokens"])


@pytest.mark.parametrize("argv", [("ask", "What is it?", "-f", "empty.csv"), ("ask", "--sql", "x?", "-f", "short.txt")])
def test_a_run_that_is_refused_is_refused_by_the_plan(llm, folder, argv):
    """With the same code and the same cause."""
    dry, run = (llm(*argv, *option, answer=respond) for option in (["--dry-run"], []))
    assert dry.code == run.code == 65
    assert "it has no rows" in dry.err and "it has no rows" in run.err


@pytest.mark.parametrize("embeds", [[], ["--embed"]], ids=["words", "vectors"])
def test_the_plan_of_a_question_to_an_index_runs_no_model(llm, folder, embeds):
    """The question has a vector only in the run; both are within the range."""
    assert llm("index", "add", *embeds, ".", answer=respond).code == 0
    argv = ("ask", "--index", ".", "Which pump ran for 4 hours?", "--ctx", "700")
    plan, requests, _ = plan_and_run(llm, argv)
    assert plan["calls"] <= len(requests) <= plan["max_calls"]
