"""Every verb on our own server: ``--backend`` and ``--base-url`` against a real ``llm serve`` with a token.

The server is deterministic, so its answers can be compared with those of the same model here.
"""

from __future__ import annotations

import functools
import json
import math

import pytest
from batch_lines import chat, complete, embed, line

from .conftest import TOKEN, serving

LIMIT = ("--max-tokens", "8", "--temperature", "0")
MAX_ERROR = 0.03
"""Distance of two vectors of length 1: sums are rounded."""
KINDS = {
    "mood": "{labels: [good, bad, 'so \"so\" é']}",
    "data": "{schema: {type: object, properties: {a: {enum: [x, y]}}, required: [a], additionalProperties: false}}",
}


@pytest.fixture(scope="module")
def served(tiny):
    with serving(tiny("chatml"), LLMCLI_DETERMINISTIC="on") as server:
        yield server


@pytest.fixture(scope="module")
def there(served):
    """Run a command on the server as on a remote one: it knows no model, worker or directory of the server."""
    home = served.runtime.parent / "client"
    prompts = home / "config" / "prompts" / "generate"
    prompts.mkdir(parents=True)
    for name, output in KINDS.items():
        text = "description: x\nuser: How is it? {{ text }}\nvariables: {text: {default: ''}}\n"
        (prompts / f"{name}.yaml").write_text(f"{text}output: {output}\n")
    key = home / "key"
    key.write_text(TOKEN + "\n")
    key.chmod(0o600)
    own = {"type": "openai", "base_url": f"{served.url}/v1", "key_file": str(key)}
    (home / "config" / "config.yaml").write_text(json.dumps({"backends": {"own": own}}))
    env = {f"LLMCLI_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")}
    env |= {"LLMCLI_WORKER": "off", "LLMCLI_RUNTIME_DIR": str(home / "none"), "HF_HOME": str(home)}
    env |= {"LLMCLI_MODEL": "nothing", "LLMCLI_DETERMINISTIC": "off"}

    def run(*argv, code=0, stdin=""):
        backend = () if "--base-url" in argv else ("--backend", "own")
        done = served.llm(*argv, *backend, env=env, input=stdin.encode())
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode("utf-8", "replace"), done.stderr.decode()

    return run


def local(served, *argv, stdin=""):
    """Return the output of the same command on the model itself, in its own process."""
    done = served.llm(*argv, "--set", "worker=off", input=stdin.encode())
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.slow
def test_ask_gives_the_same_answer(served, there):
    """Byte for byte, with nothing on stderr, and the model's name and token counts in --json."""
    served.post("count", messages=[{"role": "user", "content": "x"}])  # now a worker runs
    before = served.worker()["requests"]
    out, err = there("ask", "hello", "--no-stdin", *LIMIT)
    assert (out, err) == (local(served, "ask", "hello", "--no-stdin", *LIMIT), "")
    found = json.loads(there("ask", "hello", "--no-stdin", "--json", *LIMIT)[0])
    here = json.loads(local(served, "ask", "hello", "--no-stdin", "--json", *LIMIT))
    assert found["model"] == served.models()[0] and found["finish_reason"] == here["finish_reason"]
    counted = ("prompt_tokens", "completion_tokens")
    assert [found["usage"][name] for name in counted] == [here["usage"][name] for name in counted]
    assert served.worker()["requests"] == before + 2


def test_no_field_is_omitted_for_our_own_server(there):
    """It accepts every field, so nothing is sent twice; reasoning has to be requested."""
    err = there("ask", "hello", "--no-stdin", "-v", "--seed", "1", "--reasoning", "--max-tokens", "2")[1]
    assert "refuses" not in err and "requests at once: 1" in err


def test_chat_of_piped_lines(served, there):
    """Each line is a turn that includes those before it."""
    lines = "hello\nand again\n"
    assert there("chat", *LIMIT, stdin=lines)[0] == local(served, "chat", *LIMIT, stdin=lines)


@pytest.mark.slow
def test_translate_and_summarize(served, there, tmp_path):
    """For documents and standard input; blank lines do not change."""
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("One line.\n\n\nAnother.\n")
    second.write_text("A second text.\n")
    assert "\n\n\n" in there("translate", "--to", "fr", *LIMIT, str(first), code=3)[0]  # the limit cuts both lines
    written = ("summarize", "--style", "paragraph", *LIMIT)
    out = there(*written, str(first), str(second))[0]
    assert out == local(served, *written, str(first), str(second)) and out.count("==>") == 2
    assert there(*written, stdin="A text.\n")[0] == local(served, *written, stdin="A text.\n")


def test_generate_free_text(served, there):
    """The same as here."""
    argv = ("generate", "poem", "--no-stdin", "--var", "topic=rain", *LIMIT)
    assert there(*argv)[0] == local(served, *argv)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_generate_labels_and_json(there, seed):
    """A model of random weights answers with a label, and with JSON of the schema, in the first attempt."""
    out, err = there("generate", "mood", "--seed", seed, "--temperature", "1", "-v", stdin="It rains.")
    assert out.removesuffix("\n") in {"good", "bad", 'so "so" é'} and "requests at once: 1" in err
    found = json.loads(there("generate", "data", "--no-stdin", "--seed", seed, "--temperature", "1", "--json")[0])
    assert json.loads(found["text"])["a"] in {"x", "y"} and found["finish_reason"] == "stop"


def test_an_address_alone_has_no_token(served, there):
    """77, and how to give a token; a wrong one is not shown."""
    out, err = there("ask", "hello", "--no-stdin", "--base-url", f"{served.url}/v1", code=77)
    assert out == "" and "requires a key" in err and "LLMCLI_API_KEY" in err and TOKEN not in err


def test_a_missing_model(served, there):
    """66, with the server's message, which names the models that it serves, once."""
    err = there("ask", "hello", "--no-stdin", "-m", "third", code=66)[1]
    assert "third" in err and err.count(served.models()[0]) == 1


def test_a_number_that_the_server_does_not_take_is_not_a_field_that_it_refuses(there):
    """It is reported, and the next command sends the field again."""
    err = there("ask", "hello", "--no-stdin", "--temperature", "3", "--max-tokens", "2", code=76)[1]
    assert "temperature must be from 0 to 2" in err
    assert "refuses" not in there("ask", "hello", "--no-stdin", "-v", *LIMIT)[1]


def test_a_batch_has_the_same_answers(served, there, tmp_path):
    """With the log-probabilities of their tokens, in the shape that they have here."""
    limits = {"temperature": 0, "top_logprobs": 2}
    included = {"include": ["message.output_text.logprobs"]}
    batch, answers = tmp_path / "in.jsonl", []
    lines = [
        chat("a", "hello", max_tokens=4, logprobs=True, **limits),
        line("b", "/v1/responses", input="hello", max_output_tokens=4, **included, **limits),
        complete("c", ["hello", "Once upon"], max_tokens=4, temperature=0, logprobs=2),
    ]
    batch.write_text("\n".join(lines))
    for run in (there, functools.partial(local, served)):
        out = tmp_path / f"{len(answers)}.jsonl"
        run("run-batch", "-i", str(batch), "-o", str(out))
        answers.append([_answered(json.loads(each)) for each in out.read_text().splitlines()])
    assert answers[0] == answers[1] and all(each["logprobs"] for each in answers[0])


def _answered(row):
    """Return the text of a row and its log-probabilities."""
    body = row["response"]["body"]
    if "output" in body:
        (part,) = body["output"][0]["content"]
        return {"text": part["text"], "logprobs": part["logprobs"]}
    choice = body["choices"][-1]
    if "text" in choice:
        return choice
    return {"text": choice["message"]["content"], "logprobs": choice["logprobs"]["content"]}


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_text_has_one_vector(served, there, tmp_path, pooling):
    """By llm embed, over HTTP, and in a batch here and on the server, which takes its own way of pooling."""
    text, pools = "the world is in you " * 20, {} if pooling == "mean" else {"pooling": pooling}
    batch, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"

    def answer(run, **fields):
        batch.write_text(embed("a", ["other", text], **fields))
        run("run-batch", "-i", str(batch), "-o", str(out))
        return json.loads(out.read_text())["response"]["body"]

    local_run = functools.partial(local, served)
    expected = json.loads(local(served, "embed", "--pooling", pooling, stdin=text + "\n"))["embedding"]
    found = [served.post("embeddings", input=["other", text], **pools)[1], answer(local_run, **pools)]
    if not pools:
        found.append(answer(there))
    vectors = [body["data"][1]["embedding"] for body in found]
    assert all(math.dist(vector, expected) < MAX_ERROR for vector in vectors)
    assert math.dist(expected, found[0]["data"][0]["embedding"]) > MAX_ERROR
