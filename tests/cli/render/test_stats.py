"""``--stats`` and ``-v``: what a command cost and how the backend worked, on stderr."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from llmcli.cli.render import renderer
from llmcli.cli.render.renderer import JobTotals
from llmcli.cli.render.stats import collect_stats
from llmcli.tasks.runner import answers
from llmcli.types import UNKNOWN_USAGE, BackendStats, Result, ServerStats, Timings, Usage

WORK = BackendStats(decode_threads=3, prompt_threads=4, width=8, peak_memory=512_000_000, joules=12.34)
ONE = Result(0, "", "x", usage=Usage(10, 4, 2), timings=Timings(0.25, 1.0, 40.0))
FIELDS = {
    "prompt_tokens", "cached_tokens", "completion_tokens", "first_token_s", "tokens_per_second", "total_s",
    "decode_threads", "prompt_threads", "width", "peak_memory_bytes", "joules",
}  # fmt: skip


def stats(results, work):
    """Return the stats of results whose job took 4 seconds of wall-clock time."""
    clock = iter([100.0, 104.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        totals = JobTotals()
        for result in results:
            totals.add(result)
        return collect_stats(totals.usage, totals.timings, work)


@pytest.fixture
def answered(llm):
    """Ask for two words; return the run."""
    return lambda *argv, **how: llm("ask", "Q", *argv, answer=lambda _: "one two", **how)


def test_stats_are_one_line_beside_an_untouched_answer(answered):
    """Tokens, times, threads, width, memory and energy, in this order."""
    run = answered("--stats")
    assert run.out == "one two\n"
    assert run.err == (
        "llm: 19 tokens in (0 reused), 2 out, first in 0.10 s, 100 tokens/s, 0.12 s total, "
        "threads 2, width 1, peak 314.6 MB, energy not available\n"
    )


def test_stats_with_json_are_an_object_on_stderr(answered):
    """Programs get the same values as fields; unknown ones are null."""
    run = answered("--stats", "--json")
    assert json.loads(run.out)["text"] == "one two"
    (line,) = run.err.splitlines()
    said = json.loads(line)["stats"]
    assert set(said) == FIELDS
    assert (said["completion_tokens"], said["first_token_s"], said["tokens_per_second"]) == (2, 0.1, 100.0)
    assert (said["decode_threads"], said["width"], said["peak_memory_bytes"]) == (2, 1, 300 << 20)
    assert said["joules"] is None


def test_stats_are_printed_only_on_request(answered):
    """Stderr stays empty on success."""
    assert answered().err == "" and answered("--json").err == ""


def test_a_complete_failure_has_no_stats(llm):
    """If nothing was delivered, only the error is shown."""
    run = llm("summarize", "missing", "--stats", "--json")
    assert run.code == 66 and set(json.loads(run.err)) == {"error"}


def test_stats_fit_two_lines_of_a_terminal():
    """Also for a long job on a large machine."""
    usage = Usage(12_345, 11_111, 2_222)
    result = replace(ONE, usage=usage, timings=Timings(12.345, 123.456, 123.45))
    work = BackendStats(decode_threads=7, prompt_threads=8, width=32, peak_memory=99 * 10**9)
    assert len(stats([result], work).format_line()) <= 160


def test_threads_of_prompts_are_named_if_they_differ():
    """One number if it is the same for tokens and prompts."""
    assert "threads 3 (prompts 4)," in stats([ONE], WORK).format_line()
    assert "threads 1," in stats([ONE], replace(WORK, decode_threads=1, prompt_threads=1)).format_line()
    assert "threads 3," in stats([ONE], replace(WORK, prompt_threads=None)).format_line()


def test_measured_energy_is_shown_in_joules():
    """Only if it was measured."""
    assert stats([ONE], WORK).format_line().endswith("energy 12.3 J")
    assert json.loads(stats([ONE], WORK).to_json())["stats"]["joules"] == 12.34


def test_each_of_several_servers_is_named_with_its_problem():
    servers = (ServerStats("http://a/v1", 3), ServerStats("http://b/v1", 1, 2, "connection refused"))
    line = stats([ONE], replace(WORK, servers=servers)).format_line()
    assert line.endswith(
        "http://a/v1 answered 3, http://b/v1 answered 1, failed 2 times, set aside: connection refused"
    )


def test_unknown_values_are_omitted():
    """Except energy: its absence has to be visible."""
    line = stats([replace(ONE, timings=Timings())], BackendStats()).format_line()
    assert line == "llm: 10 tokens in (4 reused), 2 out, 0.00 s total, energy not available"


def test_the_rate_of_several_results_is_that_of_the_job():
    """They ran concurrently: all tokens over the wall-clock seconds, not those of the longest."""
    slow = replace(ONE, usage=Usage(10, 4, 6), timings=Timings(0.5, 2.25, 10.0))
    said = stats([ONE, slow], WORK)
    assert (said.first_token_s, said.total_s, said.tokens_per_second) == (0.25, 4.0, 2.0)
    assert (said.prompt_tokens, said.cached_tokens, said.completion_tokens) == (20, 8, 8)
    assert stats([ONE], WORK).tokens_per_second == 40.0
    assert stats([replace(ONE, usage=Usage(10, 4, 0))] * 2, WORK).tokens_per_second is None


def test_a_job_of_many_records_takes_all_its_time(llm, monkeypatch):
    """--stats covers the whole job with all records; each record has its own timings."""
    ticks = itertools.count(0, 0.5)  # at least one a record
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr(renderer, "time", clock)
    monkeypatch.setattr(answers, "time", clock)
    records = b"one two\n" * 300
    run = llm(
        "sentiment", "--json", "--stats", stdin=records, answer=lambda _: {"positive": 0, "neutral": -1, "negative": -2}
    )
    results = [json.loads(line) for line in run.out.splitlines()]
    said = json.loads(run.err)["stats"]
    assert {result["timings"]["total_s"] for result in results} == {0.1} and said["total_s"] >= 0.5 * 300
    assert said["prompt_tokens"] == sum(result["usage"]["prompt_tokens"] for result in results)


def test_verbose_shows_choices_and_reasons(answered):
    """Model and engine before the answer, the backend's choices after it."""
    model, engine, last = answered("-v").err.splitlines()
    assert model.startswith("llm: model ") and engine.startswith("llm: engine ") and last == "llm: scripted: no choice"


def test_verbose_with_json_prints_objects(answered):
    """With --json, stderr contains only objects."""
    run = answered("-v", "--stats", "--json")
    model, engine, choice, stats = map(json.loads, run.err.splitlines())
    assert "model " in model["explanation"] and "engine " in engine["explanation"]
    assert choice == {"explanation": "scripted: no choice"} and "stats" in stats


def test_warnings_are_in_the_object_of_their_result(llm):
    """With --json and -v too, stderr contains only objects."""
    run = llm("translate", "--to", "fr", "--json", "-v", stdin=b"one\n", answer=lambda _: "x" * 900)
    assert json.loads(run.out)["warnings"]
    assert all(isinstance(json.loads(line), dict) for line in run.err.splitlines())


def test_a_chat_shows_each_choice_once_and_counts_each_answer(llm):
    """A conversation is many answers on one backend."""
    run = llm("chat", "-v", "--stats", stdin=b"one\ntwo\n")
    assert run.err.count("scripted: no choice") == 1 and run.err.count("tokens in") == 2


def test_unknown_tokens_are_not_zero():
    """Known ones are a lower bound, and no rate is made of them."""
    unknown = replace(ONE, usage=UNKNOWN_USAGE)
    only, some = stats([unknown, unknown], WORK), stats([ONE, unknown], WORK)
    assert only.format_line().startswith("llm: tokens unknown, ")
    assert some.format_line().startswith("llm: at least 10 tokens in (4 reused), 2 out, ")
    assert only.tokens_per_second is some.tokens_per_second is None
    said = json.loads(some.to_json())["stats"]
    assert said["usage_is_known"] is False and said["completion_tokens"] == 2
    assert "usage_is_known" not in json.loads(stats([ONE], WORK).to_json())["stats"]


@pytest.mark.parametrize(
    ("work", "before", "words", "fields"),
    [
        (BackendStats(), BackendStats(), None, {}),
        (BackendStats(cost=0.5), BackendStats(), "cost 0.5000 EUR", {"cost": 0.5, "currency": "EUR"}),
        (BackendStats(cost=0.0), BackendStats(), "cost 0.00 EUR", {"cost": 0.0, "currency": "EUR"}),
        (
            BackendStats(cost=0.0, num_unknown_costs=1),
            BackendStats(),
            "cost unknown",
            {"cost": None, "known_cost": 0.0, "currency": "EUR"},
        ),
        (
            BackendStats(cost=0.5, num_unknown_costs=1),
            BackendStats(cost=0.25),
            "cost unknown (at least 0.2500 EUR)",
            {"cost": None, "known_cost": 0.25, "currency": "EUR"},
        ),
        (
            BackendStats(cost=0.5, num_unknown_costs=1),
            BackendStats(cost=0.25, num_unknown_costs=1),
            "cost 0.2500 EUR",
            {"cost": 0.25, "currency": "EUR"},
        ),
    ],
)
def test_an_unknown_cost_is_neither_zero_nor_missing(work, before, words, fields):
    """Nothing without a price; null, and what is known of it, where a server has not reported what it used."""
    taken = collect_stats(ONE.usage, ONE.timings, work, before=before, currency="" if work.cost is None else "EUR")
    assert [part for part in taken.format_line().split(", ") if "cost" in part] == ([words] if words else [])
    said = json.loads(taken.to_json())["stats"]
    assert {name: said[name] for name in ("cost", "known_cost", "currency") if name in said} == fields
