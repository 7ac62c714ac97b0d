"""Several models behind one server: loaded on demand, ended when idle, and as many as memory allows."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_until

from llmcli.worker.client import worker_status

from .conftest import TOKEN, serving
from .test_serve import HELLO

SHORT = {"messages": HELLO, "max_tokens": 8, "temperature": 0}
MOST = 84
"""MiB in which one worker on a tiny model has room, of which 64 are set aside for a process, and two have not."""


@pytest.fixture
def two(tiny):
    """Return a function that serves two models: the first is the default, the second has the alias "small"."""

    @contextmanager
    def make(**env):
        with serving(tiny("chatml"), **env) as served:
            assert served.llm("models", "import", str(tiny("llama")), "--name", "other").returncode == 0
            assert served.llm("models", "alias", "small", "other").returncode == 0
            yield served

    return make


def workers(served) -> dict[str, dict]:
    """Return the statuses of the workers, by the names of their models for clients."""
    return {Path(status["model"]).name: status for status in worker_status.list_statuses(served.runtime)}


def stream(served, name, **more):
    """Start a long answer and return the connection and the answer, partly read."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    body = {"messages": HELLO, "model": name, "stream": True, "ignore_eos": True, **more}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    assert answer.read(5) == b"data:"
    return connection, answer


@pytest.mark.slow
def test_two_models_in_turn_and_at_once(two):
    """A model pulled meanwhile is served; the first request starts its worker; an alias is a name too."""
    with two() as served:
        first, second = served.models()
        assert second == "other" and workers(served) == {}
        said = {}
        for number in range(6):
            name = (first, "other", "small")[number % 3]
            status, answer = served.post("chat/completions", **SHORT, model=name)
            assert (status, answer["model"]) == (200, first if name == first else "other")
            assert said.setdefault(answer["model"], answer["choices"][0]["message"]) == answer["choices"][0]["message"]
            assert len(workers(served)) == min(number + 1, 2)
        assert said[first] != said["other"]
        before = workers(served)

        def ask(number):
            return served.post("chat/completions", **SHORT | {"temperature": 1}, model=(first, "small")[number % 2])

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(40)))
        assert [(status, answer["model"]) for status, answer in answers] == [(200, first), (200, "other")] * 20
        after = workers(served)
        assert {name: status["pid"] for name, status in after.items()} == {
            name: status["pid"] for name, status in before.items()
        }
        assert [after[name]["requests"] - before[name]["requests"] for name in (first, "other")] == [20, 20]
        assert served.post("chat/completions", **SHORT)[1]["model"] == first  # the default
        status, problem = served.post("chat/completions", **SHORT, model="third")
        assert (status, problem["error"]["code"]) == (404, "model_not_found")
        assert len(workers(served)) == 2


@pytest.mark.slow
def test_idle_workers_end_and_are_started_again(two):
    """A second without work, and the server has no zombie; the next request is answered as usual."""
    soon = "import llmcli.serve.api_server as s; s._REAP_INTERVAL_S = 0.1; from llmcli.cli.main import main; raise SystemExit(main())"
    with two(LLMCLI_WORKER_IDLE_TIMEOUT="1", code=soon) as served:
        names = served.models()
        said = [served.post("chat/completions", **SHORT, model=name)[1]["choices"] for name in names]
        pids = {status["pid"] for status in workers(served).values()}
        wait_until(lambda: not workers(served))
        children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        assert not children.exists() or not pids & set(map(int, children.read_text().split()))
        assert [served.post("chat/completions", **SHORT, model=name)[1]["choices"] for name in names] == said
        assert not pids & {status["pid"] for status in workers(served).values()}


@pytest.mark.slow
def test_a_removed_model_is_not_served(two):
    """And an alias that now means another model means that."""
    with two() as served:
        first, _ = served.models()
        assert served.post("chat/completions", **SHORT, model="small")[1]["model"] == "other"
        assert served.llm("models", "rm", "-y", "other").returncode == 0
        assert served.models() == [first]
        assert {served.post("chat/completions", **SHORT, model=name)[0] for name in ("other", "small")} == {404}
        assert served.llm("models", "alias", "small", served.environ["LLMCLI_MODEL"]).returncode == 0
        assert served.post("chat/completions", **SHORT, model="small")[1]["model"] == "small"


@pytest.mark.slow
def test_memory_for_one_of_two(two):
    """An idle one ends for the other; while it is busy, requests for the other are asked to retry."""
    with two(LLMCLI_WORKER_MEMORY=str(MOST)) as served:
        first, second = served.models()
        for name in (first, second, first):
            status, answer = served.post("chat/completions", **SHORT, model=name)
            assert (status, answer.get("model")) == (200, name), answer
            assert list(workers(served)) == [name]
        connection, answer = stream(served, first, max_tokens=1500, n=4)
        refused = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        body = json.dumps({**SHORT, "model": second})
        refused.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {TOKEN}"})
        said = refused.getresponse()
        assert said.status == 503 and int(said.headers["Retry-After"]) >= 1
        assert "worker.memory" in json.loads(said.read())["error"]["message"]
        refused.close()
        assert answer.read().endswith(b"data: [DONE]\n\n")
        connection.close()
        assert wait_until(lambda: served.post("chat/completions", **SHORT, model=second)[0] == 200)
