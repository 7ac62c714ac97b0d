"""The models of this machine: names, downloads, verification before loading, removal."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import BadModelFile, DamagedModel, ModelNotDownloaded, Offline, UsageError
from llmcli.interrupt import Interrupt
from llmcli.models import names
from llmcli.models.library.defaults import ModelAlias, check_new_name
from llmcli.models.library.last_used import LastUsedTimes
from llmcli.models.library.resolver import ModelResolver
from llmcli.models.model_file import ModelFile
from llmcli.models.paths import check_removable, is_path, translate_write_errors
from llmcli.settings import AppPaths, Settings
from llmcli.types import ItemFailed, Notice, Progress

if TYPE_CHECKING:
    from llmcli.models.gguf.header import Header
    from llmcli.models.hub.hub_client import DownloadRetryPolicy
    from llmcli.models.hub.hub_search import FoundRepository
    from llmcli.models.hub.variants import VariantList
    from llmcli.models.library.prune import PruneCandidate
    from llmcli.models.library.verification import ModelVerifier
    from llmcli.models.memory_estimate import FitPolicy

__all__ = ["ModelFile", "ModelLibrary"]

_TRUE_WORDS = frozenset({"1", "on", "yes", "true"})

UnsupportedReason = Callable[["Header"], str]
"""Returns why a model with a header cannot run here, "" where it can."""


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
        """``verb``, ``warn``: as ``ModelResolver``; ``retry_policy`` of downloads: None for the default."""
        super().__init__(settings, paths, environ, verb, warn)
        self._settings = settings
        self._environ = environ
        self._retry_policy = retry_policy
        self._scratch_directory = paths.cache
        self._introduced_models = LastUsedTimes(paths.data / "introduced")

    @cached_property
    def _verifier(self) -> ModelVerifier:
        from llmcli.models.library.verification import ModelVerifier

        return ModelVerifier(self._checksums, self._registry)

    # ---- choosing -------------------------------------------------------------------------------------------------

    def set_default(self, name: str, verb: str = "", *, unsupported_reason: UnsupportedReason = _no_reason) -> None:
        """Make ``name`` the default, of one verb or of all, unless ``unsupported_reason`` returns one for a model here.

        Raises ``MissingError`` for an unknown name, ``BadModelFile``, ``ConfigError`` and ``OutputError``.
        """
        with suppress(ModelNotDownloaded):
            model = self.find(name)
            if wrong := _unsupported_reason_of(model, unsupported_reason):
                raise BadModelFile(str(model.path), detail=wrong)
        self.defaults.store_default(self._checked_name(name), verb)

    def set_alias(self, name: str, model: str) -> ModelAlias:
        """Store ``name`` as an alias of ``model``; raises as ``set_default`` and ``ModelDefaults.store_alias``."""
        if name in self._imports.paths():
            raise UsageError(f"{name} is the name of an imported model", detail="Choose another name.")
        self.defaults.store_alias(name, self._checked_name(model))
        return self.defaults.get_alias(name)

    def _checked_name(self, name: str) -> str:
        """Return the model that ``name`` means. Raises ``MissingError`` and ``BadModelFile``."""
        key = self._canonical_name(name)
        with suppress(ModelNotDownloaded):  # a valid name too; the model is downloaded when it is needed
            self.find(key)
        return key

    # ---- checking -------------------------------------------------------------------------------------------------

    def ensure_verified(self, name: str | None, interrupt: Interrupt) -> ModelFile:
        """Return the model ``name`` for loading: its SHA-256 is that announced by its source or pinned by the catalogue.

        A file is hashed once, and again when its size or time has changed; one without an announced hash is hashed so
        that later changes are detected. The use of the model is recorded. Raises as ``find`` and ``ModelVerifier.verify``.
        """
        model = self._verify_once(self._canonical_name(name), interrupt)
        self._last_used.record_use(model.sha256)
        return model

    def mark_introduced(self, model: ModelFile) -> bool:
        """Return whether the user was not told about a model yet, and record that now the user is."""
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
        """Download and verify the model ``name``; the last item is the model.

        A model that is here already is not downloaded; a damaged one is replaced. ``fit_policy``: what a downloaded model
        has to fit. A file that is named by its path is hashed and registered, not copied. Raises as ``ensure_verified``,
        ``Offline``, and what ``Puller`` raises.
        """
        key = self._canonical_name(name)
        if is_path(key):
            if fit_policy is not None:
                yield from _warn_if_unsupported(
                    self._inventory.describe_path(Path(key), key), fit_policy.unsupported_reason
                )
            yield from self._register_in_place(Path(key), interrupt)
            return
        try:
            yield self._verify_once(key, interrupt)
        except ModelNotDownloaded:
            pass
        except DamagedModel as error:
            if error.repair:  # it was imported
                raise
            yield Notice(f"{error.subject} is damaged: {error.detail}; fetching it again")
            key, fit_policy = (
                (error.subject if names.parse_hub_name(error.subject) else key),
                None,
            )  # that file, no other
        else:
            return
        if self.offline:
            raise Offline(key, origin=self.offline_origin)
        yield from self._download(key, interrupt, fit_policy)
        yield self._verify_once(key, interrupt)

    def search(
        self, words: str, limit: int, fit_policy: FitPolicy, interrupt: Interrupt
    ) -> Iterator[Progress | Notice | ItemFailed | FoundRepository]:
        """Yield the models of matching repositories on the Hub. Raises ``Offline``, and as ``search_models``."""
        if self.offline:
            raise Offline("a search", origin=self.offline_origin)
        from llmcli.models.hub.hub_client import DownloadRetryPolicy, HubClient
        from llmcli.models.hub.hub_search import search_models

        retry_policy = replace(self._retry_policy or DownloadRetryPolicy(), max_tries=2)  # there are other repositories
        yield from search_models(HubClient(self._environ, retry_policy), words, limit, fit_policy, interrupt)

    @property
    def offline(self) -> bool:
        """Whether the user forbade the network."""
        return bool(self.offline_origin)

    @property
    def offline_origin(self) -> str:
        """The option, variable or file by which the user forbade the network, "" where it is allowed."""
        if self._settings["offline"]:
            return self._settings.origin("offline")
        variables = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        return next((variable for variable in variables if self._environ.get(variable, "").lower() in _TRUE_WORDS), "")

    def _download(
        self, key: str, interrupt: Interrupt, fit_policy: FitPolicy | None
    ) -> Iterator[Progress | Notice | VariantList]:
        from llmcli.models.hub.hub_client import HubClient
        from llmcli.models.hub.puller import Puller, StoredFile
        from llmcli.models.library.inventory import read_file_record

        hub = HubClient(self._environ, self._retry_policy)
        puller = Puller(
            hub, self._cache, environ=self._environ, scratch_directory=self._scratch_directory, fit_policy=fit_policy
        )
        hub_name = names.parse_hub_name(key)
        if hub_name is not None:
            events = puller.pull_hub_name(hub_name, interrupt)
        else:
            events = puller.pull_entry(self._catalogue[key], interrupt)
        for event in events:
            if isinstance(event, StoredFile):
                self._registry.save_records({event.path: read_file_record(event.path, event.sha256)})
            else:
                yield event

    def _register_in_place(self, path: Path, interrupt: Interrupt) -> Iterator[Notice | ModelFile]:
        """Register the file at ``path`` as it is now; by its stem where that is free, else by its path."""
        for part in (path.with_name(file) for file in names.part_names(path.name)):
            known = self._registry.last_record(part)
            if (
                known is not None
                and known.damaged
                and not known.announced
                and not self._checksums.is_imported_copy(part)
            ):
                yield Notice(f"{part} is not what it was; from now on it counts as it is now")
                self._registry.forget_file(part)
        model = self._verify_once(str(path), interrupt)
        name = names.model_stem(path.name)
        if self._checksums.is_imported_copy(path):
            yield replace(model, name=name)
            return
        aliases = {alias.name: alias.model for alias in self.defaults.aliases()}
        used_names = {**aliases, **self._catalogue, **self._imports.paths()}
        if not names.is_valid_name(name) or str(used_names.get(name, path)) != str(path):
            name = str(path)
        self._imports.register_in_place(name, path)
        yield replace(model, name=name)

    def import_file(
        self, path: Path, interrupt: Interrupt, *, name: str = "", unsupported_reason: UnsupportedReason = _no_reason
    ) -> Iterator[Progress | Notice | ModelFile]:
        """Import a copy of the model at ``path`` as ``name`` ("": its file's stem); the last item is the model.

        ``unsupported_reason`` only causes a notice: other programs may use the model. Raises ``UsageError`` for a name
        that is invalid or in use, and as ``ImportedModels.import_copy``.
        """
        source = self._inventory.describe_path(Path(os.path.abspath(path.expanduser())), str(path))  # noqa: PTH100 (keeps links)
        yield from _warn_if_unsupported(source, unsupported_reason)
        name = name or names.sanitize_name(names.model_stem(path.name))
        check_new_name(name, "the name of an import")
        for alias in self.defaults.aliases():
            if alias.name == name:
                raise UsageError(f"{name} is an alias of {alias.model}", detail="Choose another name with --name.")
        yield from self._imports.import_copy(source, name, interrupt)
        yield self._verify_once(name, interrupt)

    # ---- removing -------------------------------------------------------------------------------------------------

    def find_removable(self, name: str) -> ModelFile:
        """Return the model that ``remove`` would remove: as ``find``, and the rest of an incomplete one.

        A missing imported file counts as incomplete.
        """
        key = self._canonical_name(name)
        for imported, path in self._imports.paths().items():
            if key in {imported, str(path)} and (model := self._describe_import(imported, path)).missing:
                return model
        try:
            return self.find(name)
        except ModelNotDownloaded:
            entry, hub_name = self._catalogue.get(key), names.parse_hub_name(key)
            incomplete = (
                self._inventory.find_incomplete_entry(entry)
                if entry
                else hub_name and self._inventory.find_incomplete_hub(hub_name)
            )
            if not incomplete:
                raise
            return incomplete

    def orphaned_partials(self, name: str) -> builtins.list[Path]:
        """Return leftovers of unfinished downloads of a model that is not here; for a name on the Hub, of its repository."""
        from llmcli.models.hub.partial_file import orphaned_partials

        key = self._canonical_name(name)
        entry, hub_name = self._catalogue.get(key), names.parse_hub_name(key)
        repo = entry.repo if entry else hub_name.repo if hub_name else None
        found = orphaned_partials(self._cache.repository_directory(repo) / "blobs") if repo else []
        pinned = entry.pin.sha256 if entry and entry.pin else ""
        return [path for path in found if path.name.startswith(pinned)]

    def remove(self, name: str) -> builtins.list[Path]:
        """Remove a model from the cache, or a copy, or the registration of a file elsewhere; return the deleted paths.

        Blobs that another link needs stay, and so does a file elsewhere. Defaults and aliases of the model are removed.
        Nothing is deleted where the registry cannot be written, nothing unregistered where the files cannot be deleted.
        For a missing or incomplete model the files of ``orphaned_partials`` are deleted. Raises as ``find``, and
        ``OutputError``.
        """
        try:
            model = self.find_removable(name)
        except ModelNotDownloaded:
            left = self.orphaned_partials(name)
            if not left:
                raise
            return _delete_files(left)
        own = self._checksums.is_imported_copy(model.path)
        chosen = [*self._registry.sections["defaults"].values(), *self._registry.sections["aliases"].values()]
        called = {self._canonical_name(name), model.name, *(each for each in chosen if self.refers_to(each, model))}
        left = self.orphaned_partials(name) if model.missing else []
        removed: builtins.list[Path] = []

        def delete() -> None:
            if own:
                removed.extend(_delete_files(part for part in model.parts if os.path.lexists(part)))
            elif model.repo is not None and model.file is not None:
                removed.extend(self._cache.remove(model.repo, names.part_names(model.file)))
                removed.extend(_delete_files(left))

        self._registry.forget_models(
            model.parts, called | ({names.model_stem(model.path.name)} if own else set()), delete
        )
        return removed

    def find_prune_candidates(self) -> builtins.list[PruneCandidate]:
        """Return what is not needed any more; see ``prune.find_prune_candidates``."""
        from llmcli.models.library.prune import find_prune_candidates

        return find_prune_candidates(self._cache, self._imports.directory, self._scratch_directory, self._registry.path)

    def prune(self, found: Collection[PruneCandidate]) -> builtins.list[PruneCandidate]:
        """Remove what was ``found`` and still is not needed, and return it; forget the records of missing files.

        Raises ``OutputError``.
        """
        from llmcli.models.library.prune import remove_candidate

        agreed = {candidate.path for candidate in found}
        removed = [candidate for candidate in self.find_prune_candidates() if candidate.path in agreed]
        for candidate in removed:
            remove_candidate(candidate, self._cache)
        self._registry.forget_missing_files()
        known = {model.sha256 for model in self.list()} | self._registry.known_hashes()
        for marks in (self._last_used, self._introduced_models):
            _delete_files(path for sha256, path in marks.marker_files().items() if sha256 not in known)
        return removed


def _unsupported_reason_of(model: ModelFile, unsupported_reason: UnsupportedReason) -> str:
    """Return the ``unsupported_reason`` of a model. Raises as ``read_header``."""
    from llmcli.models.gguf.header import read_header

    return unsupported_reason(read_header(model.path))


def _warn_if_unsupported(model: ModelFile, unsupported_reason: UnsupportedReason) -> Iterator[Notice]:
    """Warn now about what the commands that run a model would report."""
    reason = _unsupported_reason_of(model, unsupported_reason)
    if reason:
        yield Notice(f"{model.path} is not of use to commands that write text: {reason}")


def _delete_files(paths: Iterable[Path]) -> list[Path]:
    """Delete files and return them. Raises ``OutputError``, where possible before the first is deleted."""
    deleted = list(paths)
    check_removable(deleted)
    for path in deleted:
        with translate_write_errors(path):
            path.unlink(missing_ok=True)
    return deleted
