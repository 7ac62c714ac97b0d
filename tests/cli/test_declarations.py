"""Each fact about a command is declared once: the table of commands is made of it, and no option is without effect."""

from __future__ import annotations

import struct

import pytest
from declared_commands import has_option
from scripted import Reply, all_messages

from llmcli.cli.flags import GivesSetting, shared_options
from llmcli.cli.labels.scoring_flags import FilterFlags, ScoringFlags
from llmcli.errors import InternalError

FILES = {
    "rows.csv": "id,text,more\n1,The invoice is wrong,a\n1,The invoice is wrong,a\n3,I love this bicycle,c\n",
    "failing.csv": "id,text,more\n1,The invoice is wrong,a\n2,boom,b\n3,I love this bicycle,c\n",
    "lines.txt": "The invoice is wrong\nThe invoice is wrong\nI love this bicycle\n",
    "people.txt": "{person} called since {they} closed the workshop.\n",
    "people.csv": "id,text,more\n1,{person} called since {they} closed it.,{person} is a\n2,{person} hid and {they} ran.,{they} is b\n3,{person} said {they} left.,{they} is c\n",
    "suspect.txt": "The bicycle workshop will be closed on Monday qxzv.\n",
    "answer.md": "The workshop is closed on Monday.\n",
    "notes.txt": "The workshop is closed on Monday. The roof has to be repaired after the storm.\n",
    "held.csv": "text,label\n" + "The invoice is wrong,yes\nIt crashes,no\n" * 8,
    "examples.csv": "text,label\n" + "The invoice is wrong,positive\nIt crashes,negative\n" * 8,
    "requests.jsonl": "".join(
        f'{{"custom_id": "{name}", "method": "POST", "url": "/v1/chat/completions", '
        f'"body": {{"messages": [{{"role": "user", "content": "{text}"}}]}}}}\n'
        for name, text in {"a": "When is the workshop closed?", "b": "boom"}.items()
    ),
}
WHOLE = {
    "ask": ["ask", "-f", "notes.txt", "When is it closed?"],
    "translate": ["translate", "--to", "de", "notes.txt", "--no-tm"],
    "summarize": ["summarize", "notes.txt"],
    "extract": ["extract", "--schema", "day", "notes.txt"],
    "generate": ["generate", "poem", "--var", "topic=rain"],
    "command": ["command", "list files"],
    "check": ["check", "answer.md", "--against", "notes.txt"],
    "proofread": ["proofread", "notes.txt"],
    "sentiment": ["sentiment", "--aspects", "lines.txt"],
    "classify": ["classify", "--labels", "positive,negative", "lines.txt"],
    "filter": ["filter", "it is about money", "--threshold", "0.1", "lines.txt"],
    "embed": ["embed", "lines.txt"],
    "similar": ["similar", "a workshop", "lines.txt"],
    "tokens": ["tokens", "lines.txt"],
    "run-batch": ["run-batch", "-i", "requests.jsonl"],
    "audit sentiment": ["audit", "sentiment", "--swap", "pronouns", "people.txt"],
    "audit classify": ["audit", "classify", "--labels", "positive,negative", "--swap", "pronouns", "people.txt"],
    "audit filter": ["audit", "filter", "it is about money", "--swap", "pronouns", "people.txt"],
    "audit ask": ["audit", "ask", "When?", "--swap", "pronouns", "-f", "people.txt"],
}
"""A usual command line of each command that runs a model without asking a person."""


# ---- each option has an effect -------------------------------------------------------------------------------------

RECORDS = {
    **{name: [*argv[:-1], "rows.csv"] for name, argv in WHOLE.items() if argv[-1] in {"lines.txt", "notes.txt"}},
    "ask": ["ask", "What is it about?", "-f", "rows.csv"],
    "translate": ["translate", "--to", "de", "--no-tm", "rows.csv"],
    "generate": ["generate", "poem", "--var", "topic=rain", "-f", "rows.csv"],
    "run-batch": WHOLE["run-batch"],
    **{name: [word.replace(".txt", ".csv") for word in argv] for name, argv in WHOLE.items() if "audit" in name},
}
TEXT = ["--column", "text"]
SCENES = {
    **{(name, "calibrate"): (WHOLE[name], ["--calibrate", "held.csv"]) for name in ("filter", "audit filter")},
    **{
        (name, "evaluate"): ([word for word in WHOLE[name] if word != "lines.txt"], ["--eval", file])
        for name, file in {"classify": "examples.csv", "sentiment": "examples.csv", "filter": "held.csv"}.items()
    },
}
"""Command lines for options that show nothing in the usual one, and the options."""
UNSHOWN = {(name, "threshold") for name in ("proofread", "audit sentiment", "audit classify", "audit filter")}
"""Nothing looks wrong, and the label is the same for all people."""
PLAIN = {
    "output": ["-o", "out.txt"],
    "json": ["--json"],
    "temperature": ["--temperature", "0.3"],
    "reasoning": ["--reasoning"],
    "stats": ["--stats"],
    "verbose": ["-v"],
    "threshold": ["--threshold", "1"],
    "summary": ["--summary", "summary.json"],
    "examples": ["--examples", "examples.csv"],
    "calibrate": ["--calibrate", "examples.csv"],
    "evaluate": ["--eval", "examples.csv"],
}
OF_RECORDS = {
    "column": (TEXT, ["--column", "more"]),
    "template": (TEXT, ["--template", "{{ row.more }}: {{ row.text }}"]),
    "format": (TEXT, [*TEXT, "--format", "jsonl"]),
    "delimiter": (TEXT, ["--column", "id,text,more", "--delimiter", ";"]),
    "output_format": (TEXT, [*TEXT, "--output-format", "jsonl"]),
    "dry_run": (TEXT, [*TEXT, "--dry-run"]),
    "limit": (TEXT, [*TEXT, "--limit", "1"]),
    "sample": (TEXT, [*TEXT, "--sample", "1"]),
    "seed": ([*TEXT, "--sample", "2"], [*TEXT, "--sample", "2", "--seed", "5"]),
    "dedupe": (TEXT, [*TEXT, "--dedupe"]),
    "shard": ([*TEXT, "-o", "out.csv"], [*TEXT, "-o", "out.csv", "--shard", "1/2"]),
}
"""Options without the option that is tried, and with it."""
ELSEWHERE = {
    "assignments": "test_set_option",
    "force": "every command that writes takes it, so that scripts can give both",
    "yes": "consent to a server",
    "quiet": "what it silences depends on the command",
    "on_error": "test_record_output",
    "overwrite": "test_record_output",
    "resume": "test_record_jobs",
    "retry_failed": "test_record_jobs",
    "target_precision": "test_calibration_options",
    "calibration": "test_calibration_options",
    "plot": "test_calibration_options",
    "label_column": "test_calibration_options",
    "nearest": "test_nearest_examples",
}
"""Shared options that these scenes do not show, and where they are tried."""


def answer(request):
    """Answer so that each text has another result."""
    said = all_messages(request) + (request.prompt or "")
    if "boom" in said:
        return InternalError(detail="boom")
    if request.candidates:
        return {each: -0.001 * (number + 1) * len(said) for number, each in enumerate(request.candidates)}
    if request.prompt is not None and not request.messages:
        return struct.pack("<2f", len(said), 0.5)
    if "list files" in said:
        return Reply('{"command": "ls", "explanation": "Lists."}', reasoning="I think.")
    return Reply(
        '{"day": "Monday"}' if request.schema or request.grammar else f"It is closed {len(said)}.", reasoning="I think."
    )


@pytest.fixture
def outcome(llm, tmp_path, monkeypatch):
    """Return a function that runs a command in a directory of its own and returns all that can be seen of it."""

    def run(argv, **more):
        directory = tmp_path / f"world{len(list(tmp_path.glob('world*')))}"
        directory.mkdir()
        for name, text in FILES.items():
            (directory / name).write_text(text)
        monkeypatch.chdir(directory)
        done = llm(*argv, answer=answer, layers=4, token_scores=True, **more)
        assert done.code in {0, 1, 3, 65}, f"{argv}: {done.err}"
        written = {path.name: path.read_bytes() for path in directory.iterdir()}
        requests = sorted(map(repr, done.backend.requests)) if done.backend else []
        return done.code, sorted(done.out.splitlines()), sorted(done.err.splitlines()), written, requests

    return run


def test_each_shared_option_has_a_scene():
    """Or gives a setting, or is tried elsewhere."""
    known = {*PLAIN, *OF_RECORDS, *ELSEWHERE}
    for flags in (ScoringFlags, FilterFlags):
        for option in shared_options(flags):
            is_setting = any(isinstance(mark, GivesSetting) for mark in option.marks)
            assert is_setting or option.name in known, option.name


@pytest.mark.parametrize("option", PLAIN)
def test_each_option_of_a_command_has_an_effect(outcome, option):
    """On what the model is asked, or on what is printed or written."""
    names = [name for name in WHOLE if has_option(name, option) and (name, option) not in UNSHOWN]
    assert names
    for name in names:
        argv, words = SCENES.get((name, option), (WHOLE[name], PLAIN[option]))
        outcome(argv)  # notices of the day
        assert outcome(argv) != outcome([*argv, *words]), name


@pytest.mark.parametrize("option", OF_RECORDS)
def test_each_option_of_records_has_an_effect(outcome, option):
    """As above."""
    without, with_it = OF_RECORDS[option]
    names = [name for name in RECORDS if has_option(name, option) and has_option(name, "column")]
    assert names
    for name in names:
        argv = RECORDS[name]
        outcome([*argv, *without])
        assert outcome([*argv, *without]) != outcome([*argv, *with_it]), name


# ---- what a job depends on -----------------------------------------------------------------------------------------

JOBS = {
    name: [*(word.replace("rows.csv", "failing.csv") for word in argv), *TEXT]
    for name, argv in RECORDS.items()
    if has_option(name, "resume") and name not in {"run-batch", "tokens"}
}
JOBS["filter"] += ["--on-error", "keep", "--json"]
OF_JOBS = {
    "temperature": ["--temperature", "0.3"],
    "seed": ["--seed", "7"],
    "max_tokens": ["--max-tokens", "3"],
    "reasoning": ["--reasoning"],
    "threshold": ["--threshold", "0.99"],
    "examples": ["--examples", "examples.csv"],
    "column": ["--column", "more"],
    "template": ["--template", "{{ row.more }}: {{ row.text }}"],
    "limit": ["--limit", "2"],
    "sample": ["--sample", "2"],
    "on_error": ["--on-error", "skip"],
    "assignments": ["--set", "threads=1", "--set", "worker=off"],
    "offline": ["--offline"],
    "summary": ["--summary", "summary.json"],
    "stats": ["--stats"],
    "verbose": ["-v"],
    "quiet": ["-q"],
    "force": ["--force"],
}


@pytest.mark.parametrize("option", OF_JOBS)
def test_a_job_goes_on_exactly_if_the_option_changes_no_result(llm, outcome, option):
    """The job of an output knows all options that change what the model is asked or what is written, and no other."""
    others = {("extract", "examples"), ("translate", "template")}  # another option, and one of lines without columns
    names = [name for name in JOBS if has_option(name, option) and (name, option) not in others]
    assert names
    for name in names:
        begun = [*JOBS[name], "-o", "out.csv"]
        outcome(begun)
        changed = [*begun, *OF_JOBS[option]]
        (*_, before, asked), (*_, after, asked_after) = outcome(begun), outcome(changed)
        differs = (before["out.csv"], asked) != (after.get("out.csv"), asked_after)
        outcome(begun)
        again = llm(*changed, "--retry-failed", answer=answer, layers=4)
        refused = again.code == 2 and ("cannot be continued" in again.err or "needs an output with a row" in again.err)
        assert refused == differs, f"{name}: {again.err}"
