"""Labels on our own server: its scores and hidden states, from the weights that label there."""

from __future__ import annotations

import array
import base64
import math

import pytest

from llmcli.backends.base import run_requests
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import ConfigError, RemoteError
from llmcli.errors.network_errors import NotOnServers
from llmcli.interrupt import Interrupt
from llmcli.types import CandidateScores, Finished, HiddenStates, Message, Request, Role, Score, StateLayers

LABELS = ("good", "bad")
WEIGHTS = {"digest": "ab" * 32, "weights": "bf16"}
INFO = {
    **WEIGHTS,
    "model": "big",
    "context": 512,
    "parameters": 1000,
    "layers": 6,
    "measured_layers": {"labels": [2, 3], "vector": 4},
}
LOGPROB = -0.1 - 0.2  # it has no short decimal form
STATES = array.array("f", [0.1, -2.5, 1e-30, 3.0])


def encode(values):
    return base64.b64encode(values.tobytes()).decode()


def scores(**changes):
    """Return an answer to a request for scores and states of two layers."""
    found = [{"candidate": name, "logprob": LOGPROB, "tokens": 2} for name in LABELS]
    states = {"mean": encode(STATES), "last": encode(STATES[::-1]), "layers": [2, 3]}
    return {**WEIGHTS, "model": "big", "scores": found, "hidden_states": states, **changes}


@pytest.fixture
def ours(server):
    """Return a fake server as ours."""
    server.models[0]["owned_by"] = "llmcli"
    server.paths["/v1/info"] = lambda handler, _body: handler.give(200, INFO)
    server.paths["/v1/score"] = lambda handler, _body: handler.give(200, scores())
    return server


def open_backend(server, **options):
    return RemoteBackend(ServerConfig(server.url), ApiKey(), Interrupt(), labels=True, **options)


def request(**fields):
    return Request("a", (Message(Role.USER, "text"),), **fields)


BOTH = {"candidates": LABELS, "hidden_states": True, "state_layers": (2, 3)}


def test_its_model_is_known_by_its_file(ours):
    """Layers, weights and context are those that it says, also where name and context are configured."""
    backend = open_backend(ours, model="big", context=256)
    info = backend.info()
    assert (info.model, info.model_id, info.weights, info.context) == ("big", "ab" * 32, "bf16", 256)
    assert (info.parameters, info.layers, info.measured_layers) == (1000, 6, StateLayers((2, 3), 4))
    (asked,) = [each for each in ours.asked if each.path == "/v1/info"]
    assert asked.body == {"model": "big", "labels": True}


def test_an_alias_of_its_model_is_one_of_its_models(ours):
    """It lists each under one name only."""
    assert open_backend(ours, model="alias").info().model_id == "ab" * 32


def test_scores_and_states_arrive_bit_by_bit(ours):
    """States first, as from a model of this machine; no method of scoring is named, since it is the same one."""
    backend = open_backend(ours)
    backend.info()
    states, found, finished = run_requests(backend, [request(**BOTH)])
    assert states == HiddenStates("a", STATES.tobytes(), STATES[::-1].tobytes(), (2, 3))
    assert found == CandidateScores("a", tuple(Score(name, LOGPROB, 2) for name in LABELS))
    assert isinstance(finished, Finished) and finished.error is None
    body = ours.asked[-1].body
    assert body["labels"] is True and body["state_layers"] == [2, 3] and body["candidates"] == list(LABELS)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (scores(weights="q8_0"), ConfigError),
        (scores(digest="cd" * 32), ConfigError),
        (scores(digest=None), RemoteError),
        (scores(scores=[]), RemoteError),
        (scores(hidden_states=None), RemoteError),
        (scores(hidden_states={"mean": encode(STATES), "last": "", "layers": [2, 3]}), RemoteError),
        (scores(hidden_states={"mean": encode(STATES), "last": encode(STATES), "layers": [2]}), RemoteError),
    ],
)
def test_an_answer_from_other_weights_or_without_its_numbers_is_none(ours, answer, kind):
    """After a restart, the server may label with other weights; no label is made from a half answer."""
    ours.paths["/v1/score"] = lambda handler, _body: handler.give(200, answer)
    backend = open_backend(ours)
    (finished,) = run_requests(backend, [request(**BOTH)])
    assert isinstance(finished.error, kind)


@pytest.mark.parametrize("changes", [{"context": 0}, {"layers": "6"}, {"weights": 3}, {"measured_layers": {"a": 1}}])
def test_a_wrong_description_is_an_error(ours, changes):
    """Nothing is assumed in its place."""
    ours.paths["/v1/info"] = lambda handler, _body: handler.give(200, {**INFO, **changes})
    with pytest.raises(RemoteError):
        open_backend(ours).info()


def test_prompts_are_counted_by_the_server(ours):
    """Whatever their length, since long texts are split where they are split on its machine."""
    ours.paths["/v1/count"] = lambda handler, _body: handler.give(200, {"tokens": 7})
    backend = open_backend(ours)
    backend.info()
    assert backend.count([request(), request()]) == ([7, 7], True)
    assert ours.asked[-1].body["labels"] is True


def test_other_servers_give_their_own_scores(server):
    """An older version of ours does too: it has no description of its model. There are no hidden states."""
    server.models[0]["owned_by"] = "llmcli"
    server.paths["/v1/score"] = lambda handler, _body: handler.give(200, scores(hidden_states=None))
    backend = open_backend(server)
    assert backend.info().layers is None and backend.info().weights is None
    found, _ = run_requests(backend, [request(candidates=LABELS)])
    assert found.method == "score" and math.isclose(found.scores[0].logprob, LOGPROB)
    (finished,) = run_requests(backend, [request(**BOTH)])
    assert isinstance(finished.error, NotOnServers)


def test_hidden_states_are_for_labels_only(ours):
    """Other commands are answered as by other servers."""
    backend = RemoteBackend(ServerConfig(ours.url), ApiKey(), Interrupt())
    assert backend.info().layers is None and backend.info().context == INFO["context"]
    (finished,) = run_requests(backend, [request(**BOTH)])
    assert isinstance(finished.error, NotOnServers)
