"""The engine in this process, as a backend."""

from __future__ import annotations

import signal

import pytest

from llmcli.backends.base import run_requests
from llmcli.config.engine_options import EngineOptions
from llmcli.errors import BadModelFile, Interrupted, TimedOut
from llmcli.interrupt import Interrupt
from llmcli.runtime.backend_factory import open_local_backend
from llmcli.types import Finished, FinishReason, Message, Request, Role, Sampling, TextDelta


def backend_of(path, interrupt=None):
    return open_local_backend(
        path, name="tiny", model_id="id", options=EngineOptions(), interrupt=interrupt or Interrupt()
    )


def request(name="a", **fields):
    return Request(name, (Message(Role.USER, "hello"),), sampling=Sampling(seed=1), **{"max_tokens": 4, **fields})


@pytest.fixture
def opened():
    """Close every backend that a test opens."""
    backends = []

    def keep(backend):
        backends.append(backend)
        return backend

    yield keep
    for backend in backends:
        backend.close()


def test_it_answers(tiny, opened):
    """A request has text events and one last event."""
    *pieces, last = run_requests(opened(backend_of(tiny("chatml"))), [request()])
    assert all(isinstance(piece, TextDelta) for piece in pieces)
    assert isinstance(last, Finished)
    assert last.reason in {FinishReason.STOP, FinishReason.LENGTH}


def test_it_returns_before_the_model_is_loaded(tmp_path, opened):
    """The first call that needs the model reports a broken file, not the constructor."""
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF")
    backend = opened(backend_of(path))
    with pytest.raises(BadModelFile):
        backend.info()


def test_a_signal_ends_a_job(tiny, opened):
    """The flag of a signal handler ends iteration with the signal's error; once it is cleared, the next job runs."""
    interrupt = Interrupt()
    backend = opened(backend_of(tiny("chatml"), interrupt))
    events = run_requests(backend, [request(max_tokens=None)])
    next(events)
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        list(events)
    interrupt.clear()
    assert list(run_requests(backend, [request()]))


def test_a_timeout_ends_a_job(tiny, opened):
    """An expired deadline of the command ends iteration with ``TimedOut``."""
    interrupt = Interrupt(timeout=1e9)
    backend = opened(backend_of(tiny("chatml"), interrupt))
    events = run_requests(backend, [request(max_tokens=None)])
    next(events)
    interrupt.deadline = 0.0
    with pytest.raises(TimedOut):
        list(events)
