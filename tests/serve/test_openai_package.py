"""OpenAI's own package for Python against the server, and the examples of the documentation, unchanged."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import textwrap
from typing import Literal

import openai
import pydantic
import pytest

from .conftest import ROOT, TOKEN
from .test_serve import HELLO, TOOL

DOCS = "\n".join(path.read_text("utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "y"]}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=TOKEN, max_retries=0) as made:
        yield made


@pytest.fixture
def name(client):
    (model,) = client.models.list().data
    return model.id


def test_whole_and_streamed(client, name):
    """The pieces of a stream equal the whole answer; its last chunk has the usage."""
    asked = {"model": name, "messages": HELLO, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_asynchronous(served, name):
    """Several at once."""

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=TOKEN, max_retries=0) as made:
            asked = [
                made.chat.completions.create(model=name, messages=HELLO, max_tokens=4, temperature=0) for _ in range(4)
            ]
            stream = await made.chat.completions.create(model=name, messages=HELLO, max_tokens=4, stream=True)
            return await asyncio.gather(*asked), [chunk async for chunk in stream]

    answers, chunks = asyncio.run(ask())
    assert len(answers) == 4 and chunks[-1].choices[0].finish_reason in {"stop", "length"}


class Choice(pydantic.BaseModel):
    a: Literal["x", "y"]
    note: int | None


class weather(pydantic.BaseModel):  # noqa: N801 (a tool is called by its class)
    """Return the weather."""

    city: Literal["Paris", "Oslo"]


def test_structured_output(client, name):
    """JSON that matches a schema as the protocol has it, and any JSON object."""
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}}
    asked = {"model": name, "messages": HELLO, "max_tokens": 64}
    answer = client.chat.completions.create(**asked, response_format=wanted)
    assert json.loads(answer.choices[0].message.content)["a"] in {"x", "y"}
    answer = client.chat.completions.create(**asked | {"max_tokens": 900}, response_format={"type": "json_object"})
    choice = answer.choices[0]
    assert choice.finish_reason == "length" or isinstance(json.loads(choice.message.content), dict)


def test_a_class_as_a_schema(served, client, name):
    """Parsed by the package, as a whole, from a stream, and asynchronously."""
    asked = {"model": name, "messages": HELLO, "max_tokens": 128, "temperature": 0, "response_format": Choice}
    whole = client.chat.completions.parse(**asked).choices[0].message.parsed
    assert isinstance(whole, Choice)
    with client.chat.completions.stream(**asked) as stream:
        events = list(stream)
        assert stream.get_final_completion().choices[0].message.parsed == whole
    assert {"chunk", "content.delta", "content.done"} <= {event.type for event in events}

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=TOKEN, max_retries=0) as made:
            async with made.chat.completions.stream(**asked) as stream:
                streamed = (await stream.get_final_completion()).choices[0].message.parsed
            return streamed, (await made.chat.completions.parse(**asked)).choices[0].message.parsed

    assert asyncio.run(ask()) == (whole, whole)


def test_a_class_as_a_tool(client, name):
    """Its arguments become the object, whole and streamed."""
    asked = {"model": name, "messages": HELLO, "max_tokens": 64, "temperature": 0, "tool_choice": "required"}
    asked["tools"] = [openai.pydantic_function_tool(weather)]
    (call,) = client.chat.completions.parse(**asked).choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, weather)
    with client.chat.completions.stream(**asked) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed.function.parsed_arguments == call.function.parsed_arguments


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_tools(client, name, choice):
    """A call, and its result sent back."""
    asked = {"model": name, "tools": [TOOL], "max_tokens": 64}
    message = client.chat.completions.create(**asked, messages=HELLO, tool_choice=choice).choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments)["city"] in {"Paris", "Oslo"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    again = client.chat.completions.create(**asked | {"max_tokens": 2}, messages=[*HELLO, message, result])
    assert again.choices[0].finish_reason in {"stop", "length", "tool_calls"}


def test_responses(client, name):
    """Whole, streamed and gathered by the package: the same text and usage."""
    asked = {"model": name, "input": "hello", "max_output_tokens": 8, "temperature": 0}
    whole = client.responses.create(**asked)
    events = list(client.responses.create(**asked, stream=True))
    assert whole.output_text == "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens <= 8
    assert [event.sequence_number for event in events] == list(range(len(events)))
    with client.responses.stream(**asked | {"max_output_tokens": 900}) as stream:
        finished = {event.type for event in stream} & {"response.completed", "response.incomplete"}
    assert len(finished) == 1


def test_responses_with_a_class(client, name):
    """Parsed by the package, as a whole and from a stream."""
    asked = {"model": name, "input": "hello", "temperature": 0, "text_format": Choice}
    whole = client.responses.parse(**asked).output_parsed
    assert isinstance(whole, Choice)
    with client.responses.stream(**asked) as stream:
        assert stream.get_final_response().output_parsed == whole


def test_responses_with_tools(client, name):
    """A call, and its result told back with the items as they came."""
    said = {"role": "user", "content": "hello"}
    tool = {"type": "function", "strict": True, **TOOL["function"]}
    asked = {"model": name, "tools": [tool], "max_output_tokens": 64}
    response = client.responses.create(**asked, input=[said], tool_choice="required")
    (call,) = response.output
    assert json.loads(call.arguments)["city"] in {"Paris", "Oslo"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    again = client.responses.create(**asked, input=[said, *response.output, result])
    assert again.status in {"completed", "incomplete"}
    with client.responses.stream(**asked, input=[said], tool_choice="required") as stream:
        (streamed,) = stream.get_final_response().output
    assert json.loads(streamed.arguments)["city"] in {"Paris", "Oslo"}


def test_what_responses_refuse(client, name):
    """By name, in the package's own error."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=name, input="hello", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="gpt-4", input="hello")


def test_embeddings_and_completions(client, name):
    """The package requests base64 by default."""
    vectors = client.embeddings.create(model=name, input=["a", "b"]).data
    assert sum(number**2 for number in vectors[0].embedding) == pytest.approx(1, abs=1e-4)
    assert isinstance(client.completions.create(model=name, prompt="a", max_tokens=2).choices[0].text, str)


def test_errors_have_the_packages_classes(served, client, name):
    """Each has its own class."""
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4", messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=name, messages=HELLO, temperature=-1)
    other = openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0)
    with other, pytest.raises(openai.AuthenticationError):
        other.models.list()


@pytest.fixture
def shell(served, tmp_path):
    """Run a shell's commands where ``llm`` is this one, ``$TOKEN`` the token, and the default address the server's."""
    own = tmp_path / "bin" / "llm"
    own.parent.mkdir()
    own.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmcli "$@"\n')
    own.chmod(0o755)
    environ = {**served.environ, "TOKEN": TOKEN, "PATH": f"{own.parent}:{os.environ['PATH']}"}

    def run(commands):
        there = commands.replace("http://127.0.0.1:8033", served.url)
        there = there.replace("curl ", "curl -sS --fail-with-body ")
        how = {"env": environ, "cwd": tmp_path, "capture_output": True, "timeout": 120}
        done = subprocess.run(["sh", "-ec", there], check=False, **how)
        assert done.returncode == 0, (there, done.stdout, done.stderr)
        return done.stdout

    return run


BLOCKS = re.findall(r"^( *)```sh\n(.*?)^ *```", DOCS, re.MULTILINE | re.DOTALL)
CURL = [textwrap.dedent(block).strip() for _, block in BLOCKS if "curl " in block]
EXAMPLES = [
    example for block in CURL for example in (re.split(r"\n(?=curl )", block) if block.startswith("curl ") else [block])
]


def test_every_example_of_curl_is_found():
    """Each block of the documentation with the word is run below."""
    assert sum(example.count("curl ") for example in EXAMPLES) == DOCS.count("curl ") >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_documented_examples_of_curl(served, shell, example):
    """They run unchanged, except for the address; the answers are JSON."""
    served.post("count", messages=HELLO)  # a worker runs, as docs/worker.md has it where it shows its socket
    answer = json.loads(shell(example))
    kind = answer["type"] if answer.get("type") == "message" else answer["object"]
    assert kind in {"list", "chat.completion", "text_completion", "response", "message"}


def test_the_example_in_the_help(served, shell):
    """Run like those of the documentation."""
    (example,) = [line for line in served.llm("serve", "--help").stdout.decode().splitlines() if "curl " in line]
    assert json.loads(shell(example.strip()))["object"] == "list"


def test_the_documented_example_in_python(served, capsys):
    """With the name of a model that is here."""
    (example,) = re.findall(r"^```python\n(from openai .*?)```", DOCS, re.MULTILINE | re.DOTALL)
    example = example.replace("http://127.0.0.1:8033", served.url).replace("qwen3-1.7b", served.models()[0])
    exec(compile(example, "docs/serve.md", "exec"), {"token": TOKEN})
    assert capsys.readouterr().out.endswith("\n")
