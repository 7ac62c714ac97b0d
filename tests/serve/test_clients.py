"""Programs of others against the server: OpenAI's own package for Python, and curl as the README shows it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import openai
import pytest

from .conftest import ROOT, TOKEN
from .test_serve import HELLO, TOOL

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
    """The pieces of a stream are the whole answer; its last chunk has the usage."""
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


def test_structured_output(client, name):
    """JSON that keeps the schema."""
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(model=name, messages=HELLO, max_tokens=64, response_format=wanted)
    assert json.loads(answer.choices[0].message.content)["a"] in {"x", "y"}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_tools(client, name, choice):
    """A call, and its result told back."""
    asked = {"model": name, "tools": [TOOL], "max_tokens": 64}
    message = client.chat.completions.create(**asked, messages=HELLO, tool_choice=choice).choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments)["city"] in {"Paris", "Oslo"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    again = client.chat.completions.create(**asked | {"max_tokens": 2}, messages=[*HELLO, message, result])
    assert again.choices[0].finish_reason in {"stop", "length", "tool_calls"}


def test_embeddings_and_completions(client, name):
    """The package asks for base64 by itself."""
    vectors = client.embeddings.create(model=name, input=["a", "b"]).data
    assert sum(number**2 for number in vectors[0].embedding) == pytest.approx(1, abs=1e-4)
    assert isinstance(client.completions.create(model=name, prompt="a", max_tokens=2).choices[0].text, str)


def test_errors_are_its_errors(served, client, name):
    """Each of its own class."""
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4", messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=name, messages=HELLO, temperature=-1)
    other = openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0)
    with other, pytest.raises(openai.AuthenticationError):
        other.models.list()


EXAMPLES = re.findall(r"^```sh\n(curl [^`]*?TOKEN[^`]*?)```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)


def test_the_readme_s_examples_of_curl(served, tmp_path: Path):
    """Run as they stand, at the address of this server."""
    if shutil.which("curl") is None:
        pytest.fail("the examples need curl")
    commands = [command for block in EXAMPLES for command in re.split(r"\n(?=curl )", block.strip())]
    assert len(commands) >= 3
    for command in commands:
        here = command.replace("http://127.0.0.1:8033", served.url).replace("curl ", "curl -sS --fail-with-body ", 1)
        done = subprocess.run(["sh", "-c", here], env={"TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}, capture_output=True,
                              check=False, cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0 and done.stdout, (command, done.stdout, done.stderr)
