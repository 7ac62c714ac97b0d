"""``deterministic`` gives the same answer alone, in any batch and with any reuse, on every kind of memory."""

from __future__ import annotations

import pytest

from engine.tools import Probe, answer, each_model, engine_of, numbers, one_by_one, req, texts, wild
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.errors import UsageError
from llmcli.types import Finished, Message, Priority, Role, Sampling, TextDelta

STARTS = ("hello world", "yes and no", "to the world it is " * 12, "is it in you? " * 5)


def sixteen(**fields):
    """Requests that begin alike in groups, with prompts of many lengths."""
    return [
        req(f"r{i}", STARTS[i % 4] + " it" * (i // 4) + f" {i // 8}", sampling=wild(i), max_tokens=6 + i % 7, **fields)
        for i in range(16)
    ]


@pytest.fixture(scope="module")
def alone(engines):
    """Return a function from a model's name to the answers of the sixteen requests one by one, evaluated once."""
    known = {}

    def get(name):
        if name not in known:
            known[name] = texts(one_by_one(engines(name, deterministic=True, threads=1), *sixteen()))
        return known[name]

    return get


@each_model
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_answers_as_its_requests_do_alone(engines, alone, name, threads):
    """Sixteen seeded requests in one batch give the same texts as each alone, with one thread and with two."""
    engine = engines(name, deterministic=True, threads=threads)
    assert texts(answer(engine, *sixteen())) == alone(name)


@each_model
def test_a_fresh_engine_answers_as_a_used_one(engines, alone, name):
    """Earlier evaluations and cached prefixes change no answer."""
    engine = engines(name, deterministic=True, threads=1)
    alone(name)
    again = texts(one_by_one(engine, *reversed(sixteen())))
    assert again == alone(name)


@pytest.mark.parametrize("threads", [1, 2])
@each_model
def test_requests_that_join_and_leave_change_no_answer(engines, alone, name, threads):
    """Requests that are submitted and cancelled meanwhile do not change the answers of others."""
    engine = engines(name, deterministic=True, threads=threads)
    waiting = sixteen()
    shown = {request.id: "" for request in waiting}
    open_ids = set(shown)
    with engine.open() as job:
        for request in waiting[:5]:
            job.submit(request)
        waiting = waiting[5:]
        job.submit(req("guest0", "the " * 60, sampling=wild(99), max_tokens=400))
        guests = 1
        for event in job:
            if isinstance(event, TextDelta) and event.id in shown:
                shown[event.id] += event.text
            if not isinstance(event, Finished):
                continue
            open_ids.discard(event.id)
            if waiting:
                job.submit(waiting.pop(0))
                job.cancel(f"guest{guests - 1}")
                job.submit(req(f"guest{guests}", "no " * guests * 9, sampling=wild(50), max_tokens=400))
                guests += 1
            elif not open_ids:
                job.cancel(f"guest{guests - 1}")
                job.close_input()
    assert shown == alone(name)


def conversation():
    """Requests that each continue the previous one."""
    turns = [Message(Role.SYSTEM, "be in the world " * 6)]
    requests = []
    for number in range(4):
        turns.append(Message(Role.USER, f"is it yes or no {number}"))
        requests.append(
            req(f"t{number}", messages=tuple(turns), sampling=wild(number), max_tokens=1 if number % 2 else 9)
        )
        turns.append(Message(Role.ASSISTANT, "yes and no"))
    return requests


@pytest.fixture(scope="module")
def without_reuse(tiny):
    """Return a function from a model's name to the answers of a conversation, each by a new engine."""
    known = {}

    def get(name):
        if name not in known:
            known[name] = {}
            for request in conversation():
                with engine_of(tiny(name), deterministic=True, threads=1) as engine:
                    known[name] |= texts(answer(engine, request))
        return known[name]

    return get


@pytest.mark.parametrize("threads", [1, 2])
@each_model
def test_a_growing_conversation_has_the_answers_of_a_new_one(engines, without_reuse, name, threads):
    """Turns that reuse cached states of earlier and later turns get the same answers as from new engines."""
    engine = engines(name, deterministic=True, threads=threads)
    with_reuse = one_by_one(engine, *conversation())
    assert with_reuse["t2"].cached > 0
    assert texts(with_reuse) == without_reuse(name)
    backwards = one_by_one(engine, *[req("x", "other"), *reversed(conversation())])
    del backwards["x"]
    assert texts(backwards) == without_reuse(name)


@each_model
def test_a_context_that_grows_in_mid_answer_changes_nothing(bench, monkeypatch, name):
    """Answers that outgrow the first context have the same logits as in a context that was large from the start."""
    prompts = [numbers(20, 1), numbers(20, 1)[:15] + numbers(60, 2), numbers(100, 3)]

    def rows(first_answer, threads):
        monkeypatch.setattr("llmcli.engine.kv.layouts.FIRST_ANSWER_TOKENS", first_answer)
        exact = {"unified": False, "kv_type": "q8_0", "threads": ThreadPolicy(threads, fixed=True)}
        scheduler = bench(name, **exact)
        probes = [Probe(f"p{i}", prompt, numbers(260, 9)) for i, prompt in enumerate(prompts)]
        scheduler.add(*probes)
        scheduler.step()
        first_cells = scheduler.kv_cache.context.config.cells
        scheduler.run()
        return first_cells, [row.tobytes() for probe in probes for row in probe.rows]

    small, large = rows(8, threads=2), rows(400, threads=1)
    assert small[0] == 256 < large[0]
    assert small[1] == large[1]


def test_deterministic_with_f16_is_refused(engines):
    """An f16 cache cannot be exact, so requesting both is a usage error, not a silent difference."""
    with pytest.raises(UsageError):
        engines("llama", deterministic=True, kv_type="f16").info()


def test_bf16_is_exact_too(engines):
    """The other supported cache type keeps the promise."""
    engine = engines("chatml", deterministic=True, kv_type="bf16", threads=1)
    assert texts(answer(engine, *sixteen())) == texts(one_by_one(engine, *sixteen()))


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 2, 2**32 - 1])
def test_a_seed_gives_the_same_text_again(engines, seed):
    """Every seed of the range, including its ends, fixes the answer."""
    engine = engines("chatml", deterministic=True, threads=1)
    first, second = (answer(engine, req("a", sampling=wild(seed), max_tokens=20))["a"].text for _ in range(2))
    assert first == second


def test_seeds_differ(engines):
    """Different seeds, and no seed at all, give different answers."""
    engine = engines("chatml")
    requests = [req(f"s{i}", sampling=wild(i), max_tokens=20) for i in range(4)]
    requests += [req(f"n{i}", sampling=Sampling(0.9, None, None, None), max_tokens=20) for i in range(4)]
    assert len(set(texts(answer(engine, *requests)).values())) == 8


def test_a_priority_changes_no_answer(engines, alone):
    """The order of requests does not change their answers."""
    engine = engines("llama", deterministic=True, threads=1)
    mixed = [
        req(**{**fields(r), "priority": Priority.INTERACTIVE if i % 3 else Priority.BULK})
        for i, r in enumerate(sixteen())
    ]
    assert texts(answer(engine, *mixed)) == alone("llama")


def fields(request):
    return {
        "name": request.id,
        "messages": request.messages,
        "sampling": request.sampling,
        "max_tokens": request.max_tokens,
    }
