"""Anthropic's package for Python against the server at ANTHROPIC_BASE_URL; prints what came as one JSON object.

Run by the Python that .ci/clients installed the package for.
"""

from __future__ import annotations

import asyncio
import json

import anthropic
import pydantic

HELLO = [{"role": "user", "content": "hello"}]
GREEDY = {"temperature": 0}  # a field that the package does not know any more
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Paris", "Oslo"]}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "What the sky does.", "input_schema": SCHEMA}


class Choice(pydantic.BaseModel):
    """What the parsed answer is."""

    a: bool


def refusals(client, model):
    """Return the names of the package's errors, and the type that each error carries."""
    wrong = anthropic.Anthropic(api_key="x", max_retries=0)
    asked = {"model": model, "messages": HELLO, "max_tokens": 8}
    found = []
    for ask in (
        lambda: client.messages.create(**asked | {"model": "claude-opus"}),
        lambda: client.messages.create(**asked, extra_body={"temperature": -1}),
        lambda: client.messages.create(**asked | {"messages": [{"role": "user", "content": "hello " * 5000}]}),
        lambda: client.messages.create(**asked, tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        lambda: wrong.messages.create(**asked),
    ):
        try:
            ask()
        except anthropic.APIStatusError as error:
            found.append([type(error).__name__, error.body["error"]["type"]])
    return found


async def ask_together(model):
    """Return the texts of several messages at once."""
    async with anthropic.AsyncAnthropic(max_retries=0) as client:
        asked = {"model": model, "messages": HELLO, "max_tokens": 4, "extra_body": GREEDY}
        answers = await asyncio.gather(*(client.messages.create(**asked) for _ in range(4)))
        async with client.messages.stream(**asked) as stream:
            return [answer.content[0].text for answer in answers], "".join([text async for text in stream.text_stream])


def use_tool(client, asked):
    """Return the input of a required tool, whole and streamed, and whether its result was taken."""
    asked = {**asked, "tools": [TOOL], "max_tokens": 64}
    message = client.messages.create(**asked, tool_choice={"type": "any"})
    (use,) = message.content
    with client.messages.stream(**asked, tool_choice={"type": "tool", "name": "weather"}) as stream:
        (streamed,) = stream.get_final_message().content
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "rain"}
    turns = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    again = client.messages.create(**asked | {"messages": turns})
    return {"stop_reason": message.stop_reason, "inputs": [use.input, streamed.input], "again": again.type}


def main():
    client = anthropic.Anthropic(max_retries=0)
    model = client.models.list().data[0].id
    asked = {"model": model, "messages": HELLO, "max_tokens": 8, "extra_body": GREEDY}
    whole = client.messages.create(**asked)
    events = list(client.messages.create(**asked, stream=True))
    deltas = [event.delta.text for event in events if event.type == "content_block_delta"]
    with client.messages.stream(**asked, system="Be brief.") as stream:
        gathered = stream.get_final_message()
    together, last = asyncio.run(ask_together(model))
    pieces = 0
    endless = {"max_tokens": 100_000, "extra_body": {"ignore_eos": True}}
    with client.messages.create(**asked | endless, stream=True) as cut:
        for _ in cut:
            pieces += 1
            if pieces == 5:
                break  # which ends the connection
    parsed = client.messages.parse(**asked | {"max_tokens": 128}, output_format=Choice)
    said = {
        "whole": whole.content[0].text,
        "streamed": "".join(deltas),
        "gathered": [gathered.role, gathered.stop_reason, gathered.usage.output_tokens],
        "usage": [whole.usage.input_tokens + whole.usage.cache_read_input_tokens, whole.usage.output_tokens],
        "counted": client.messages.count_tokens(model=model, messages=HELLO).input_tokens,
        "together": together,
        "last": last,
        "tool": use_tool(client, asked),
        "parsed": parsed.parsed_output.a,
        "refusals": refusals(client, model),
        "pieces": pieces,
    }
    print(json.dumps(said))


main()
