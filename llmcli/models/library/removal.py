"""Removing models and files that are no longer needed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from llmcli.errors import BadModelFile, MissingError, ModelNotDownloaded
from llmcli.models.files import names
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.paths import check_removable, translate_write_errors
from llmcli.models.hub.partial_file import orphaned_partials
from llmcli.models.library.derived_weights import DerivedWeightsStore
from llmcli.models.library.prune import PruneCandidate, find_prune_candidates, remove_candidate
from llmcli.models.library.registry import LastUsedTimes
from llmcli.models.library.resolver import ModelResolver


class ModelRemover:
    """Removes what ``models`` finds.

    ``scratch_directory`` has the leftovers of downloads; ``introduced_models`` marks the models that users were told
    about; ``derived_weights`` has copies of models in other types.
    """

    def __init__(
        self,
        models: ModelResolver,
        scratch_directory: Path,
        introduced_models: LastUsedTimes,
        derived_weights: DerivedWeightsStore,
    ) -> None:
        self._models = models
        self._scratch_directory = scratch_directory
        self._introduced_models = introduced_models
        self._derived_weights = derived_weights

    def find_removable(self, name: str) -> ModelFile:
        """Return the model that ``remove`` would remove: as ``find``, and also incomplete models.

        A missing imported file counts too.
        """
        key = self._models.canonical_name(name)
        for imported, path in self._models.imports.paths().items():
            if key in {imported, str(path)} and (model := self._models.describe_import(imported, path)).missing:
                return model
        try:
            return self._models.find(name)
        except ModelNotDownloaded:
            entry, hub_name = self._models.catalogue.get(key), names.parse_hub_name(key)
            torn = (
                self._models.inventory.find_incomplete_entry(entry)
                if entry
                else hub_name and self._models.inventory.find_incomplete_hub(hub_name)
            )
            if not torn:
                raise
            return torn

    def orphaned_partials(self, name: str) -> list[Path]:
        """Return the leftovers of unfinished downloads of a missing model; for a name on the Hub, of its repository."""
        key = self._models.canonical_name(name)
        entry, hub_name = self._models.catalogue.get(key), names.parse_hub_name(key)
        repo = entry.repo if entry else hub_name.repo if hub_name else None
        found = orphaned_partials(self._models.cache.repository_directory(repo) / "blobs") if repo else []
        pinned = entry.pin.sha256 if entry and entry.pin else ""
        return [path for path in found if path.name.startswith(pinned)]

    def remove(self, name: str) -> list[Path]:
        """Remove a model from the cache, or llm's copy of one, or forget a file elsewhere; return what was deleted.

        Its copies in other types are deleted too, unless another name means the same bytes.

        Blobs that another name needs stay, and so do files outside of llm's directories. Defaults and aliases that mean
        the model are forgotten. Nothing is deleted if the registry cannot be written, and nothing is forgotten if the
        files cannot be deleted. For a missing or incomplete model, what ``orphaned_partials`` returns is deleted.
        Raises as ``find``, and ``OutputError``.
        """
        try:
            model = self.find_removable(name)
        except ModelNotDownloaded:
            left = self.orphaned_partials(name)
            if not left:
                raise
            return _delete_files(left)
        own = self._models.checksums.is_imported_copy(model.path)
        chosen = [
            *self._models.registry.sections["defaults"].values(),
            *self._models.registry.sections["aliases"].values(),
        ]
        called = {
            self._models.canonical_name(name),
            model.name,
            *(each for each in chosen if self._models.refers_to(each, model)),
        }
        left = self.orphaned_partials(name) if model.missing else []
        removed: list[Path] = []

        def delete() -> None:
            if own:
                removed.extend(_delete_files(part for part in model.parts if os.path.lexists(part)))
            elif model.repo is not None and model.file is not None:
                removed.extend(self._models.cache.remove(model.repo, names.part_names(model.file)))
                removed.extend(_delete_files(left))

        self._models.registry.forget_models(
            model.parts, called | ({names.model_stem(model.path.name)} if own else set()), delete
        )
        source = model.weights_sha256
        if source is not None and source not in {each.weights_sha256 for each in self._models.list()}:
            removed += self._derived_weights.remove(source)
        return removed

    def find_prune_candidates(self) -> list[PruneCandidate]:
        """Return the files that are no longer needed; see ``prune.find_prune_candidates``.

        This includes copies in other types of models that are no longer here.
        """
        derived = [PruneCandidate(*each) for each in self._derived_weights.find_unneeded(self._known_sources())]
        return derived + find_prune_candidates(
            self._models.cache, self._models.imports.directory, self._scratch_directory, self._models.registry.path
        )

    def _known_sources(self) -> set[str | None]:
        """Return the hashes of all weights that are here: of models, of files, and of split models used by a path."""
        found = {model.weights_sha256 for model in self._models.list()} | self._models.registry.existing_hashes()
        for name in self._models.registry.sections["names"]:
            with suppress(MissingError, ModelNotDownloaded, BadModelFile):
                found.add(self._models.find(name).weights_sha256)
        return found

    def prune(self, found: Collection[PruneCandidate]) -> list[PruneCandidate]:
        """Remove those of ``found`` that are still unneeded, and return them; forget the records of missing files.

        Raises ``OutputError``.
        """
        agreed = {waste.path for waste in found}
        removed = [waste for waste in self.find_prune_candidates() if waste.path in agreed]
        for waste in removed:
            remove_candidate(waste, self._models.cache)
        self._models.registry.forget_missing_files()
        known = {model.sha256 for model in self._models.list()} | self._models.registry.known_hashes()
        for marks in (self._models.last_used, self._introduced_models):
            _delete_files(path for sha256, path in marks.marker_files().items() if sha256 not in known)
        return removed


def _delete_files(paths: Iterable[Path]) -> list[Path]:
    """Delete files and return them. Raises ``OutputError``, before the first one is deleted if that can be known."""
    gone = list(paths)
    check_removable(gone)
    for path in gone:
        with translate_write_errors(path):
            path.unlink(missing_ok=True)
    return gone
