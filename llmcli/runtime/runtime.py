"""One run without a terminal: its settings, prompts, model, checks, consent and backend."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmcli.app_paths import find_paths
from llmcli.errors import DamagedModel, LlmError, ModelNotDownloaded, Unsupported
from llmcli.interrupt import Interrupt
from llmcli.runtime.run_config import RunConfig
from llmcli.settings import resolve_settings

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.memory_estimate import FitPolicy
    from llmcli.prompts import PromptLibrary
    from llmcli.runtime.observer import RunObserver
    from llmcli.types import BackendStats


class Runtime:
    """One run: its settings, and the prompts, models and backend that they select. Close it at the end."""

    def __init__(
        self,
        given: Mapping[str, tuple[str, Any]],
        environ: Mapping[str, str],
        interrupt: Interrupt,
        observer: RunObserver,
        *,
        verb: str = "",
        consents: bool = False,
        tolerant: bool = False,
    ) -> None:
        """``given``: settings of this run alone, each as origin and value; a value of None counts as not given.

        ``verb``: the command, which selects the default model. ``consents``: the user consents, for this run, to
        sending data to the server. ``tolerant``: an invalid configuration is stored as ``config_error`` and the
        defaults apply; otherwise it raises.
        """
        self.verb = verb
        self.paths = find_paths(environ)
        self.environ = environ
        self.interrupt = interrupt
        self.observer = observer
        self.config_error: LlmError | None = None
        try:
            self.settings = resolve_settings(given, environ, self.paths.config_file)
        except LlmError as error:
            if not tolerant:
                raise
            self.config_error = error
            self.settings = resolve_settings(given, {}, None)
        if self.settings["timeout"] is not None:
            interrupt.deadline = time.monotonic() + self.settings["timeout"]
        self.config = RunConfig(self.settings, self.paths, environ, interrupt, observer)
        self.model_name: str | None = given.get("model", ("", None))[1]
        self._given_context: int | None = given.get("ctx", ("", None))[1]
        self._consents = consents
        self._backend: Backend | None = None
        self.responder_name = ""
        """The display name of the model or server that answers; "" until it is known."""

    def close(self) -> None:
        """Close the backend."""
        if self._backend is not None:
            self._backend.close()

    @cached_property
    def prompts(self) -> PromptLibrary:
        """The prompt files."""
        from llmcli.prompts import PromptLibrary

        return PromptLibrary(self.paths.prompts, cache=self.paths.cache / "prompts")

    @cached_property
    def models(self) -> ModelLibrary:
        """The models of this machine."""
        from llmcli.models.library.model_library import ModelLibrary

        return ModelLibrary(self.settings, self.paths, self.environ, verb=self.verb, warn=self.observer.warn)

    @property
    def is_remote(self) -> bool:
        """Whether a remote server was chosen."""
        return self.settings["base_url"] is not None or self.settings["backend"] != "local"

    def resolve_model(self) -> ModelFile:
        """Return the resolved and verified model; it is downloaded first if the user agrees.

        Raises ``ModelNotDownloaded``, ``DamagedModel`` and what the download raises.
        """
        model = self._find_verified_model()
        self.observer.model_used(model, self.models)
        return model

    def _find_verified_model(self) -> ModelFile:
        from llmcli.types import Phase

        try:
            with self.observer.waiting(Phase.CHECKING, self.model_name or self.models.default_model()[0]):
                return self.models.ensure_verified(self.model_name, self.interrupt)
        except DamagedModel as damaged:
            if not self.settings["pull"]:
                raise
            return self.pull_model(damaged.subject)
        except ModelNotDownloaded as missing:
            missing.context = self._given_context
            if not (self.settings["pull"] or self._may_download(missing)):
                raise
            return self.pull_model(missing.subject)

    def _may_download(self, missing: ModelNotDownloaded) -> bool:
        return not self.models.offline and self.observer.confirm_download(missing)

    def pull_model(self, name: str, *, force: bool = False) -> ModelFile:
        """Download a model; without ``force`` only one that fits this machine."""
        policy = self.fit_policy(force=force, shown=self.observer.shows_variants)
        return self.observer.show_model_events(self.models.pull(name, self.interrupt, fit_policy=policy))

    def fit_policy(self, *, force: bool = False, shown: bool = False) -> FitPolicy:
        """Return the limits that a model must fit here; see ``hardware_fit.build_fit_policy``."""
        from llmcli.runtime.hardware_fit import build_fit_policy

        return build_fit_policy(self.settings, self.paths.cache, force=force, shown=shown)

    def backend(self) -> Backend:
        """Return the backend, built at the first call, after all checks.

        Raises what ``chosen_server``, ``require_consent`` and ``find_key`` raise before anything is sent to a server;
        for a local model as ``resolve_model``, ``check_context`` and ``check_memory`` do.
        """
        if self._backend is None:
            self._backend = (self._build_remote() if self.is_remote else None) or self._build_local()
        return self._backend

    def _build_local(self) -> Backend:
        from llmcli.runtime import backend_factory, preflight

        model = self.resolve_model()
        preflight.check_context(model, self.settings)
        self.responder_name = model.name
        return backend_factory.build_local(self.config, self.models, model)

    def _build_remote(self) -> Backend | None:
        """Return the backend of the chosen server, None for this machine."""
        from llmcli.runtime import backend_factory, consent  # imported only if a server is used

        server, origin = consent.chosen_server(self.settings)
        if server is None:
            return None
        if self.settings["deterministic"]:
            raise Unsupported("--deterministic", detail=f"{server.label} does not guarantee deterministic answers")
        consent.require_consent(self.config, server, self.models, consents=self._consents)
        self.responder_name = server.label
        return backend_factory.build_remote(self.config, server, origin, self.model_name)

    def backend_stats(self) -> BackendStats:
        """Return the statistics of the backend so far; empty if it was not built."""
        from llmcli.types import BackendStats

        return BackendStats() if self._backend is None else self._backend.stats()
