"""Reasoning of a thinking model in the answers of all protocols, on the real engine and a tiny model."""

from __future__ import annotations

import functools

import pytest

from llmcli.config.engine_options import EngineOptions
from llmcli.worker.server import endpoints

from .conftest import run_app

TEMPLATE = "{{ messages[0].content }}{% if enable_thinking %}<think>{% endif %}"
EXACT = EngineOptions(deterministic=True)
HELLO = [{"role": "user", "content": "hello"}]
LIMITS = {"temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def client(tiny):
    """Return a client of a worker whose model thinks without end if it is asked to; equal requests get equal answers."""
    with run_app(tiny("chatml")) as (client, engines, _), pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoints, "EngineOptions", lambda: EXACT)
        with engines.hold_engine(EXACT) as engine:
            engine.info()
            engine._setup.template.source = TEMPLATE
            engine._setup.template.reasoning_tags = ("<think>", "</think>")
        yield client


def test_a_thinking_block_is_what_chat_completions_call_reasoning(client, events_of):
    """Whole and streamed; without thinking there is text."""
    chat = {"messages": HELLO, "max_tokens": 64, "reasoning_effort": "low", **LIMITS}
    reasoning = client.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]["reasoning_content"]
    create = functools.partial(client.post, "/v1/messages")
    asked = {"messages": HELLO, "max_tokens": 64, **LIMITS}
    thinking = {"thinking": {"type": "adaptive"}}
    body = create(json=asked | thinking).json()
    assert body["content"] == [{"type": "thinking", "thinking": reasoning, "signature": ""}]
    assert body["usage"]["output_tokens_details"]["thinking_tokens"] == body["usage"]["output_tokens"]
    deltas = [
        e["delta"] for e in events_of(create(json=asked | thinking | {"stream": True})) if "index" in e and "delta" in e
    ]
    assert "".join(delta.get("thinking", "") for delta in deltas) == reasoning and len(deltas) > 2
    assert {block["type"] for block in create(json=asked).json()["content"]} == {"text"}


def test_a_reasoning_item_is_what_chat_completions_call_reasoning(client, events_of):
    """Whole and streamed; without an effort there is text."""
    chat = {"messages": HELLO, "max_tokens": 64, "reasoning_effort": "low", **LIMITS}
    reasoning = client.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]["reasoning_content"]
    create = functools.partial(client.post, "/v1/responses")
    asked = {"input": "hello", "max_output_tokens": 64, **LIMITS}
    effort = {"reasoning": {"effort": "low"}}
    body = create(json=asked | effort).json()
    (item,) = body["output"]
    assert item["type"] == "reasoning" and item["content"] == [{"type": "reasoning_text", "text": reasoning}]
    assert body["usage"]["output_tokens_details"]["reasoning_tokens"] == body["usage"]["output_tokens"] == 64
    events = events_of(create(json=asked | effort | {"stream": True}))
    assert "".join(e["delta"] for e in events if e["type"] == "response.reasoning_text.delta") == reasoning
    assert {item["type"] for item in create(json=asked).json()["output"]} == {"message"}
