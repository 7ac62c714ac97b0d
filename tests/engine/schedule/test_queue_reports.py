"""Progress of a request that asks for it: its queue position, prompt tokens evaluated, tokens generated."""

from __future__ import annotations

import pytest
from engine.tools import Probe, engine_of, numbers, req

from llmcli.backends.base import run_requests
from llmcli.engine.llama.model import SharedModel
from llmcli.engine.llama.weights_file import WeightsSource
from llmcli.engine.schedule import scheduler
from llmcli.engine.sequences import sequence
from llmcli.types import Phase, Priority, RequestProgress, TextDelta

LONG = "to the world it is hello " * 250


@pytest.fixture
def always(monkeypatch):
    """Make every step report, however short it is."""
    monkeypatch.setattr(sequence, "REPORT_INTERVAL_S", 0.0)
    monkeypatch.setattr(scheduler, "REPORT_INTERVAL_S", 0.0)


def told(probe):
    return [event for event in probe.sink.events if isinstance(event, RequestProgress)]


def test_a_long_prompt_is_reported_in_steps(engines, always):
    """``done`` grows batch by batch up to ``total``, the length of the prompt; then generated tokens are counted."""
    events = list(
        run_requests(
            engines("chatml", ctx=4096), [req("a", f"once more {LONG}", progress=True, max_tokens=5, ignore_eos=True)]
        )
    )
    reading = [e for e in events if isinstance(e, RequestProgress) and e.phase is Phase.READING]
    length = events[-1].usage.prompt_tokens
    done = [event.done for event in reading]
    assert length > 1024 and len(done) >= 3 and done == sorted(set(done)) and done[-1] == length
    assert {event.total for event in reading} == {length}
    writing = [e.done for e in events if isinstance(e, RequestProgress) and e.phase is Phase.WRITING]
    assert writing == [1, 2, 3, 4]


def test_the_prompt_is_reported_before_the_answer(engines, always):
    """The last report on the prompt comes before the first piece of the answer."""
    events = list(run_requests(engines("chatml", ctx=4096), [req("a", LONG, progress=True, ignore_eos=True)]))
    first = next(at for at, event in enumerate(events) if isinstance(event, TextDelta))
    assert not any(isinstance(e, RequestProgress) and e.phase is Phase.READING for e in events[first:])


def test_only_requests_that_ask_get_reports(engines, always):
    """Requests without ``progress`` yield the same events as before."""
    events = list(run_requests(engines("chatml", ctx=4096), [req("a", LONG), req("b", candidates=("hello", "world"))]))
    assert not any(isinstance(event, RequestProgress) for event in events)


def test_reports_within_a_phase_are_rare(engines, monkeypatch):
    """Within the interval each phase has one report, plus the one for the end of the prompt."""
    monkeypatch.setattr(sequence, "REPORT_INTERVAL_S", 3600.0)
    events = list(run_requests(engines("chatml", ctx=4096), [req("a", LONG, progress=True, ignore_eos=True)]))
    phases = [event.phase for event in events if isinstance(event, RequestProgress)]
    assert phases == [Phase.QUEUED, Phase.READING, Phase.READING, Phase.WRITING]


def test_a_scored_request_reports_its_prompt(engines, always):
    """The forks for its candidates are not reported."""
    request = req("a", LONG, candidates=("hello world", "world hello it is"), progress=True)
    events = [e for e in run_requests(engines("chatml", ctx=4096), [request]) if isinstance(e, RequestProgress)]
    assert {event.phase for event in events} == {Phase.QUEUED, Phase.READING}
    assert events[-1].done == events[-1].total and len({event.total for event in events}) == 1


def test_waiting_requests_learn_their_position(bench, always):
    """Interactive requests come before bulk ones; a request that moves up is told; running ones do not count."""
    one = bench("llama", sequences=1)
    probes = [Probe(name, numbers(20, salt), [5], progress=True) for salt, name in enumerate("abc")]
    first = Probe("now", numbers(20, 9), [5], progress=True, priority=Priority.INTERACTIVE)
    one.add(*probes)
    one.step()
    one.add(first)
    one.run(steps=500)
    queued = {p.request.id: [e.ahead for e in told(p) if e.phase is Phase.QUEUED] for p in (*probes, first)}
    assert queued["now"][0] == 0 and queued["b"][0] == 1 and queued["c"][0] == 2
    assert {event.total for event in told(probes[2])} == {None, 20}
    assert [event.phase for event in told(first)] == [Phase.QUEUED, *[Phase.READING] * 2, Phase.WRITING]


def test_only_the_first_request_of_a_client_is_told_again(bench, always):
    """With a thousand requests of one client, one report a round is enough."""
    one = bench("llama", sequences=1)
    probes = [Probe(f"r{number}", numbers(20, number), [5], progress=True) for number in range(6)]
    for probe in probes[1:]:
        probe.sink = probes[0].sink
    one.run(*probes)
    last = [event.ahead for event in told(probes[0]) if event.phase is Phase.QUEUED and event.id == "r5"]
    assert last[0] == 5 and set(last[1:]) <= {0}


def test_loading_reports_its_progress(tiny):
    """The loaded fraction grows up to 1; a second engine on the same weights loads nothing."""
    shares = []
    weights = SharedModel(WeightsSource(tiny("llama")), 0)
    weights.load(lambda: True, shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 == weights.loaded_fraction
    count = len(shares)
    weights.load(lambda: True, shares.append)
    assert len(shares) == count
    weights.close()


def test_a_ready_engine_reports_no_loading(tiny):
    """``loading`` is None once requests are answered."""
    with engine_of(tiny("llama")) as engine:
        engine.info()
        assert engine.loading_progress is None
