"""One run without a terminal: settings, model, consent, and the resulting backend."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from silent_observer import SilentObserver

from llmcli.errors import AccessDenied, ConfigError, ModelNotDownloaded, Offline, Unsupported, UsageError
from llmcli.interrupt import Interrupt
from llmcli.models.library.resolver import STARTER_MODEL
from llmcli.runtime import backend_factory
from llmcli.runtime.runtime import Runtime

URL = "https://models.example/v1"


@pytest.fixture
def run():
    """Return a function that makes a run of options and variables; its observer answers no to everything."""

    def make(observer=None, environ=None, **given):
        how = {name: given.pop(name) for name in ("verb", "consents", "tolerant") if name in given}
        options = {name: ("--" + name.replace("_", "-"), value) for name, value in given.items()}
        return Runtime(options, {**os.environ, **(environ or {})}, Interrupt(), observer or SilentObserver(), **how)

    return make


@pytest.fixture
def built(monkeypatch):
    """Record what is built in place of a backend."""
    made = []

    def build(kind):
        return lambda *given, **_options: (
            made.append((kind, given)) or SimpleNamespace(close=lambda: made.append(("closed", ())))
        )

    monkeypatch.setattr(backend_factory, "build_remote", build("remote"))
    monkeypatch.setattr(backend_factory, "build_local", build("local"))
    return made


def test_a_timeout_sets_the_deadline(run):
    """The time counts from the start of the run."""
    runtime = run(timeout=60.0)
    assert 0 < runtime.interrupt.deadline - time.monotonic() <= 60
    assert run().interrupt.deadline is None


def test_a_bad_configuration_is_kept_where_that_is_tolerated(run):
    """The defaults apply; otherwise it raises."""
    file = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "config.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("nonsense: 1\n")
    with pytest.raises(ConfigError):
        run()
    runtime = run(tolerant=True)
    assert isinstance(runtime.config_error, ConfigError) and runtime.settings["backend"] == "local"


def test_nothing_is_sent_without_consent(run, built):
    """With an observer that answers no, no backend is built."""
    with pytest.raises(AccessDenied) as refused:
        run(base_url=URL).backend()
    assert (refused.value.type_name, refused.value.exit_code) == ("NoConsent", 77)
    assert built == []


def test_consent_is_given_for_a_run_or_stored(run, built):
    """The answer to a question is stored; consent for one run is not."""

    class Agreeing(SilentObserver):
        def confirm_consent(self, hosts):
            return True

    runtime = run(base_url=URL, consents=True)
    runtime.backend()
    assert runtime.responder_name and not (runtime.paths.data / "consents.json").exists()
    run(Agreeing(), base_url=URL).backend()
    run(base_url=URL).backend()
    assert [kind for kind, _ in built] == ["remote"] * 3


def test_a_server_is_refused_offline_and_for_deterministic_answers(run, built):
    """No consent is requested for either."""
    with pytest.raises(Offline):
        run(base_url=URL, offline=True, consents=True).backend()
    with pytest.raises(Unsupported):
        run(base_url=URL, deterministic=True, consents=True).backend()
    assert built == []


def test_a_local_model_is_checked_before_the_backend_is_built(run, built, tiny):
    """A context that the model does not have is refused; the backend is built once, and closed with the run."""
    model = str(tiny("llama"))
    with pytest.raises(UsageError):
        run(model=model, ctx=1 << 30).backend()
    runtime = run(model=model)
    assert runtime.backend() is runtime.backend() and runtime.responder_name
    runtime.close()
    assert [kind for kind, _ in built] == ["local", "closed"]


def test_a_missing_model_is_fetched_when_the_observer_agrees(run, monkeypatch):
    """Offline it is not asked; the error carries the requested context."""
    asked = []

    class Asked(SilentObserver):
        def confirm_download(self, missing):
            asked.append(missing.subject)
            return len(asked) > 1

    monkeypatch.setattr(Runtime, "pull_model", lambda _self, name: f"pulled {name}")
    with pytest.raises(ModelNotDownloaded) as raised:
        run(Asked(), model="qwen3-4b", ctx=4096).resolve_model()
    assert raised.value.context == 4096
    runtime = run(Asked(), model="qwen3-4b")
    assert runtime._find_verified_model().startswith("pulled ")
    with pytest.raises(ModelNotDownloaded):
        run(Asked(), model="qwen3-4b", offline=True).resolve_model()
    assert len(asked) == 2


def test_without_a_chosen_model_the_observer_chooses_the_first_one(run, monkeypatch):
    """It becomes the default, unless it is the starter; with none the missing starter is the error."""
    chosen = []

    class Chooses(SilentObserver):
        def choose_first_model(self, models, policy, verb):
            assert policy().context_tokens is None and models.default_model()[0] == STARTER_MODEL
            return chosen.pop()

    monkeypatch.setattr(Runtime, "pull_model", lambda _self, name: f"pulled {name}")
    with pytest.raises(ModelNotDownloaded):
        run(SilentObserver())._find_verified_model()
    chosen += ["qwen3-4b", STARTER_MODEL]
    assert run(Chooses())._find_verified_model() == f"pulled {STARTER_MODEL}"
    runtime = run(Chooses())
    assert runtime._find_verified_model() == "pulled qwen3-4b" and runtime.models.defaults.is_chosen()
    with pytest.raises(ModelNotDownloaded):
        run(Chooses())._find_verified_model()


def test_a_backend_that_was_not_built_has_no_statistics(run):
    """Statistics are empty, and closing does nothing."""
    runtime = run()
    assert runtime.backend_stats().choices == ()
    runtime.close()
