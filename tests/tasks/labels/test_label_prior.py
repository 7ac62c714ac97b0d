"""The prior of labels: measured with content-free texts, kept in the cache."""

import json
import math

import pytest
from scripted import ScriptedBackend, last_message

from llmcli.errors import InternalError
from llmcli.tasks.labels.label_scorer import measure_prior, prior_key
from llmcli.types import Message, Request, Role

LABELS = ("a", "b")


def requests(*texts, labels=LABELS):
    return [
        Request(f"prior.{number}", (Message(Role.USER, text),), candidates=labels) for number, text in enumerate(texts)
    ]


def scored(request):
    share = 0.8 if last_message(request) == "N/A" else 0.2
    return {"a": math.log(share), "b": math.log(1 - share)}


def test_it_is_the_mean_over_the_texts():
    """Of the log-probabilities of each label."""
    prior = measure_prior(ScriptedBackend(scored), requests("N/A", ""), None)
    assert {label: math.exp(value) for label, value in prior.items()} == pytest.approx({"a": 0.5, "b": 0.5})


def test_without_texts_there_is_none():
    """And nothing is sent."""
    backend = ScriptedBackend(scored)
    assert measure_prior(backend, [], None) is None and backend.jobs == 0


def test_the_cache_keeps_it(tmp_path):
    """For the same weights, messages and labels; anything else is measured again."""
    backend = ScriptedBackend(scored)
    first = measure_prior(backend, requests("N/A"), tmp_path)
    assert measure_prior(backend, requests("N/A"), tmp_path) == first and len(backend.requests) == 1
    measure_prior(ScriptedBackend(scored, model="other"), requests("N/A"), tmp_path)
    measure_prior(backend, requests(""), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    keys = {
        prior_key("m", requests("N/A")),
        prior_key("n", requests("N/A")),
        prior_key("m", requests("N/A", labels=("b", "a"))),
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"[" * 100_000, b'{"key": "KEY"}', b'{"key": "KEY", "prior": []}'),
        *(
            b'{"key": "KEY", "prior": %b}' % prior
            for prior in (b'{"a": 1}', b'{"a": "x", "b": 1}', b'{"a": NaN, "b": -1}')
        ),
        b'{"key": "of another prompt", "prior": {"a": -9.0, "b": -0.1}}',
    ],
)
def test_a_damaged_cache_is_measured_again(tmp_path, content):
    """Whatever the file holds, and also when it is that of other messages with the same checksum."""
    key = prior_key(ScriptedBackend(scored).info().model_id, requests("N/A"))
    content = content.replace(b'"KEY"', json.dumps(key).encode())
    backend = ScriptedBackend(scored)
    found = measure_prior(backend, requests("N/A"), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert measure_prior(backend, requests("N/A"), tmp_path) == found


def test_a_cache_that_cannot_be_written(tmp_path):
    """The prior is measured each time."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert measure_prior(ScriptedBackend(scored), requests("N/A"), blocked / "priors") is not None


def test_an_impossible_label_has_no_prior():
    """The scores are then used as they are."""
    backend = ScriptedBackend(lambda _request: {"a": 0.0, "b": -math.inf})
    assert measure_prior(backend, requests("N/A"), None) is None


def test_a_failure_is_raised():
    """It is the failure of the command."""
    with pytest.raises(InternalError):
        measure_prior(ScriptedBackend(lambda _request: InternalError()), requests("N/A"), None)
