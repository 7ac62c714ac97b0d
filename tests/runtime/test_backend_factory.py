"""Building the backend: the worker, this process, or a remote server, and the reports to the observer."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from silent_observer import SilentObserver

from llmcli.app_paths import find_paths
from llmcli.backends import worker_backend
from llmcli.backends.remote.load_balancing_backend import LoadBalancingBackend
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import AccessDenied, OutOfMemory, OutputError, TemporaryFailure
from llmcli.interrupt import Interrupt
from llmcli.models.files.model_file import ModelFile
from llmcli.runtime import backend_factory
from llmcli.runtime.run_config import RunConfig
from llmcli.settings import resolve_settings
from llmcli.types import Phase


class RecordingObserver(SilentObserver):
    """Records the reports."""

    def __init__(self, *, watched=False, wants_progress=False):
        self.is_watched = watched
        self.wants_progress = wants_progress
        self.explained, self.errors, self.progress = [], [], []

    def explain(self, text):
        self.explained.append(text)

    def worker_unavailable(self, error):
        self.errors.append(error)

    def report_progress(self, progress):
        self.progress.append(progress)


@pytest.fixture
def model(tiny):
    """Return a tiny model."""
    path = tiny("llama")
    return ModelFile("tiny", path, path.stat().st_size, parts=(path,))


@pytest.fixture
def config():
    """Return a function that makes the configuration of a run: settings as if by options, and its observer."""

    def make(observer=None, **given):
        settings = resolve_settings({name: (f"--{name}", value) for name, value in given.items()}, {}, None)
        observer = observer or RecordingObserver()
        return RunConfig(settings, find_paths(os.environ), dict(os.environ), Interrupt(), observer)

    return make


@pytest.fixture
def built(monkeypatch):
    """Record how backends are built: (kind, keyword arguments) of each."""
    made = []

    def build_local(_path, **how):
        made.append(("process", how))
        return SimpleNamespace(kind="process")

    class Worker:
        kind = "worker"
        answers = True

        def __init__(self, launcher, _options, _interrupt, **how):
            made.append(("worker", how | {"launcher": launcher}))

        def wait_for_response(self, _timeout):
            return self.answers

        def close(self):
            made.append(("closed", {}))

    monkeypatch.setattr(backend_factory, "open_local_backend", build_local)
    monkeypatch.setattr(worker_backend, "WorkerBackend", Worker)
    monkeypatch.setattr(backend_factory, "build_launcher", lambda *_: SimpleNamespace(spawned=False, pid=7))
    return SimpleNamespace(made=made, worker=Worker)


def test_the_worker_is_used_where_the_setting_says_so(config, built, model):
    """With --set worker=off the model runs in this process, and no worker is looked for."""
    assert backend_factory.build_local(config(worker="on"), None, model).kind == "worker"
    assert backend_factory.build_local(config(worker="off"), None, model).kind == "process"
    assert [kind for kind, _ in built.made] == ["worker", "process"]


@pytest.mark.parametrize("error", [AccessDenied("d"), OutputError("d"), TemporaryFailure("the worker")])
def test_without_a_worker_the_model_runs_in_this_process(config, built, model, monkeypatch, error):
    """The observer gets the reason."""

    def refuse(*_):
        raise error

    monkeypatch.setattr(backend_factory, "build_launcher", refuse)
    given = config(worker="on")
    assert backend_factory.build_local(given, None, model).kind == "process"
    assert given.observer.errors == [error] and [kind for kind, _ in built.made] == ["process"]


def test_out_of_memory_is_not_retried_in_this_process(config, built, model, monkeypatch):
    """A model that does not fit the memory does not fit it in this process either."""

    def refuse(*_):
        raise OutOfMemory("tiny")

    monkeypatch.setattr(backend_factory, "build_launcher", refuse)
    with pytest.raises(OutOfMemory):
        backend_factory.build_local(config(worker="on"), None, model)
    assert built.made == []


def test_a_silent_worker_is_abandoned(config, built, model):
    """Its connection is closed, and the error names the command that ends it."""
    built.worker.answers = False
    given = config(worker="on")
    assert backend_factory.build_local(given, None, model).kind == "process"
    assert [kind for kind, _ in built.made] == ["worker", "closed", "process"]
    assert "llm worker stop 7" in given.observer.errors[0].detail


def test_text_is_coalesced_unless_it_is_shown_as_it_comes(config, built, model):
    """On a terminal each piece is shown as it comes."""
    for watched in (True, False):
        backend_factory.build_local(config(RecordingObserver(watched=watched), worker="on"), None, model)
    assert [how["pause"] for _, how in built.made] == [0.0, backend_factory._COALESCE_S]


def test_loading_is_reported_where_progress_is_shown(config, built, model):
    """A fraction below 1 is progress in percent; 1 is a wait for the model."""
    backend_factory.build_local(config(worker="on"), None, model)
    assert built.made[0][1]["on_loading"] is None
    observer = RecordingObserver(wants_progress=True)
    backend_factory.build_local(config(observer, worker="on"), None, model)
    for share in (0.5, 1.0):
        built.made[1][1]["on_loading"](share)
    assert [(each.done, each.phase) for each in observer.progress] == [
        (0, Phase.WAITING),
        (50, Phase.LOADING),
        (0, Phase.WAITING),
    ]


def test_a_remote_backend_is_built_without_sending(config):
    """The observer learns which server it is, and where it was chosen."""
    given = config(ctx=512)
    server = ServerConfig("http://127.0.0.1:9/v1")  # no server listens there
    backend = backend_factory.build_remote(given, server, "--base-url", "m")
    assert isinstance(backend, LoadBalancingBackend)
    assert given.observer.explained == ["server http://127.0.0.1:9/v1 (--base-url)"]
    backend.close()
