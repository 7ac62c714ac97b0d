"""Fields of requests in OpenAI's protocol: values in range are accepted, all others refused by name."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.openai_api.fields import FieldError, Fields, load_json, parse_body
from llmcli.openai_api.requests import parse_chat as _parse_chat
from llmcli.openai_api.requests import parse_count as _count_wish
from llmcli.openai_api.scoring import parse_score as _parse_score
from llmcli.types import Message, Role, Sampling

HELLO = [{"role": "user", "content": "hello"}]
BAD = [
    ("messages", None), ("messages", []), ("messages", "hello"), ("messages", [5]), ("messages", [{"role": "user"}]),
    ("messages", [{"role": "robot", "content": "x"}]), ("messages", [{"role": ["user"], "content": "x"}]),
    ("messages", [{"role": "user", "content": 5}]),
    ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
    ("temperature", -1), ("temperature", 2.1), ("temperature", "1"), ("temperature", float("nan")),
    ("temperature", True), ("temperature", 10**400), ("top_p", 0), ("top_p", 1.1), ("top_p", -1), ("top_k", 0),
    ("top_k", -5), ("top_k", 1.5), ("top_k", 10**40), ("min_p", -0.1), ("min_p", 2), ("max_tokens", 0),
    ("max_tokens", -1), ("max_tokens", 2**31), ("max_tokens", "5"), ("max_completion_tokens", 0), ("n", 0), ("n", 17),
    ("n", []), ("seed", -1), ("seed", 2**32), ("seed", 0.5), ("stop", 5), ("stop", [""]), ("stop", ["a"] * 17),
    ("stop", [5]), ("stream", "yes"), ("stream", 1), ("logprobs", 5), ("top_logprobs", 5), ("frequency_penalty", 3),
    ("presence_penalty", -3), ("repeat_penalty", 0), ("repeat_penalty", 11), ("response_format", "json"),
    ("response_format", {"type": "xml"}), ("response_format", {"type": "json_schema"}),
    ("response_format", {"type": "json_schema", "json_schema": {"schema": 5}}), ("model", 5), ("logit_bias", {"5": 1}),
    ("chat_template_kwargs", 5), ("chat_template_kwargs", {"enable_thinking": "yes"}),
    ("chat_template_kwargs", {"custom": True}),
    ("functions", [{}]), ("stream_options", 5), ("unheard_of", 1), ("stream_options", {"include_usage": True}),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "more": 1}}),
    ("response_format", {"type": "json_object", "schema": {}}), ("response_format", {"type": []}),
    ("tools", [{"type": "function", "function": {"name": "f", "more": 1}}]),
    ("tools", [{"type": "function", "function": {"name": "f"}, "more": 1}]),
    ("user", 5), ("metadata", "x"), ("store", True), ("store", 1), ("service_tier", "priority"), ("service_tier", []),
    ("messages", [{"role": "user", "content": "x", "name": "Bob"}]),
    ("messages", [{"role": "user", "content": "x", "tool_calls": [1]}]),
    ("messages", [{"role": "user", "content": [{"type": "text", "text": "x", "more": 1}]}]),
    ("messages", [{"role": "assistant", "content": "x", "refusal": "no"}]),
    ("messages", [{"role": "tool", "content": "x", "tool_call_id": "zz"}]),
    ("messages", [{"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "function": {"name": "f"}}]}]),
]  # fmt: skip


@all_rows(("name", "value"), BAD)
def test_a_value_out_of_range_is_refused_by_name(name, value):
    """No value is reinterpreted or ignored."""
    with pytest.raises(FieldError) as caught:
        parse_body(_parse_chat, {"messages": HELLO, name: value})
    assert caught.value.param is not None and caught.value.param.startswith(name)


@pytest.mark.parametrize(
    "options", [{"include_usage": 1}, {"include_usage": "yes"}, {"unheard_of": 1}, {"include_obfuscation": True}]
)
def test_options_of_a_stream_are_read_strictly(options):
    """Like all fields."""
    with pytest.raises(FieldError) as caught:
        parse_body(_parse_chat, {"messages": HELLO, "stream": True, "stream_options": options})
    assert caught.value.param == f"stream_options.{next(iter(options))}"


def test_an_answer_may_be_sent_back_unchanged():
    """With all the fields that clients keep, and the result of its call."""
    call = {"id": "c", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"a": 1}'}}
    answer = {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None, "tool_calls": [call],
              "reasoning_content": "hm", "function_call": None}  # fmt: skip
    result = {"role": "tool", "tool_call_id": "c", "name": "f", "content": "3"}
    parsed = parse_body(_parse_chat, {"messages": [*HELLO, answer, result]})
    assert (
        parsed.base_request.messages[1].tool_calls[0].arguments == {"a": 1}
        and parsed.base_request.messages[2].tool_call_id == "c"
    )


@pytest.mark.parametrize("body", [None, [], 5, "x"])
def test_a_body_is_an_object(body):
    """Other JSON is refused."""
    with pytest.raises(FieldError):
        parse_body(_parse_chat, body)


def test_defaults_are_those_of_the_protocol():
    """Temperature 1; the filters are ours, which make sampling fast."""
    parsed = parse_body(_parse_chat, {"messages": HELLO})
    assert parsed.base_request.messages == (Message(Role.USER, "hello"),)
    assert parsed.base_request.sampling == Sampling(temperature=1.0)
    assert (
        parsed.num_choices,
        parsed.stream,
        parsed.include_usage,
        parsed.base_request.max_tokens,
        parsed.base_request.logprobs,
    ) == (
        1,
        False,
        False,
        None,
        None,
    )


def test_all_fields_together():
    """Each has its place."""
    body = {
        "model": "m", "messages": [{"role": "developer", "content": "be"}, {"role": "assistant", "content": "so"},
                                   {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        "temperature": 0, "top_p": 1, "top_k": 5.0, "min_p": 0, "seed": 2**32 - 1, "stop": "end", "n": 16,
        "max_tokens": 9, "max_completion_tokens": 7, "stream": True, "stream_options": {"include_usage": True},
        "logprobs": True, "top_logprobs": 20, "frequency_penalty": -2, "presence_penalty": 2, "repeat_penalty": 1.1,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        "user": "me", "metadata": {"a": 1}, "store": False, "logit_bias": None,
    }  # fmt: skip
    parsed = parse_body(_parse_chat, body)
    assert [message.role for message in parsed.base_request.messages] == [Role.SYSTEM, Role.ASSISTANT, Role.USER]
    assert parsed.base_request.messages[-1].content == "ab"
    assert parsed.base_request.sampling == Sampling(0.0, 5, 1.0, 0.0, 1.1, -2.0, 2.0, 2**32 - 1)
    assert (parsed.base_request.stop, parsed.base_request.max_tokens, parsed.base_request.logprobs) == (("end",), 7, 20)
    assert (parsed.model, parsed.num_choices, parsed.stream, parsed.include_usage) == ("m", 16, True, True)
    assert parsed.base_request.schema == {"type": "object"}


def test_json_object_is_any_object():
    """The older way to ask for JSON."""
    assert parse_body(
        _parse_chat, {"messages": HELLO, "response_format": {"type": "json_object"}}
    ).base_request.schema == {"type": "object"}
    assert parse_body(_parse_chat, {"messages": HELLO, "response_format": {"type": "text"}}).base_request.schema is None


def test_scores_need_candidates():
    """And counts need messages."""
    assert parse_body(_parse_score, {"messages": HELLO, "candidates": ["a", "b"]}).base_request.candidates == ("a", "b")
    for body in ({"messages": HELLO}, {"messages": HELLO, "candidates": []}, {"messages": HELLO, "candidates": [""]}):
        with pytest.raises(FieldError):
            parse_body(_parse_score, body)
    with pytest.raises(FieldError):
        parse_body(_count_wish, {})


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, False),
        ({"reasoning_effort": "high"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "none"}, False),
    ],
)
def test_a_model_reasons_on_request(fields, thinks):
    """With OpenAI's field, which takes precedence, or those of vLLM and llama-server."""
    assert parse_body(_parse_chat, {"messages": HELLO, **fields}).base_request.reasoning is thinks


def test_null_means_not_given():
    """As in OpenAI's own clients, which send nulls."""
    fields = Fields({"seed": None, "unheard_of": None})
    assert fields.integer("seed", 0, 5) is None
    fields.reject_unknown()


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"{", "the body is not JSON: "), (b"\xff", "the body is not JSON: "), (b"[" * 100_000, "nested too deeply")],
)
def test_a_body_that_is_not_json_is_reported(body, words):
    """As a mistake of the client, in no field."""
    with pytest.raises(FieldError) as caught:
        load_json(body)
    assert caught.value.param is None and words in caught.value.message
