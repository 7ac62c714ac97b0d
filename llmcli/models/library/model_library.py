"""The models of this machine: resolving names, fetching, forgetting; nothing unchecked is ever loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.app_paths import AppPaths
from llmcli.errors import BadModelFile, DamagedModel, ModelNotDownloaded, Offline, UsageError
from llmcli.fast_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.models.files import names
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.paths import is_path
from llmcli.models.library.registry import LastUsedTimes
from llmcli.models.library.resolver import ModelAlias, ModelResolver, check_new_name
from llmcli.settings import Settings
from llmcli.types import ItemFailed, Notice, Progress

if TYPE_CHECKING:
    from llmcli.models.gguf.header import Header
    from llmcli.models.hub.variants import FoundRepository, VariantList
    from llmcli.models.library.derived_weights import DerivedWeightsStore
    from llmcli.models.library.removal import ModelRemover
    from llmcli.models.library.verification import ModelVerifier
    from llmcli.models.memory_estimate import FitPolicy
    from llmcli.network.transfers import DownloadRetryPolicy

__all__ = ["ModelFile", "ModelLibrary"]

RATE_FILE = "download_rate"
"""The file in the cache directory that holds the rate of the last download."""
_TRUE_WORDS = frozenset({"1", "on", "yes", "true"})

UnsupportedReason = Callable[["Header"], str]
"""Returns from a header why such a model cannot run here, "" if it can."""


def _no_reason(_: Header) -> str:
    return ""


class ModelLibrary(ModelResolver):
    """The models that ``ModelResolver`` finds, and all operations on them."""

    def __init__(
        self,
        settings: Settings,
        paths: AppPaths,
        environ: Mapping[str, str],
        *,
        verb: str = "",
        retry_policy: DownloadRetryPolicy | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``verb``, ``warn``: as in ``ModelResolver``; ``retry_policy`` for the network: None for the usual one."""
        super().__init__(settings, paths, environ, verb, warn)
        self._settings = settings
        self._environ = environ
        self._retry_policy = retry_policy
        self._scratch_directory = paths.cache
        self._rate_file = paths.cache / RATE_FILE
        self._introduced_models = LastUsedTimes(paths.data / "introduced")
        self._derived_directory = paths.derived_weights

    @cached_property
    def _verifier(self) -> ModelVerifier:
        from llmcli.models.library.verification import ModelVerifier

        return ModelVerifier(self.checksums, self.registry)

    @cached_property
    def derived_weights(self) -> DerivedWeightsStore:
        """The copies of models in other types, with the limit of the settings."""
        from llmcli.models.library.derived_weights import DerivedWeightsStore

        return DerivedWeightsStore(self._derived_directory.absolute(), self._settings.copies_bytes)

    # ---- choosing -------------------------------------------------------------------------------------------------

    def set_default(
        self, name: str, verb: str = "", *, unsupported_reason: UnsupportedReason = _no_reason
    ) -> ModelFile | None:
        """Make ``name`` the default of one verb or of all, unless ``unsupported_reason`` says why it cannot run here.

        Returns the model, None if it is not on this machine. Raises ``MissingError`` for an unknown name,
        ``BadModelFile``, ``ConfigError`` and ``OutputError``.
        """
        model = None
        with suppress(ModelNotDownloaded):
            model = self.find(name)
            if wrong := _unsupported_reason_of(model, unsupported_reason):
                raise BadModelFile(str(model.path), detail=wrong)
        self.defaults.store_default(self._checked_name(name), verb)
        return model

    def set_alias(self, name: str, model: str) -> ModelAlias:
        """Make ``name`` an alias of ``model``; raises as ``set_default`` and ``ModelDefaults.store_alias``."""
        if name in self.imports.paths():
            raise UsageError(f"{name} is the name of an imported model", detail="Choose another name.")
        self.defaults.store_alias(name, self._checked_name(model))
        return self.defaults.get_alias(name)

    def _checked_name(self, name: str) -> str:
        """Return the model that ``name`` means. Raises ``MissingError`` for an unknown name, and ``BadModelFile``."""
        key = self.canonical_name(name)
        with suppress(ModelNotDownloaded):  # still a good name; the model is fetched when it is needed
            self.find(key)
        return key

    # ---- checking -------------------------------------------------------------------------------------------------

    def ensure_verified(self, name: str | None, interrupt: Interrupt) -> ModelFile:
        """Return the model ``name`` for loading: its SHA-256 is as announced by its source or pinned by the catalogue.

        A file is hashed once, and again when its size or time has changed; a file without an announced hash is hashed
        to detect later changes. The model counts as used now. Raises as ``find``, and as ``ModelVerifier.verify``.
        """
        model = self._verify_once(self.canonical_name(name), interrupt)
        self.last_used.record_use(model.sha256)
        return model

    def mark_introduced(self, model: ModelFile) -> bool:
        """Return whether a model is used for the first time, and record that it was used."""
        if self._introduced_models.last_used_at(model.sha256) is not None:
            return False
        self._introduced_models.record_use(model.sha256)
        return True

    def _verify_once(self, key: str, interrupt: Interrupt) -> ModelFile:
        remembered = self._find_verified(key)
        if remembered is not None:
            return remembered
        from llmcli.models.library.verification import run_to_completion

        return run_to_completion(self._verifier.verify(self._resolve_uncached(key), key, interrupt))

    def verify(self, model: ModelFile, interrupt: Interrupt) -> Iterator[Progress | ModelFile]:
        """Hash all files of ``model`` again; the last item is the model. Raises as ``ModelVerifier.verify``."""
        yield (yield from self._verifier.verify(model, model.name, interrupt, again=True))

    # ---- getting --------------------------------------------------------------------------------------------------

    def pull(
        self, name: str | None, interrupt: Interrupt, *, fit_policy: FitPolicy | None = None
    ) -> Iterator[Progress | Notice | VariantList | ModelFile]:
        """Fetch the model ``name`` if necessary, and check it; the last item is the model.

        Nothing is fetched if the model is here; a damaged one is replaced. ``fit_policy`` limits what is fetched. A
        file that is named by its path is hashed and registered, not copied. Raises as ``ensure_verified``, ``Offline``,
        and what ``Puller`` raises.
        """
        key = self.canonical_name(name)
        if is_path(key):
            if fit_policy is not None:
                yield from _warn_if_unsupported(
                    self.inventory.describe_path(Path(key), key), fit_policy.unsupported_reason
                )
            yield from self._register_in_place(Path(key), interrupt)
            return
        try:
            yield self._verify_once(key, interrupt)
        except ModelNotDownloaded:  # it is fetched below
            pass
        except DamagedModel as error:
            if error.repair:  # it came from elsewhere
                raise
            yield Notice(f"{error.subject} is damaged: {error.detail}; fetching it again")
            key, fit_policy = (
                (error.subject if names.parse_hub_name(error.subject) else key),
                None,
            )  # exactly that file
        else:
            return
        if self.offline:
            raise Offline(key, origin=self.offline_origin)
        yield from self._download(key, interrupt, fit_policy)
        yield self._verify_once(key, interrupt)

    def search(
        self, words: str, limit: int, fit_policy: FitPolicy, interrupt: Interrupt
    ) -> Iterator[Progress | Notice | ItemFailed | FoundRepository]:
        """Yield models from repositories of the Hub whose names match. Raises ``Offline``, and as ``search_models``."""
        if self.offline:
            raise Offline("a search", origin=self.offline_origin)
        from llmcli.models.hub.hub_client import HubClient
        from llmcli.models.hub.variants import search_models
        from llmcli.network.transfers import DownloadRetryPolicy

        retry_policy = replace(self._retry_policy or DownloadRetryPolicy(), max_tries=2)  # there are other repositories
        yield from search_models(HubClient(self._environ, retry_policy), words, limit, fit_policy, interrupt)

    @property
    def offline(self) -> bool:
        """Whether the user forbade the network."""
        return bool(self.offline_origin)

    @property
    def offline_origin(self) -> str:
        """The option, variable or file by which the user forbade the network, "" if it is allowed."""
        if self._settings["offline"]:
            return self._settings.origin("offline")
        told = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        return next((variable for variable in told if self._environ.get(variable, "").lower() in _TRUE_WORDS), "")

    def _download(
        self, key: str, interrupt: Interrupt, fit_policy: FitPolicy | None
    ) -> Iterator[Progress | Notice | VariantList]:
        from llmcli.models.hub.hub_client import HubClient
        from llmcli.models.hub.puller import Puller, StoredFile
        from llmcli.models.hub.transfer_rate import save_rate
        from llmcli.models.library.inventory import read_file_record

        hub = HubClient(self._environ, self._retry_policy)
        puller = Puller(
            hub, self.cache, environ=self._environ, scratch_directory=self._scratch_directory, fit_policy=fit_policy
        )
        hub_name = names.parse_hub_name(key)
        if hub_name is not None:
            events = puller.pull_hub_name(hub_name, interrupt)
        else:
            events = puller.pull_entry(self.catalogue[key], interrupt)
        for event in events:
            if isinstance(event, StoredFile):
                self.registry.save_records({event.path: read_file_record(event.path, event.sha256)})
            else:
                yield event
        if hub.meter.bytes_per_s is not None:
            save_rate(self._rate_file, hub.meter.bytes_per_s)

    def download_rate(self) -> float | None:
        """Return the rate of the last download in bytes a second; None if none is known."""
        from llmcli.models.hub.transfer_rate import load_rate

        return load_rate(self._rate_file)

    def _register_in_place(self, path: Path, interrupt: Interrupt) -> Iterator[Notice | ModelFile]:
        """Register the file at ``path`` in place, as it is now; by its stem if that is free, else by its path."""
        for part in (path.with_name(file) for file in names.part_names(path.name)):
            known = self.registry.last_record(part)
            if (
                known is not None
                and known.damaged
                and not known.announced
                and not self.checksums.is_imported_copy(part)
            ):
                yield Notice(f"{part} has changed; from now on llm uses it as it is now")
                self.registry.forget_file(part)
        model = self._verify_once(str(path), interrupt)
        _require_model(path)  # an adapter that --lora has used is verified too
        name = names.model_stem(path.name)
        if self.checksums.is_imported_copy(path):
            yield replace(model, name=name)
            return
        aliases = {alias.name: alias.model for alias in self.defaults.aliases()}
        taken = {**aliases, **self.catalogue, **self.imports.paths()}
        if not names.is_valid_name(name) or str(taken.get(name, path)) != str(path):
            name = str(path)
        self.imports.register_in_place(name, path)
        yield replace(model, name=name)

    def import_file(
        self, path: Path, interrupt: Interrupt, *, name: str = "", unsupported_reason: UnsupportedReason = _no_reason
    ) -> Iterator[Progress | Notice | ModelFile]:
        """Import the model at ``path`` as ``name`` ("": its file's stem); the last item is the model.

        A reason from ``unsupported_reason`` is only a notice: the model may be useful to other programs. Raises
        ``UsageError`` for a name that is invalid or taken, and as ``ImportedModels.import_copy``.
        """
        source = self.inventory.describe_path(Path(os.path.abspath(path.expanduser())), str(path))  # noqa: PTH100 (keeps links)
        yield from _warn_if_unsupported(source, unsupported_reason)
        name = name or names.sanitize_name(names.model_stem(path.name))
        check_new_name(name, "the name of an import")
        for alias in self.defaults.aliases():
            if alias.name == name:
                raise UsageError(f"{name} is an alias of {alias.model}", detail="Choose another name with --name.")
        yield from self.imports.import_copy(source, name, interrupt)
        yield self._verify_once(name, interrupt)

    # ---- forgetting -----------------------------------------------------------------------------------------------

    @cached_property
    def remover(self) -> ModelRemover:
        """Removes and forgets models, and files that are no longer needed."""
        from llmcli.models.library.removal import ModelRemover

        return ModelRemover(self, self._scratch_directory, self._introduced_models, self.derived_weights)


def _require_model(path: Path) -> None:
    """Raise as ``read_header`` and ``check_is_model``."""
    from llmcli.models.gguf.header_parser import check_is_model, read_header

    check_is_model(read_header(path), str(path))


def _unsupported_reason_of(model: ModelFile, unsupported_reason: UnsupportedReason) -> str:
    """Return what ``unsupported_reason`` says about a model. Raises as ``read_header``."""
    from llmcli.models.gguf.header_parser import read_header

    return unsupported_reason(read_header(model.path))


def _warn_if_unsupported(model: ModelFile, unsupported_reason: UnsupportedReason) -> Iterator[Notice]:
    """Give the warning now that commands running the model would give later."""
    wrong = _unsupported_reason_of(model, unsupported_reason)
    if wrong:
        yield Notice(f"commands that write text cannot use {model.path}: {wrong}")
