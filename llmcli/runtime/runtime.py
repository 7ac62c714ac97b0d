"""One run without a terminal: its settings, prompts, model, checks, consent and backend."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.app_paths import find_paths
from llmcli.errors import BadModelFile, DamagedModel, LlmError, ModelNotDownloaded, OutOfMemory, Unsupported
from llmcli.interrupt import Interrupt
from llmcli.machine_needs import UNKNOWN_WORK, MachineNeeds
from llmcli.runtime import model_weights
from llmcli.runtime.run_config import RunConfig
from llmcli.settings import AUTO_WEIGHTS, NO_DRAFT, ORIGINAL_WEIGHTS, Setting, Settings, resolve_settings

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.config.backend_config import Price, ServerConfig
    from llmcli.config.engine_options import LoraAdapter
    from llmcli.models.library.derived_weights import DerivedCopy
    from llmcli.models.library.model_library import ModelFile, ModelLibrary
    from llmcli.models.library.registry import ModelRegistry
    from llmcli.models.memory_estimate import FitPolicy
    from llmcli.prompts.prompt_library import PromptLibrary
    from llmcli.runtime.model_weights import ChosenWeights
    from llmcli.runtime.run_config import RunObserver
    from llmcli.types import BackendInfo, BackendStats


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
        needs: MachineNeeds = UNKNOWN_WORK,
        consents: bool = False,
        tolerant: bool = False,
    ) -> None:
        """``given``: settings of this run alone, each as origin and value; a value of None counts as not given.

        ``verb``: the command, which selects the default model; ``needs``: what it needs from the machine. ``consents``:
        the user consents, for this run, to sending data to the server. ``tolerant``: an invalid configuration is stored
        as ``config_error`` and the defaults apply; otherwise it raises.
        """
        self.verb = verb
        self.needs = needs
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
        self._server: ServerConfig | None = None
        self.responder_name = ""
        """The display name of the model or server that answers; "" until it is known."""
        self.adapters: tuple[LoraAdapter, ...] = ()
        """The adapters of the model that answers."""
        self.weights: str | None = None
        """The weights that answer: "original" or a type; None until it is known, and for a server that does not say."""
        self.model: ModelFile | None = None
        """The model of this machine that answers, with its adapters and draft model; None for a server."""
        self.weights_copy: DerivedCopy | None = None
        """The file of ``weights``, None for the model's own, and where the worker finds it itself."""
        self.input_characters: int | None = 0
        """Characters of the input read so far; None if it is read while it arrives."""

    def pin_weights(self, weights: str, origin: str) -> None:
        """Use these weights unless the user chose others; ``origin`` says what needs them.

        Call it before ``backend``.
        """
        if self.settings["weights"] == AUTO_WEIGHTS:
            self.settings = Settings({**self.settings.values, "weights": Setting(weights, origin)})
            self.config = RunConfig(self.settings, self.paths, self.environ, self.interrupt, self.observer)

    def close(self) -> None:
        """Close the backend."""
        if self._backend is not None:
            self._backend.close()

    @cached_property
    def prompts(self) -> PromptLibrary:
        """The prompt files."""
        from llmcli.prompts.prompt_library import PromptLibrary

        return PromptLibrary(self.paths.prompts, cache=self.paths.cache / "prompts")

    @cached_property
    def models(self) -> ModelLibrary:
        """The models of this machine."""
        from llmcli.models.library.model_library import ModelLibrary

        return ModelLibrary(self.settings, self.paths, self.environ, verb=self.verb, warn=self.observer.warn)

    @property
    def prior_directory(self) -> Path:
        """The directory in the cache for priors of the weights that answer, once the backend has been built."""
        return self.paths.cache / "priors" / (self.weights or "server")

    @property
    def is_remote(self) -> bool:
        """Whether a remote server was chosen."""
        return self.settings["base_url"] is not None or self.settings["backend"] != "local"

    def resolve_model(self) -> ModelFile:
        """Return the resolved and verified model with its adapters; it is downloaded first if the user agrees.

        Raises ``ModelNotDownloaded``, ``DamagedModel`` and what the download and ``find_adapters`` raise.
        """
        from llmcli.types import Phase

        model = self._find_verified_model()
        if self.settings["lora"]:
            with self.observer.waiting(Phase.CHECKING, ", ".join(self.settings["lora"])):
                model = self.add_adapters(model)
        self.adapters = model.adapters
        self.observer.model_used(model, self.models)
        return model

    def add_adapters(
        self, model: ModelFile, texts: Sequence[str] | None = None, *, registry: ModelRegistry | None = None
    ) -> ModelFile:
        """Return ``model`` with the adapters ``texts`` (``FILE[:SCALE]``; None: those of the settings).

        ``registry`` keeps the hashes of their files (None: that of ``models``). Raises as ``find_adapters``.
        """
        texts = self.settings["lora"] if texts is None else texts
        if not texts:
            return model
        from llmcli.fast_dataclass import replace
        from llmcli.models.library.adapter_files import find_adapters

        return replace(model, adapters=find_adapters(texts, registry or self.models.registry, self.interrupt))

    def _find_verified_model(self) -> ModelFile:
        return self._find_verified(self.model_name)

    def _find_verified(self, name: str | None) -> ModelFile:
        from llmcli.types import Phase

        try:
            with self.observer.waiting(Phase.CHECKING, name or self.models.default_model()[0]):
                return self.models.ensure_verified(name, self.interrupt)
        except DamagedModel as damaged:
            if not self.settings["pull"]:
                raise
            return self.pull_model(damaged.subject)
        except ModelNotDownloaded as missing:
            missing.context = self._given_context
            wanted = missing.subject if self.settings["pull"] else self._choose_download(missing, name)
            if wanted is None:
                raise
            return self.pull_model(wanted)

    def _choose_download(self, missing: ModelNotDownloaded, name: str | None) -> str | None:
        """Return the model that the user wants downloaded: the missing one, or at the first run another one."""
        if self.models.offline:
            return None
        if name is not None or self.models.defaults.is_chosen():
            return missing.subject if self.observer.confirm_download(missing) else None
        chosen = self.observer.choose_first_model(self.models, partial(self.fit_policy, shown=True), self.verb)
        if chosen is not None and chosen != missing.subject:
            self.models.set_default(chosen)
        return chosen

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
            if self._server is not None and self.needs.labels:
                self._take_weights(self._server, self._backend.info())
        return self._backend

    def _build_local(self) -> Backend:
        from llmcli.runtime.backend_factory import require_engine

        require_engine(self.config)  # before a model is downloaded
        model = self.resolve_model()
        if self.settings["ctx"] != "auto":
            from llmcli.runtime.preflight import check_context

            check_context(model, self.settings)
        model = self.add_draft(model)
        self.responder_name = model.name
        self.model, backend = model, self._build_with_weights(model)
        if self.needs.labels:
            model_weights.note_weights(self.config, model, self.weights or ORIGINAL_WEIGHTS)
            model_weights.note_engine(self.config, model)
        return backend

    def _build_with_weights(self, model: ModelFile) -> Backend:
        """Return the backend on the weights of ``model`` that are chosen for the work."""
        from llmcli.runtime import backend_factory

        chosen = model_weights.resolve_weights(self.config, self.models, model, self.needs, self.input_characters)
        self.weights = chosen.weights
        if chosen.weights == ORIGINAL_WEIGHTS:
            return backend_factory.build_local(self.config, self.models, model)
        try:
            return self._build_derived(model, chosen)
        except BadModelFile as error:  # the header of a damaged copy
            copy = chosen.copy
            if copy is None or error.subject != str(copy.path):
                raise
            if not self.models.derived_weights.remove_if_damaged(copy, self.interrupt):
                raise
        self.observer.explain(f"the copy of {model.name} in {chosen.weights} was damaged and is made again if needed")
        return self._build_with_weights(model)

    def add_draft(self, model: ModelFile) -> ModelFile:
        """Return ``model`` with the verified draft model of the settings, if there is one. Raises as ``find_draft``."""
        if not self.wants_draft:
            return model
        from llmcli.fast_dataclass import replace
        from llmcli.runtime.preflight import find_draft

        return replace(model, draft=find_draft(self.config, model, self._find_verified))

    @property
    def wants_draft(self) -> bool:
        """Whether the settings name a draft model that the command uses."""
        return bool(self.settings["draft"] != NO_DRAFT and self.needs.drafts)

    def _build_derived(self, model: ModelFile, chosen: ChosenWeights) -> Backend:
        """Return the backend on a copy of the model; if llm chose that and it cannot be loaded, on the original."""
        from llmcli.runtime import backend_factory

        backend = None
        try:
            backend = backend_factory.build_local(self.config, self.models, model, chosen)
            if chosen.automatic:
                backend.info()  # waits until it is loaded
        except LlmError as error:
            from llmcli.errors.model_errors import DerivedWeightsMissing

            if backend is not None:
                backend.close()
            if not (chosen.automatic and isinstance(error, OutOfMemory | DerivedWeightsMissing)):
                raise
            self.observer.explain(f"original weights: those in {chosen.weights} cannot be loaded: {error.subject}")
            self.weights = ORIGINAL_WEIGHTS
            return backend_factory.build_local(self.config, self.models, model)
        self.weights_copy = chosen.copy
        where = "in the worker" if chosen.copy is None else f"file {chosen.copy.path}"
        self.observer.explain(f"{chosen.weights} weights of {model.name}, {where}")
        return backend

    def _build_remote(self) -> Backend | None:
        """Return the backend of the chosen server, None for this machine."""
        from llmcli.runtime import backend_factory, consent  # imported only if a server is used

        server, origin = consent.chosen_server(self.settings)
        if server is None:
            return None
        if self.settings["deterministic"]:
            raise Unsupported("--deterministic", detail=f"{server.label} does not guarantee deterministic answers")
        if self.wants_draft and self.settings.origin("draft").startswith("--"):
            raise Unsupported(
                self.settings.origin("draft"), detail=f"{server.label} runs its models without one of this machine"
            )
        if self.settings["lora"]:
            from llmcli.errors.model_errors import UnsupportedAdapter

            raise UnsupportedAdapter(
                self.settings.origin("lora"), detail=f"{server.label} runs its own models, without your adapters"
            )
        budget = consent.make_budget(self.settings, server, self.model_name)
        consent.require_consent(self.config, server, self.models, consents=self._consents)
        self.responder_name, self._server = server.label, server
        backend = backend_factory.build_remote(
            self.config, server, origin, self.model_name, budget, labels=self.needs.labels
        )
        if not server.is_loopback:
            self.observer.server_used(server)
        return self._without_private_values(backend, server)

    def _take_weights(self, server: ServerConfig, info: BackendInfo) -> None:
        """Note which weights label on a server, if it says so; say so if earlier labels of the model had others.

        Raises ``Unsupported`` if the user asked for others.
        """
        weights = info.weights
        if weights is None:
            return
        requested = self.settings["weights"]
        if requested not in {AUTO_WEIGHTS, weights} and self.settings.origin("weights").startswith("--"):
            raise Unsupported(
                f"--set weights={requested}",
                detail=f"{server.label} labels with {weights} weights; its own option chooses",
            )
        self.weights = weights
        model_weights.warn_of_change(self.config, info.model, info.model_id, weights)

    def _without_private_values(self, backend: Backend, server: ServerConfig) -> Backend:
        """Return the backend of a server, with private values replaced before they reach it, if that is wanted."""
        from llmcli.runtime import redaction_policy

        mode, origin = redaction_policy.choose_mode(self.settings, server)
        self.observer.explain(f"private values are {'sent as they are' if mode == 'off' else 'replaced'} ({origin})")
        if mode == "off":
            return backend
        name_backend = self.build_name_backend() if mode == "names" else None
        return redaction_policy.build_redacting_backend(self.settings, self.prompts, backend, name_backend)

    def build_name_backend(self, name: str | None = None) -> Backend:
        """Return the backend of a model on this machine that finds names of people, which the caller closes.

        ``name`` None: the model of the settings. Raises as ``backend``.
        """
        from llmcli.runtime import redaction_policy

        return self.build_model_backend(name or redaction_policy.name_model(self.settings, self.models))

    def build_model_backend(self, name: str | None) -> Backend:
        """Return the backend of another model on this machine, which the caller closes. Raises as ``backend``."""
        from llmcli.runtime import backend_factory

        return backend_factory.build_local(self.config, self.models, self._find_verified(name))

    @property
    def server(self) -> ServerConfig | None:
        """The server that answers, None if a model of this machine does."""
        return self._server

    def price_of(self, model: str) -> Price | None:
        """Return what the tokens of ``model`` cost, None where it runs on this machine or that is not known."""
        return None if self._server is None else self._server.price_of(model)

    @property
    def currency(self) -> str:
        """The currency of what a hosted model costs, "" where its price is not known."""
        price = self.price_of(self.model_name or (self._server.model if self._server else "") or "")
        return "" if price is None else price.currency

    def backend_stats(self) -> BackendStats:
        """Return the statistics of the backend so far; empty if it was not built."""
        from llmcli.types import BackendStats

        return BackendStats() if self._backend is None else self._backend.stats()
