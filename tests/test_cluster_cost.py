"""The arithmetic for many records: ``benchmarks/cluster_cost.py``, and what docs/shards.md shows of it."""

from __future__ import annotations

import io
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "cluster_cost.py"))
ROWS = [
    {"weights": "original", "prompt": 529, "at_once_16": 412, "faithful": True},
    {"weights": "bf16", "prompt": 1813, "at_once_16": 822, "faithful": True},
    {"weights": "q8_0", "prompt": 1047, "at_once_16": 571, "faithful": True},
]
"""The rates of the table in docs/performance.md."""


@pytest.fixture
def tune(tmp_path):
    """Return a file as ``llm models tune --json`` prints it."""
    path = tmp_path / "tune.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def job(new=0.0, shared=0.0, answer=0.0, records=1000):
    return SCRIPT["Job"](records, new, shared, answer)


def test_the_rate_of_a_node():
    """New tokens at the rate of prompts, answers at the highest rate of several at once, shared tokens for nothing."""
    rows = [{"weights": "a", "prompt": 100.0, "at_once_16": 10.0, "at_once_32": 20.0, "faithful": True}]
    assert SCRIPT["cpu_rate"](rows, job(new=50)) == ("a", pytest.approx(2))
    assert SCRIPT["cpu_rate"](rows, job(new=50, shared=1000, answer=10)) == ("a", pytest.approx(1))
    rows[0]["at_once_32"] = None
    assert SCRIPT["cpu_rate"](rows, job(new=50, answer=10))[1] == pytest.approx(1 / 1.5)


def test_the_fastest_faithful_weights_answer():
    """As llm chooses them: which these are depends on the job."""
    rows = [
        {"weights": "reads", "prompt": 100.0, "at_once_16": 1.0, "faithful": True},
        {"weights": "writes", "prompt": 10.0, "at_once_16": 50.0, "faithful": True},
        {"weights": "wrong", "prompt": 1000.0, "at_once_16": 1000.0, "faithful": False},
    ]
    assert SCRIPT["cpu_rate"](rows, job(new=10))[0] == "reads"
    assert SCRIPT["cpu_rate"](rows, job(new=10, answer=10))[0] == "writes"
    with pytest.raises(ValueError, match="no weights"):
        SCRIPT["cpu_rate"](rows[2:], job(new=10))


def test_it_agrees_with_a_measured_job():
    """docs/performance.md: 1,000 sentiments of 21 new tokens at 340 tokens/s took 61 s, 16.4 a second."""
    rows = [{"weights": "original", "prompt": 340, "at_once_16": 223}]
    assert SCRIPT["cpu_rate"](rows, job(new=21))[1] == pytest.approx(16.4, rel=0.02)


def test_nodes_hours_and_cost():
    """As many nodes as keep the time; the cost does not depend on their number."""
    plan = SCRIPT["plan_nodes"]("x", 10.0, 0.5, job(records=36_000 * 90), hours=24.0, loss=0.1)
    assert (plan.nodes, plan.hours, plan.cost) == (5, pytest.approx(20), pytest.approx(50))
    more = SCRIPT["plan_nodes"]("x", 10.0, 0.5, job(records=36_000 * 90), hours=1.0, loss=0.1)
    assert (more.nodes, more.hours, more.cost) == (100, pytest.approx(1), pytest.approx(50))


def test_a_hosted_model():
    """Pays for shared tokens each time; the hours follow from its limit."""
    prices = (1.0, 0.25, 4.0)
    plan = SCRIPT["plan_hosted"](job(10, 20, 5, records=1_000_000), prices, discount=0.5, tokens_per_minute=100_000)
    assert plan.cost == pytest.approx((10 + 5 + 20) / 2) and plan.hours == pytest.approx(35e6 / 100_000 / 60)


def run(capsys, *argv):
    """Return what the script prints."""
    assert SCRIPT["main"]([*argv]) == 0
    return capsys.readouterr().out


def test_ways_without_a_rate_are_left_out(capsys, tune, monkeypatch):
    """The rate of a node may be that of a sample, or come by a pipe; vLLM needs its own."""
    assert [line.split("  ")[0] for line in run(capsys, "--new-tokens", "25").splitlines()[2:]] == [
        "hosted model, batches"
    ]
    measured = run(capsys, tune, "--new-tokens", "25", "--node-rate", "12.5")
    assert "CPU nodes, measured" in measured and "12.5" in measured and "bf16" not in measured
    monkeypatch.setattr(sys, "stdin", io.StringIO(Path(tune).read_text()))
    assert run(capsys, "-", "--new-tokens", "25") == run(capsys, tune, "--new-tokens", "25")


def test_the_page_shows_what_is_printed(capsys, tune, monkeypatch):
    """The table of docs/shards.md is that of the command above it, with the rates of docs/performance.md."""
    monkeypatch.chdir(Path(tune).parent)
    page = (ROOT / "docs" / "shards.md").read_text(encoding="utf-8")
    pattern = r"^python benchmarks/cluster_cost\.py ([^\n]*)\n```\n\n```text\n(.*?)```"
    ((options, table),) = re.findall(pattern, page, re.MULTILINE | re.DOTALL)
    assert run(capsys, *shlex.split(options)) == table
    rates = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert re.search(
            rf"^{row['weights']} +[\d.]+ MB +{row['prompt']}/s +\d+/s +{row['at_once_16']}/s", rates, re.MULTILINE
        )
