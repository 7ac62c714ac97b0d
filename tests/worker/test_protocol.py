"""Messages of the protocol are loaded as they were dumped."""

from __future__ import annotations

import inspect
import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli import errors
from llmcli.config.engine_options import EngineOptions
from llmcli.errors.incomplete_results import MissingPart
from llmcli.types import (
    UNKNOWN_USAGE,
    BackendInfo,
    BackendStats,
    CandidateScores,
    Finished,
    FinishReason,
    HiddenStates,
    Message,
    Phase,
    Priority,
    ReasoningDelta,
    RepetitionPolicy,
    Request,
    RequestProgress,
    Role,
    Sampling,
    Score,
    ServerStats,
    StateLayers,
    TextDelta,
    Timings,
    TokenLogprobs,
    ToolCall,
    Usage,
)
from llmcli.worker import protocol

texts = st.text(st.characters(), max_size=20)  # also lone surrogates: stdin may contain anything
requests = st.builds(
    Request,
    id=texts,
    messages=st.lists(st.builds(Message, st.sampled_from(Role), texts), min_size=1, max_size=3).map(tuple),
    candidates=st.lists(texts, max_size=2).map(tuple),
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0, 2),
        top_k=st.none() | st.integers(1, 100),
        min_p=st.none() | st.floats(0, 1),
        seed=st.none() | st.integers(0, 2**32 - 1),
    ),
    stop=st.lists(texts, max_size=2).map(tuple),
    max_tokens=st.none() | st.integers(1, 1000),
    schema=st.none() | st.dictionaries(texts, st.integers() | texts, max_size=2),
    grammar=st.none() | texts,
    priority=st.sampled_from(Priority),
    reasoning=st.booleans(),
    ignore_eos=st.booleans(),
    repetition=st.sampled_from(RepetitionPolicy),
    public_prefix=st.booleans(),
    logprobs=st.none() | st.integers(0, 5),
    hidden_states=st.booleans(),
    session=st.none() | st.just("0123456789abcdef" * 2),
    progress=st.booleans(),
    document_chars=st.integers(0, 1000),
    max_chars=st.none() | st.integers(1, 1000),
)


def over_the_wire(fields):
    """Return what the other side parses."""
    return protocol.decode_message(protocol.encode_message(x=fields))["x"]


@given(requests)
def test_requests(request):
    """Every field of every request."""
    assert protocol.load_request(over_the_wire(protocol.dump_request(request))) == request


def test_a_deadline_is_sent_in_seconds_from_now():
    """The clocks of two processes may differ."""
    request = Request("a", (), deadline=time.monotonic() + 100)
    fields = over_the_wire(protocol.dump_request(request))
    assert 99 < fields["deadline"] <= 100
    assert abs(protocol.load_request(fields).deadline - request.deadline) < 1


@pytest.mark.parametrize(
    "event",
    [
        TextDelta("a", "grün \ud800"),
        ReasoningDelta("a", "hm"),
        CandidateScores("a", (Score("x", -1.5, 2), Score("y", -math.inf, 1))),
        HiddenStates("a", b"\x00\x00\x80?\xff\x00\x00\x01", b""),
        HiddenStates("a", b"\x00\x00\x80?", b"\xff\x00\x00\x01", (3, 11)),
        CandidateScores("a", (Score("x y", -3.0, 2, (-1.0, -2.0), (1, 2)),)),
        TokenLogprobs("a", b"\xff\x00", -0.5, ((b"\xff\x00", -0.5), (b"b", -1.0))),
        RequestProgress("a", Phase.QUEUED, 0, 700, 3),
        RequestProgress("a", Phase.WRITING, 12),
        Finished("a", FinishReason.STOP),
        Finished("a", FinishReason.STOP, tool_calls=(ToolCall("1", "f", {"x": [1]}), ToolCall("2", "g", {}, "sig"))),
        Finished("a", FinishReason.LENGTH, Usage(1, 2, 3), Timings(0.1, 0.2, 3.0), None, "context"),
        Finished("a", FinishReason.ERROR, UNKNOWN_USAGE),
        Finished("a", FinishReason.STOP, Usage(1, 2, 3, is_known=False)),
    ],
)
def test_events(event):
    """Every kind of event."""
    assert protocol.load_event(over_the_wire(protocol.dump_event(event))) == event


def make_error(kind):
    """Return an error of a class, with something in each parameter of its constructor."""
    positional, named = [], {}
    for each in inspect.signature(kind).parameters.values():
        if each.kind == each.VAR_KEYWORD:
            named |= {"message": "m", "advice": ("a", "b"), "type_name": "t"}
            continue
        by_type = {
            "str": each.name,
            "str | tuple[str, ...]": ("a", "b"),
            "int": 7,
            "float": 1.5,
            "bool": True,
            "Sequence[str]": ["a", "b"],
            "tuple[str, ...]": ("a", "b"),
            "tuple[MissingPart, ...]": (MissingPart(1, 2, 1, 3, 0, "cut", "x.txt"),),
        }
        value = by_type[each.annotation.removesuffix(" | None")]
        if each.kind == each.KEYWORD_ONLY:
            named[each.name] = value
        else:
            positional.append(value)
    return kind(*positional, **named)


def test_errors(error_classes):
    """An error of any class keeps its class, its exit code and its data."""
    for kind in error_classes:
        error = make_error(kind)
        loaded = protocol.load_error(over_the_wire(protocol.dump_error(error)))
        assert type(loaded) is kind
        assert (vars(loaded), loaded.exit_code) == (vars(error), error.exit_code)


def test_the_own_texts_of_an_error_arrive():
    """An error that is its parent with texts of its own shows the same ones on the other side."""
    error = errors.TemporaryFailure(
        "farm", detail="gone", ends_job=True, message="{subject}: {detail}", advice=("Do:", "  this"), type_name="Own"
    )
    loaded = protocol.load_error(over_the_wire(protocol.dump_error(error)))
    assert vars(loaded) == vars(error) and loaded.ends_job and loaded.advice == ("Do:", "  this")


def test_an_error_of_another_kind_is_an_internal_one():
    """A bug in the worker is a bug."""
    loaded = protocol.load_error(over_the_wire(protocol.dump_error(ZeroDivisionError("oops"))))
    assert isinstance(loaded, errors.InternalError) and "oops" in loaded.detail


def test_an_error_of_an_unknown_class_is_an_internal_one():
    """A worker of another version may have more classes; a class that is not an error is never created."""
    for name in ("Newer", "Sequence", "__name__", 5):
        assert isinstance(protocol.load_error({"class": name, "subject": "s"}), errors.InternalError)


def test_options_info_and_work(tmp_path):
    """The rest."""
    options = EngineOptions(ctx=5, kv_type="q8_0", deterministic=True, cache=tmp_path, prefix_bytes=7, weights="bf16")
    assert protocol.load_options(over_the_wire(protocol.dump_options(options))) == options
    assert protocol.load_options({}) == EngineOptions()
    for layers in (None, StateLayers((5, 6), 7)):
        info = BackendInfo("m", "id", 8, scores=True, reasoning=True, layers=9, measured_layers=layers)
        assert protocol.load_info(over_the_wire(protocol.dump_info(info))) == info
    work = BackendStats(1, 2, 3, 4, 5.0, ("a", "b"), servers=(ServerStats("http://a", 3, 1, "busy"),))
    assert protocol.load_stats(over_the_wire(protocol.dump_stats(work))) == work


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b'"a"', b"{", b"\xff", json.dumps(5).encode()])
def test_an_invalid_message_is_a_value_error(text):
    """A reader has to handle only one exception."""
    with pytest.raises(ValueError):
        protocol.decode_message(text)
