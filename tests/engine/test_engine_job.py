"""Jobs of an engine: cancelling, deadlines, limits, threads, errors; the engine continues after each."""

from __future__ import annotations

import re
import threading

import pytest

from engine.tools import answer, collect, each_model, engine_of, only_scheduler_thread, req, texts, wild
from llmcli.backends.base import run_requests
from llmcli.engine.llama.context import Context
from llmcli.errors import (
    BadModelFile,
    ContextOverflow,
    InputError,
    InternalError,
    Interrupted,
    MissingError,
    OutOfMemory,
    UsageError,
)
from llmcli.types import Finished, FinishReason, Message, Role, Sampling, TextDelta

LONG = "to the world it is hello " * 250
EXACT = {"deterministic": True, "threads": 1}


def endless(name, text="hello", **fields):
    return req(name, text, max_tokens=None, sampling=wild(3), **fields)


@pytest.fixture
def engine(engines):
    return engines("chatml", **EXACT)


def test_max_tokens_ends_an_answer_with_its_name(engines):
    """An answer that reaches ``max_tokens`` ends with that limit's name."""
    outcome = answer(engines("chatml"), req("a", max_tokens=3, sampling=wild(1)))["a"]
    assert (outcome.reason, outcome.finished.limit) == (FinishReason.LENGTH, "max_tokens")
    assert outcome.finished.usage.completion_tokens == 3


@each_model
def test_the_context_ends_an_answer_with_its_name(tiny, name):
    """An answer that fills the context ends with that limit's name; prompt and answer fill it exactly."""
    with engine_of(tiny(name), ctx=128) as engine:
        for most in (None, 5000):
            outcome = answer(engine, req("a", "hello " * 9, max_tokens=most, sampling=wild(4)))["a"]
            usage = outcome.finished.usage
            if outcome.reason is FinishReason.LENGTH:
                assert outcome.finished.limit == "context"
                assert usage.prompt_tokens + usage.completion_tokens == 128
            else:
                assert usage.prompt_tokens + usage.completion_tokens <= 128


def test_a_prompt_larger_than_the_context_is_refused_with_figures(tiny):
    """The overflow names the length of the prompt and the limit; the next request is answered."""
    with engine_of(tiny("chatml"), ctx=64) as engine:
        outcomes = answer(engine, req("long", "x" * 200), req("short"))
        error = outcomes["long"].error
        assert isinstance(error, ContextOverflow)
        assert (error.context, error.tokens) == (64, engine.count([req("long", "x" * 200)])[0][0])
        assert outcomes["short"].error is None


def test_a_prompt_that_fills_the_context_exactly_is_refused(tiny):
    """At least one token of answer must fit."""
    with engine_of(tiny("chatml"), ctx=64) as engine:
        length = engine.count([req("a", "x")])[0][0]
        fits, too_long = req("f", "x" * (64 - length)), req("t", "x" * (65 - length))
        assert engine.count([fits, too_long]) == ([63, 64], True)
        outcomes = answer(engine, fits, too_long)
    assert outcomes["f"].error is None
    assert isinstance(outcomes["t"].error, ContextOverflow)


def test_more_context_than_the_model_has_is_a_usage_error(tiny):
    """``--ctx`` beyond the model's context is refused before anything runs."""
    with engine_of(tiny("chatml"), ctx=8193) as engine, pytest.raises(UsageError, match="8193"):
        engine.info()


def test_info_has_the_context_and_the_identity(tiny):
    """The engine reports its options and the facts of the file."""
    with engine_of(tiny("chatml")) as engine:
        info = engine.info()
    assert (info.model, info.model_id, info.context, info.scores, info.reasoning) == (
        "tiny",
        "tiny-id",
        8192,
        True,
        False,
    )


def test_counts_are_those_of_the_prompts(engine):
    """``count`` returns exactly what ``usage`` reports later."""
    requests = [req(f"r{i}", "hello " * i) for i in range(1, 6)]
    counts, exact = engine.count(requests)
    outcomes = answer(engine, *requests)
    assert exact
    assert counts == [outcomes[r.id].finished.usage.prompt_tokens for r in requests]


def test_cancelling_while_an_answer_is_written_keeps_what_was_written(engine):
    """A cancelled request ends with its partial text; another one is answered as if alone."""
    other = req("other", "yes", max_tokens=30, sampling=wild(7))
    alone = answer(engine, other)["other"].text
    events = []
    with engine.open() as job:
        job.submit(endless("victim"))
        job.submit(other)
        job.close_input()
        for event in job:
            events.append(event)
            if event.id == "victim" and isinstance(event, TextDelta):
                job.cancel("victim")
    outcomes = collect(events)
    assert outcomes["victim"].reason is FinishReason.CANCELLED
    assert outcomes["victim"].text
    assert outcomes["other"].text == alone


@each_model
def test_cancelling_in_the_middle_of_a_prompt(engines, monkeypatch, name):
    """A request is cancelled while its long prompt is evaluated; the others' answers stay the same.

    The evaluation is aborted if the others only lose their tokens of it.
    """
    engine = engines(name, **EXACT)
    others = [req(f"o{i}", f"yes {i}", max_tokens=20, sampling=wild(i)) for i in range(4)]
    alone = texts(answer(engine, *others))
    evaluate, codes = Context.evaluate, []

    def cancelling(context, **how):
        if context.batch.size > 64 and len([code for code in codes if code == 0]) > 1:
            job.cancel("victim")
        codes.append(evaluate(context, **how))
        return codes[-1]

    monkeypatch.setattr(Context, "evaluate", cancelling)
    with engine.open() as job:
        for request in others[:2]:
            job.submit(request)
        job.submit(endless("victim", LONG))
        for request in others[2:]:
            job.submit(request)
        job.close_input()
        outcomes = collect(job)
    assert (2 in codes) == only_scheduler_thread(engine).scheduler.can_roll_back
    assert outcomes.pop("victim").reason is FinishReason.CANCELLED
    assert texts(outcomes) == alone


def test_cancelling_unknown_or_finished_requests_is_ignored(engine):
    """Unknown ids and ids of finished requests may be cancelled at any time."""
    with engine.open() as job:
        job.submit(req("a"))
        job.cancel("nobody")
        job.close_input()
        outcomes = collect(job)
        job.cancel("a")
    assert outcomes["a"].error is None


def test_a_passed_deadline_ends_a_request_with_its_partial_text(engines, monkeypatch):
    """After its deadline a request ends with ``timeout`` and keeps the text so far."""
    now = {"value": 1000.0}
    monkeypatch.setattr("llmcli.engine.schedule.scheduler.time.monotonic", lambda: now["value"])
    with engines("llama").open() as job:
        job.submit(endless("a", deadline=1001.0))
        job.close_input()
        events = []
        for event in job:
            events.append(event)
            now["value"] = 1002.0
    outcome = collect(events)["a"]
    assert outcome.reason is FinishReason.TIMEOUT
    assert outcome.text


def test_leaving_the_block_cancels_the_rest(engine):
    """After a job's block nothing of it runs any more."""
    with engine.open() as job:
        for i in range(20):
            job.submit(endless(f"e{i}"))
        next(iter(job))
    ended: set[str] = set()
    while len(ended) < 20:
        event = job._items.get(timeout=60)
        if isinstance(event, Finished):
            assert event.reason is FinishReason.CANCELLED
            ended.add(event.id)
    assert answer(engine, req("a"))["a"].error is None


def test_closing_the_iterator_cancels_the_rest(engine):
    """``run`` cancels the rest when its iterator is closed early."""
    events = run_requests(engine, [endless(f"e{i}") for i in range(18)])
    next(events)
    events.close()
    assert answer(engine, req("a"))["a"].error is None


def test_requests_may_come_from_another_thread_while_events_are_read(engine):
    """A job takes requests from any thread until its input is closed."""
    with engine.open() as job:

        def submit():
            for i in range(30):
                job.submit(req(f"r{i}", f"yes {i}", max_tokens=3))
            job.close_input()

        thread = threading.Thread(target=submit)
        thread.start()
        outcomes = collect(job)
        thread.join()
    assert set(outcomes) == {f"r{i}" for i in range(30)}


def test_jobs_of_several_threads_are_separate(engine):
    """Each job gets the events of its own requests, even if their ids are the same."""
    alone = [answer(engine, req("same", f"yes {i}", sampling=wild(i)))["same"].text for i in range(4)]
    found: dict[int, str] = {}

    def work(i):
        found[i] = answer(engine, req("same", f"yes {i}", sampling=wild(i)))["same"].text

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(4)] == alone


def test_a_slow_consumer_delays_only_its_own_job(engine, monkeypatch):
    """While one job's events pile up unread, another job is answered; then the first continues."""
    monkeypatch.setattr("llmcli.engine.engine.MAX_QUEUED_EVENTS", 3)
    with engine.open() as lazy:
        for i in range(20):
            lazy.submit(req(f"l{i}", f"yes {i}", max_tokens=25, sampling=wild(i)))
        lazy.close_input()
        other = answer(engine, *[req(f"o{i}", f"no {i}", max_tokens=10) for i in range(18)])
        outcomes = collect(lazy)
    assert all(outcome.error is None for outcome in other.values())
    assert len(outcomes) == 20
    monkeypatch.undo()
    again = answer(engine, *[req(f"l{i}", f"yes {i}", max_tokens=25, sampling=wild(i)) for i in range(20)])
    assert texts(outcomes) == texts(again)


def test_the_same_id_twice_is_a_bug(engine):
    """Two open requests of one job cannot have the same id."""
    with engine.open() as job:
        job.submit(endless("a"))
        with pytest.raises(InternalError):
            job.submit(endless("a"))


def test_a_request_after_close_input_is_a_bug(engine):
    """A request after ``close_input`` is a bug, not an endless wait."""
    with engine.open() as job:
        job.close_input()
        with pytest.raises(InternalError):
            job.submit(req("a"))


def test_an_interrupt_ends_iteration(tiny):
    """The reader of the events raises the user's signal."""
    reason = {"error": None}
    with engine_of(tiny("chatml"), stop=lambda: reason["error"]) as engine, engine.open() as job:
        job.submit(endless("a"))
        next(iter(job))
        reason["error"] = Interrupted()
        with pytest.raises(Interrupted):
            list(job)


def test_an_interrupt_while_loading_is_raised(tiny):
    """A caller that waits for the model to load raises it too."""
    with engine_of(tiny("chatml"), stop=Interrupted) as engine:
        with pytest.raises(Interrupted):
            engine.info()
        engine._loaded.wait()
        with pytest.raises(Interrupted):
            engine.info()


def test_closing_the_engine_ends_open_requests_with_an_error(tiny):
    """Requests that run or come later get an error instead of waiting."""
    with engine_of(tiny("chatml")) as engine:
        running, late = engine.open(), engine.open()
        for i in range(40):
            running.submit(endless(f"r{i}"))
        engine.close()
        late.submit(req("late"))
        for job in (running, late):
            job.close_input()
            assert all(isinstance(outcome.error, InternalError) for outcome in collect(job).values())


@pytest.mark.parametrize("sampling", [Sampling(0), Sampling(0.9, None, None, None, seed=3), Sampling(2.0, seed=5)])
@pytest.mark.parametrize("name", ["llama", "chatml"])
def test_an_answer_follows_a_json_schema(engines, name, sampling):
    """With greedy or random sampling, the answer of an untrained model parses and matches the schema."""
    import json

    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["yes", "no", "é"]}, "n": {"type": "boolean"}},
        "required": ["a", "n"],
        "additionalProperties": False,
    }
    outcome = answer(engines(name), req("j", schema=schema, sampling=sampling, max_tokens=80))["j"]
    assert outcome.reason is FinishReason.STOP
    found = json.loads(outcome.text)
    assert found["a"] in {"yes", "no", "é"}
    assert isinstance(found["n"], bool)


@pytest.mark.parametrize(
    "text", [{"maxLength": 60}, {"pattern": "^.{1,40}$"}, {"pattern": "^[^a-z]{1,40}$"}, {"pattern": "^[^-ab-]{1,40}$"}]
)
def test_strings_in_json_are_valid(engines, text):
    """Whatever the model prefers, there are no raw line ends, quotation marks or other control characters."""
    import json

    schema = {"type": "object", "properties": {"s": {"type": "string", **text}}, "required": ["s"]}
    schema["additionalProperties"] = False
    requests = [req(f"t{i}", schema=schema, sampling=wild(i, 3.0), max_tokens=400) for i in range(16)]
    for outcome in answer(engines("chatml"), *requests).values():
        assert outcome.reason is FinishReason.STOP
        value = json.loads(outcome.text)["s"]
        assert re.search(text.get("pattern", "").replace("{1,40}", "+"), value)  # invalid UTF-8 counts as more


@pytest.mark.parametrize(
    "value",
    ['a quote: "', "a back\\slash", "two\nlines", "tab\t", "é", "\N{GRINNING FACE}", "\x01", "\ud800", "[a]{3}", ""],
)
def test_a_schema_may_contain_any_characters(engines, value):
    """Also names of properties; a lone surrogate, which UTF-8 cannot encode, becomes a question mark."""
    import json

    schema = {
        "type": "object",
        "properties": {value + "!": {"enum": [value]}, "c": {"const": value}},
        "required": [value + "!", "c"],
        "additionalProperties": False,
    }
    outcome = answer(engines("chatml"), req("v", schema=schema, sampling=wild(1, 3.0), max_tokens=200))["v"]
    value = value.replace("\ud800", "?")
    assert json.loads(outcome.text) == {value + "!": value, "c": value}


def test_an_answer_follows_a_grammar(engines):
    """A grammar allows exactly its sentences."""
    grammar = 'start: ("one" | "two") " " /[0-9]{2}/'
    requests = [req(f"g{i}", grammar=grammar, sampling=wild(i, 3.0), max_tokens=40) for i in range(8)]
    for outcome in answer(engines("chatml"), *requests).values():
        word, digits = outcome.text.split(" ")
        assert word in {"one", "two"}
        assert len(digits) == 2 and digits.isdigit()


def test_an_answer_is_one_of_the_labels(engines):
    """Exactly, whatever the labels contain."""
    labels = ("good", 'so "so"', "back\\slash é")
    requests = [req(f"l{i}", labels=labels, sampling=wild(i, 3.0), max_tokens=40) for i in range(8)]
    said = {outcome.text for outcome in answer(engines("chatml"), *requests).values()}
    assert said <= set(labels) and len(said) > 1


@pytest.mark.parametrize(
    "fields",
    [
        {"grammar": ""},
        {"grammar": "  \n"},
        {"grammar": "start: ("},
        {"grammar": 'root: "a"'},
        {"grammar": "start: other"},
        {"grammar": 'start: start "a"'},
        {"grammar": 'start: "a" <|im_end|>'},
        {"schema": {"type": "no such type"}},
        {"schema": {"$ref": "#/nowhere"}},
    ],
    ids=lambda fields: next(iter(fields.values())) if "grammar" in fields else "schema",
)
def test_a_bad_grammar_fails_only_its_own_request(engines, fields):
    """The request with the bad grammar ends with ``InputError``; another one and the next are answered."""
    outcomes = answer(engines("chatml"), req("bad", **fields), req("good"))
    assert isinstance(outcomes["bad"].error, InputError)
    assert outcomes["good"].error is None
    assert answer(engines("chatml"), req("next"))["next"].error is None


ENDS = [
    {"top_k": 1},
    {"top_k": 2**31 - 1},
    {"top_p": 1.0},
    {"top_p": 1e-9},
    {"min_p": 0.0},
    {"min_p": 1.0},
    {"repeat_penalty": 1e-6},
    {"repeat_penalty": 100.0},
    {"frequency_penalty": -2.0, "presence_penalty": 2.0},
    {"temperature": 1e-6},
    {"temperature": 1e6},
    {"temperature": 0, "repeat_penalty": 1.5},
    {"top_k": None, "top_p": None, "min_p": None},
    {"seed": 2**32 - 1},
]


@pytest.mark.parametrize("ends", ENDS, ids=str)
def test_sampling_options_at_the_ends_of_their_ranges_work(engines, ends):
    """No value of a documented range fails, and each gives the same answer again for a seed."""
    sampling = Sampling(**{"temperature": 0.9, "seed": 11, **ends})
    engine = engines("chatml", **EXACT)
    first, second = (answer(engine, req("a", sampling=sampling, max_tokens=12))["a"] for _ in range(2))
    assert first.error is None
    assert first.text == second.text


def test_filters_that_leave_one_token_are_greedy(engines):
    """``top_k`` 1, a tiny ``top_p`` and a ``min_p`` of 1 leave only the most likely token."""
    engine = engines("chatml", **EXACT)
    greedy = answer(engine, req("a", max_tokens=12))["a"].text
    for one in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):
        sampling = Sampling(**{"temperature": 0.9, "top_k": None, "top_p": None, "min_p": None, "seed": 4, **one})
        assert answer(engine, req("a", sampling=sampling, max_tokens=12))["a"].text == greedy


def test_a_stop_string_ends_an_answer_before_it(engines):
    """The answer equals the text before the stop string in the answer without it, however tokens split it."""
    engine = engines("chatml", **EXACT)
    full = answer(engine, req("a", sampling=wild(2), max_tokens=60))["a"].text
    for start in range(5, len(full) - 4, 9):
        stop = full[start : start + 3]
        outcome = answer(engine, req("a", sampling=wild(2), max_tokens=60, stop=(stop, "never in it")))["a"]
        assert outcome.text == full[: full.index(stop)]
        assert outcome.reason is FinishReason.STOP and outcome.finished.stop_string == stop


def test_reasoning_tokens_are_counted(tiny):
    """All of an answer that ends inside its reasoning; none of an answer without reasoning."""
    with engine_of(tiny("chatml")) as engine:
        engine.info()
        template = engine._setup.template
        opening = "{% if enable_thinking %}<think>{% endif %}"
        template.source, template.reasoning_tags = "{{ messages[0].content }}" + opening, ("<think>", "</think>")
        for reasoning, expected in ((False, 0), (True, 8)):
            fields = {"sampling": wild(2), "max_tokens": 8, "ignore_eos": True, "reasoning": reasoning}
            outcome = answer(engine, req("a", **fields))["a"]
            assert bool(outcome.reasoning) is reasoning and outcome.finished.reasoning_tokens == expected


def test_an_empty_prompt_is_a_usage_error(tiny):
    """If template and messages have no tokens, there is nothing to continue."""
    with engine_of(tiny("chatml")) as engine:
        engine.info()
        engine._setup.template.source = ""
        assert isinstance(answer(engine, req("a"))["a"].error, UsageError)
        assert isinstance(answer(engine, req("a", candidates=("a", "b")))["a"].error, UsageError)


def test_a_file_that_is_not_a_model_is_refused(tmp_path):
    """The first call and every later one report a text file instead of a GGUF file."""
    path = tmp_path / "text.gguf"
    path.write_text("this is not a model")
    with engine_of(path) as engine:
        for _ in range(2):
            with pytest.raises(BadModelFile):
                engine.info()
        with engine.open() as job, pytest.raises(BadModelFile):
            job.submit(req("a"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_a_truncated_file_is_refused(tiny, tmp_path, share):
    """An incomplete download is a bad model file."""
    whole = tiny("chatml").read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(len(whole) * share)])
    with engine_of(path) as engine, pytest.raises(BadModelFile):
        engine.info()


def test_an_embedding_model_is_refused(tiny):
    """A model that cannot generate text is a bad model file, and the error says why."""
    with engine_of(tiny("bert")) as engine, pytest.raises(BadModelFile, match="embedding"):
        engine.info()


def test_a_missing_file_is_missing(tmp_path):
    """A path without a file is not a broken model."""
    with engine_of(tmp_path / "none.gguf") as engine, pytest.raises(MissingError):
        engine.info()


@pytest.mark.parametrize("options", [{}, EXACT], ids=["default", "exact"])
def test_out_of_memory_ends_the_request_and_not_the_engine(tiny, monkeypatch, options):
    """A context that does not fit the memory is never allocated; the next request works once there is room."""
    with engine_of(tiny("chatml"), **options) as engine:
        engine.info()
        monkeypatch.setattr("llmcli.engine.llama.hardware.available_memory", lambda: 1000)
        error = answer(engine, req("a"))["a"].error
        assert isinstance(error, OutOfMemory)
        assert error.needed > error.available == 1000
        monkeypatch.undo()
        assert answer(engine, req("a"))["a"].error is None


def test_the_memory_of_a_refused_model_is_freed(tiny, monkeypatch):
    """A model that was loaded and then refused does not stay in memory."""
    closed = []
    monkeypatch.setattr("llmcli.engine.llama.model.Model.close", lambda self: closed.append(self.path))
    with engine_of(tiny("chatml"), ctx=10**6) as engine, pytest.raises(UsageError):
        engine.info()
    assert closed == [tiny("chatml")]


def test_roles_reach_the_template_unchanged(engine):
    """System, user and assistant messages give different prompts."""
    lengths = engine.count([req("a", messages=(Message(role, "x"),)) for role in Role])[0]
    assert len(set(lengths)) > 1
