"""``llm run-batch`` on servers elsewhere: prompts that are continued without a chat template."""

from __future__ import annotations

import json

import pytest
from batch_lines import bodies, chat, complete
from fake_server import FakeServer, close_connection, complete_answer, continue_prompt, error_answer
from hosted_servers import SERVERS
from remote_config import configure

PATH = "/v1/completions"
MAIL = "jane@example.org"


def go_on(body):
    return f" after {body['prompt']}"


@pytest.fixture
def run(run_lines, server):
    """Run the command on lines, with a server that has the path; return the run and the lines of the output."""
    server.paths[PATH] = continue_prompt(go_on)
    return run_lines


def sent(server):
    """Return the bodies of the requests for completions."""
    return [asked.body for asked in server.asked if asked.path.endswith(PATH)]


def texts(body):
    return [choice["text"] for choice in body["choices"]]


def statuses(lines):
    return [each["response"]["status_code"] for each in lines]


def test_a_server_continues_prompts(run, server):
    """In the order of prompts and choices, with all fields of the request; its tokens are counted."""
    asked = [
        complete("a", ["one", "two"], n=2, max_tokens=9, stop="x", temperature=0.5, seed=3),
        chat("c"),
        complete("b", "Once", ignore_eos=True),
    ]
    done, lines = run(asked)
    assert done.code == 0 and [each["custom_id"] for each in lines] == ["a", "c", "b"], done.err
    first, _, second = bodies(lines)
    assert texts(first) == [" after one"] * 2 + [" after two"] * 2 and first["object"] == "text_completion"
    assert [choice["index"] for choice in first["choices"]] == [0, 1, 2, 3] and first["model"] == "big"
    assert first["usage"]["prompt_tokens"] == 6 and first["usage"]["completion_tokens"] == 8
    assert texts(second) == [" after Once"] and second["choices"][0]["finish_reason"] == "stop"
    shared = {"model": "big", "stream": True, "stream_options": {"include_usage": True}}
    assert sorted(sent(server), key=lambda body: (body["prompt"], body.get("seed", 0))) == [
        {**shared, "prompt": "Once", "max_tokens": 16, "temperature": 1.0, "ignore_eos": True},
        *(
            {**shared, "prompt": prompt, "max_tokens": 9, "temperature": 0.5, "stop": ["x"], "seed": seed}
            for prompt in ("one", "two")
            for seed in (3, 4)
        ),
    ]


def test_a_limit_of_the_request_is_no_failure(run):
    """Nor is the protocol's of 16 tokens."""
    done, lines = run([complete("a", "one two", max_tokens=2), complete("b", "x" * 100)])
    assert done.code == 0 and [body["choices"][0]["finish_reason"] for body in bodies(lines)] == ["length"] * 2


def test_the_text_is_what_the_server_wrote(run, server):
    """Also blanks at its start, and what would be reasoning in a chat; streamed or whole."""
    said = " <think>no</think>\n"
    server.paths[PATH] = continue_prompt(said)
    assert [*map(texts, bodies(run([complete("a")])[1]))] == [[said]]
    server.paths[PATH] = complete_answer({}, text=said)
    assert [
        *map(
            texts,
            bodies(
                run(
                    [complete("a")],
                )[1]
            ),
        )
    ] == [[said]]


@pytest.mark.parametrize("name", ["seed", "temperature"])
def test_a_field_that_only_improves_an_answer_may_be_refused(run, server, name):
    """It is left out, as in chats. Without the limit the server would write as much as it likes, so that is quoted."""
    answer = continue_prompt("yes")

    def refuse(field):
        server.paths[PATH] = lambda handler, body: (
            error_answer(400, f"Unsupported parameter: '{field}'", param=field) if field in body else answer
        )(handler, body)

    refuse(name)
    assert statuses(run([complete("a", seed=3)])[1]) == [200]
    refuse("max_tokens")
    _, lines = run([complete("a", seed=3)])
    assert statuses(lines) == [400] and bodies(lines)[0]["error"]["param"] == "max_tokens"


def test_a_limit_that_chats_do_not_have_is_sent(run, server):
    """Models that know only the new name in chats know the old one here."""
    server.fields_refused = {"max_tokens"}
    assert statuses(run([chat("c", max_tokens=9), complete("a", max_tokens=9)])[1]) == [200, 200]
    assert server.chats()[-1]["max_completion_tokens"] == sent(server)[-1]["max_tokens"] == 9


def break_off(handler, _body):
    handler.stream(iter([json.dumps({"choices": [{"index": 0, "text": "Half"}]}).encode()]), ends=False)


NOT_A_PATH = "This is a chat model and not supported in the v1/completions endpoint."


@pytest.mark.parametrize(
    ("behaviour", "status", "words"),
    [
        (error_answer(404, "Not Found"), 501, "cannot use completions here"),
        (error_answer(501, "not implemented"), 501, "not implemented"),
        (error_answer(404, NOT_A_PATH, param="model"), 501, NOT_A_PATH),
        (error_answer(404, "The model `big` does not exist"), 404, "there is no model 'big' here"),
        (error_answer(400, "prompt must not be empty", param="prompt"), 400, "prompt must not be empty"),
        (error_answer(400, "maximum context length is 8 tokens"), 400, "maximum context length is 8 tokens"),
        (error_answer(500, "it broke"), 503, "it broke"),
        (break_off, 503, "broke off"),
    ],
)
def test_what_is_no_answer_fails_its_line_alone(run, server, behaviour, status, words):
    """The line says why, and the chats go on."""
    server.paths[PATH] = behaviour
    done, lines = run([complete("a"), chat("c")])
    assert done.code == 3 and statuses(lines) == [status, 200] and words in bodies(lines)[0]["error"]["message"]


@pytest.mark.parametrize("protocol", ["openai-responses", "anthropic", "gemini"])
def test_other_protocols_have_no_completions(run, protocol):
    """The line names the type of server that does."""
    other = SERVERS[protocol]()
    configure(there={"base_url": other.url, "type": protocol, "model": "big", "context": 4096})
    _, lines = run([complete("a"), chat("c")], "--backend", "there")
    other.close()
    assert statuses(lines) == [501, 200] and "type: openai" in bodies(lines)[0]["error"]["message"]
    assert sent(other) == []


def test_a_schema_needs_messages(run, server):
    """Servers differ in what they do with it here, and a wrong answer could not be sent back."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    _, lines = run([complete("a", response_format=form), complete("b")])
    assert statuses(lines) == [501, 200] and "a schema" in bodies(lines)[0]["error"]["message"]
    assert len(sent(server)) == 1


# ---- log-probabilities ---------------------------------------------------------------------------------------------

TOKENS = [("after", -0.25), (" all", -0.5)]
OTHERS = {"after": -0.25, "before": -2.0}


def as_lists(token, logprob):
    """Return a log-probability as OpenAI and vLLM have it."""
    return {"tokens": [token], "token_logprobs": [logprob], "top_logprobs": [OTHERS], "text_offset": [0]}


def as_in_chats(token, logprob):
    """Return one as llama-server has it."""
    others = [{"token": other, "logprob": lower, "bytes": [*other.encode()]} for other, lower in OTHERS.items()]
    return {"content": [{"token": token, "logprob": logprob, "bytes": [*token.encode()], "top_logprobs": others}]}


@pytest.mark.parametrize("shape", [as_lists, as_in_chats])
def test_log_probabilities(run, server, shape):
    """In the shape of completions, whatever the server's."""
    server.paths[PATH] = continue_prompt("after all", logprobs=[shape(*token) for token in TOKENS])
    done, lines = run([complete("a", logprobs=2), complete("b")])
    assert done.code == 0, done.err
    first, second = (body["choices"][0]["logprobs"] for body in bodies(lines))
    assert first == {
        "tokens": ["after", " all"],
        "token_logprobs": [-0.25, -0.5],
        "top_logprobs": [OTHERS, OTHERS],
        "text_offset": [0, 5],
    }
    assert second is None and sorted(body.get("logprobs", 0) for body in sent(server)) == [0, 2]


@pytest.mark.parametrize("said", [None, [], {"tokens": ["a"]}, {"tokens": 1, "token_logprobs": 2}])
def test_a_server_that_reports_none_fails_the_line(run, server, said):
    """As in chats."""
    server.paths[PATH] = continue_prompt("a", logprobs=[said])
    _, lines = run([complete("a", logprobs=2)])
    assert statuses(lines) == [501] and "the server reports none" in bodies(lines)[0]["error"]["message"]


# ---- what holds for all requests ------------------------------------------------------------------------------------


def test_private_texts_are_replaced(run, server, monkeypatch):
    """Before they are sent to another machine, and put back in the answer."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    server.paths[f"http://models.invalid{PATH}"] = continue_prompt(go_on)
    done, lines = run([complete("a", f"Write to {MAIL}.")], "--base-url", "http://models.invalid/v1", "-m", "big")
    assert done.code == 0 and texts(*bodies(lines)) == [f" after Write to {MAIL}."], done.err
    assert [body["prompt"] for body in sent(server)] == ["Write to PII_EMAIL_1."]


def test_the_cost_is_limited(run, server):
    """Each request is reserved before it is sent; the tokens that the server counts are paid."""
    price = {"input": 10.0, "output": 100.0}
    configure(there={"base_url": server.url, "model": "big", "price": price, "context": 4096, "concurrency": 1})
    asked = [complete(f"r{number}", "x" * 300) for number in range(9)]
    done, lines = run(asked, "--backend", "there", "--max-cost", "0.04")
    assert done.code == 3 and "--max-cost" in done.err, done.err
    answered = [each for each in lines if each["response"]["status_code"] == 200]
    assert 2 <= len(answered) <= 6 and len(sent(server)) == len(answered)


def test_several_servers_share_the_prompts(run, server):
    """One that fails loses none: another one continues them."""
    other = FakeServer()
    configure(farm={"base_urls": [server.url, other.url], "concurrency": 4})
    other.paths[PATH] = close_connection()
    done, lines = run([complete(f"r{number}", f"text {number}") for number in range(40)], "--backend", "farm")
    other.close()
    assert done.code == 0 and sent(other)
    assert [*map(texts, bodies(lines))] == [[f" after text {number}"] for number in range(40)]


def test_a_job_is_resumed(run, server):
    """Prompts that were continued are not sent again."""
    server.paths[PATH] = lambda handler, body: (
        error_answer(400, "no") if body.get("prompt") == "text 300" else continue_prompt(go_on)
    )(handler, body)
    asked = [complete(f"r{number}", f"text {number}") for number in range(310)]
    options = ("--base-url", server.url, "-m", "big", "--on-error", "fail")
    assert run(asked, *options)[0].code == 3
    server.paths[PATH] = continue_prompt(go_on)
    done, lines = run(asked, *options, "--resume")
    assert done.code == 0 and [*map(texts, bodies(lines))] == [[f" after text {number}"] for number in range(310)]
    prompts = [body.get("prompt") for body in sent(server)]  # the end of the job cut some requests
    assert all(prompts.count(f"text {number}") == 1 for number in range(300))
