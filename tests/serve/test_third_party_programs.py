"""Third-party programs against a real server: .ci/clients installs them (marker ``clients``)."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from pathlib import Path

import pytest
from waiting import wait_until

from .conftest import ROOT, TOKEN
from .test_serve import HELLO

pytestmark = pytest.mark.clients
SERVE_PAGE = (ROOT / "docs" / "serve.md").read_text("utf-8")
(EXTRA,) = re.findall(r"^```yaml\n(- model_id: .*?)```", SERVE_PAGE, re.MULTILINE | re.DOTALL)
TOOL = "def number() -> str:\n    'Return a number'\n    return '42'\n"


@pytest.fixture(scope="module")
def clients():
    """Return the directory that .ci/clients filled."""
    directory = os.environ.get("CLIENTS")
    if not directory:
        pytest.fail("CLIENTS is not set: .ci/clients DIRECTORY && CLIENTS=DIRECTORY pytest -m clients")
    return Path(directory)


@pytest.fixture
def run_client(served, clients, tmp_path):
    """Return a function that runs a program beside this file by Node.js or Python and returns the JSON that it prints."""
    node = clients / "venv" / "bin" / "node"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "NODE_PATH": str(clients / "node_modules"),
        "OPENAI_BASE_URL": f"{served.url}/v1",
        "OPENAI_API_KEY": TOKEN,
        "ANTHROPIC_BASE_URL": served.url,
        "ANTHROPIC_API_KEY": TOKEN,
    }
    interpreters = {".cjs": str(node) if node.exists() else "node", ".py": str(clients / "venv" / "bin" / "python")}

    def run(name):
        command = [interpreters[Path(name).suffix], str(Path(__file__).parent / name)]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


def test_openai_s_package_for_javascript(served, run_client):
    """Whole, streamed, collected by the package, parsed by a zod schema, tools, embeddings, error classes."""
    said = run_client("client.cjs")
    assert said["whole"] == said["streamed"] == said["gathered"] and 0 < said["tokens"] <= 8
    assert said["parsed"]["a"] in {"x", "y"}
    assert said["call"]["name"] == "weather" and said["call"]["arguments"]["city"] in {"Paris", "Oslo"}
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-4) for vector in said["vectors"])
    assert isinstance(said["text"], str)
    assert said["refusals"] == ["NotFoundError", "BadRequestError", "AuthenticationError"]
    assert said["pieces"] >= 3
    wait_until(lambda: served.worker()["active"] == 0)  # an aborted request no longer runs


def test_responses_by_openai_s_package_for_javascript(served, run_client):
    """Whole, streamed, collected by the package, parsed by a zod schema, tools and results, error classes."""
    said = run_client("responses_client.cjs")
    assert said["whole"] == said["streamed"] == said["gathered"] and said["last"] and 0 < said["tokens"] <= 8
    assert said["parsed"]["a"] in {"x", "y"}
    assert said["call"]["name"] == "weather" and said["call"]["arguments"]["city"] in {"Paris", "Oslo"}
    assert said["call"]["again"] == "response"
    assert said["refusals"] == ["NotFoundError", "BadRequestError", "BadRequestError"]
    assert said["pieces"] == 7
    wait_until(lambda: served.worker()["active"] == 0)


@pytest.mark.parametrize("program", ["anthropic_client.cjs", "anthropic_client.py"])
def test_anthropic_s_packages(served, run_client, program):
    """Whole, streamed, collected by the package, tools and results, count_tokens, error classes, a broken connection."""
    said = run_client(program)
    assert said["whole"] == said["streamed"] and 0 < said["usage"][1] <= 8
    assert said["counted"] == said["usage"][0] == served.post("count", messages=HELLO)[1]["tokens"]
    assert said["tool"]["stop_reason"] == "tool_use" and said["tool"]["again"] == "message"
    assert all(given["city"] in {"Paris", "Oslo"} for given in said["tool"]["inputs"])
    assert said["pieces"] == 5
    if program.endswith(".cjs"):
        assert said["gathered"] == said["whole"]
        assert said["refusals"] == ["NotFoundError", "BadRequestError", "AuthenticationError"]
    else:
        assert said["gathered"][0] == "assistant" and said["gathered"][2] <= 8
        assert {*said["together"], said["last"]} == {said["last"]} and isinstance(said["parsed"], bool)
        bad = ["BadRequestError", "invalid_request_error"]
        assert said["refusals"] == [
            ["NotFoundError", "not_found_error"],
            *[bad] * 3,
            ["AuthenticationError", "authentication_error"],
        ]
    wait_until(lambda: served.worker()["active"] == 0)  # an aborted request no longer runs


def test_the_documented_example_of_anthropic_s_package(served, clients, tmp_path):
    """As it stands, at the address of this server and with the name of a model that is here."""
    (example,) = re.findall(r"^```python\n(from anthropic .*?)```", SERVE_PAGE, re.MULTILINE | re.DOTALL)
    example = example.replace("http://127.0.0.1:8033", served.url).replace("qwen3-1.7b", served.models()[0])
    command = [str(clients / "venv" / "bin" / "python"), "-c", f"token = {TOKEN!r}\n{example}"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    served.post("count", messages=HELLO)  # a worker runs
    before = served.worker()["requests"]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert served.worker()["requests"] == before + 1  # whose answer may be empty: the weights are random


@pytest.fixture
def simonw(served, clients, tmp_path):
    """Run simonw/llm, set up as in docs/serve.md; its model "mine" is the server's."""
    (tmp_path / "extra-openai-models.yaml").write_text(
        re.sub(r"model_name: .*", f"model_name: {served.models()[0]}", EXTRA).replace(
            "http://127.0.0.1:8033", served.url
        )
    )
    (tmp_path / "keys.json").write_text(json.dumps({"llmcli": TOKEN}))
    environ = {"PATH": os.environ["PATH"], "LLM_USER_PATH": str(tmp_path), "HOME": str(tmp_path)}

    def run(*argv, stdin=b""):
        command = [str(clients / "venv" / "bin" / "llm"), *argv]
        done = subprocess.run(command, env=environ, input=stdin, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "replace")

    return run


def test_simonw_llm_asks(served, simonw):
    """The same answer streamed and whole; a system prompt and text on standard input count as prompt tokens."""
    assert "mine" in simonw("models")
    asked = ("-m", "mine", "-o", "max_tokens", "8", "-o", "temperature", "0")
    assert simonw(*asked, "hello") == simonw(*asked, "--no-stream", "hello")
    before = served.worker()["prompt_tokens"]
    simonw(*asked, "-s", "Be brief.", "Say it in French", stdin=b"a long text " * 50)
    assert served.worker()["prompt_tokens"] - before > 100
    simonw("-c", *asked, "and again")  # continues the conversation
    assert json.loads(simonw("logs", "--json"))[0]["model"] == "mine"


def test_simonw_llm_gets_json_of_a_schema(simonw):
    """By response_format."""
    schema = json.dumps({"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]})
    assert json.loads(simonw("-m", "mine", "--schema", schema, "hello"))["a"] in {"x", "y"}


def test_simonw_llm_takes_tools(simonw):
    """A model of random weights calls none, but accepts the request."""
    assert isinstance(simonw("-m", "mine", "-o", "max_tokens", "8", "--functions", TOOL, "hello"), str)


def test_simonw_llm_shows_errors(served, clients, simonw, tmp_path):
    """The error has the server's own message."""
    (tmp_path / "keys.json").write_text(json.dumps({"llmcli": "wrong"}))
    with pytest.raises(AssertionError, match="the token is missing or wrong"):
        simonw("-m", "mine", "hello")
