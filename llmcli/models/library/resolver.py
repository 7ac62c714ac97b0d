"""Resolving names of models on this machine, and listing models; nothing is changed or downloaded."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.app_paths import AppPaths
from llmcli.errors import BadModelFile, MissingError, ModelNotDownloaded, UsageError
from llmcli.fast_dataclass import replace
from llmcli.models.files import names
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.paths import hub_cache_directory, is_path
from llmcli.models.library.defaults import ModelDefaults
from llmcli.models.library.registry import KnownChecksums, LastUsedTimes, ModelRegistry
from llmcli.settings import Settings

if TYPE_CHECKING:
    from llmcli.models.catalogue import CatalogueEntry
    from llmcli.models.hub.hub_cache import HubCache
    from llmcli.models.library.imports import ImportedModels
    from llmcli.models.library.inventory import ModelInventory


class ModelResolver:
    """Finds models in the Hugging Face cache, among the imports and at paths, under the names that ``-m`` accepts.

    A model that was found and verified before is read from the registry. A warm command needs no more, so the rest is
    imported late.
    """

    def __init__(
        self,
        settings: Settings,
        paths: AppPaths,
        environ: Mapping[str, str],
        verb: str = "",
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``verb`` is the running command, for its own default; ``warn`` is called with warnings for the user."""
        self._hub_directory = hub_cache_directory(environ).absolute()
        self._import_directory = paths.data.absolute() / "models"
        self.registry = ModelRegistry(paths.data / "models.json")
        self.checksums = KnownChecksums(self.registry, self._import_directory)
        self.last_used = LastUsedTimes(paths.data / "used")
        self.defaults = ModelDefaults(settings, self.registry, verb, warn)

    @cached_property
    def cache(self) -> HubCache:
        """The models that were downloaded from the Hub."""
        from llmcli.models.hub.hub_cache import HubCache

        return HubCache(self._hub_directory)

    @cached_property
    def catalogue(self) -> Mapping[str, CatalogueEntry]:
        """The models that llm knows by name."""
        from llmcli.models.catalogue import load_catalogue

        return load_catalogue()

    @cached_property
    def imports(self) -> ImportedModels:
        """The imported models."""
        from llmcli.models.library.imports import ImportedModels

        return ImportedModels(self._import_directory, self.registry)

    @cached_property
    def inventory(self) -> ModelInventory:
        """The models on this machine, read from the files."""
        from llmcli.models.library.inventory import ModelInventory

        return ModelInventory(self.cache, self.registry, self.checksums)

    # ---- names ----------------------------------------------------------------------------------------------------

    def default_model(self, verb: str | None = None) -> tuple[str, str]:
        """Return the default model and the origin of that choice; see ``ModelDefaults.default_model``."""
        return self.defaults.default_model(verb)

    def known_names(self) -> builtins.list[str]:
        """Return the names that -m accepts, quickly: aliases, imports, the catalogue, the cache."""
        from llmcli.models.catalogue import catalogue_names

        aliases = [alias.name for alias in self.defaults.aliases()]
        return list(dict.fromkeys([*aliases, *self.imports.paths(), *catalogue_names(), *self.inventory.hub_names()]))

    def catalogue_entries(self) -> builtins.list[CatalogueEntry]:
        """Return the models that llm knows by name, from small to large."""
        return list(self.catalogue.values())

    def canonical_name(self, name: str | None) -> str:
        """Return the canonical name: aliases replaced, paths made absolute."""
        name = self.default_model()[0] if name is None else name
        if not name:  # an unset shell variable, which must not mean the default
            raise UsageError("the name of a model is empty", detail="Try: llm models list")
        if not is_path(name):
            name = self.defaults.resolve_alias(name)
        return os.path.abspath(Path(name).expanduser()) if is_path(name) else name  # noqa: PTH100 (keeps links)

    # ---- models --------------------------------------------------------------------------------------------------

    def list(self) -> builtins.list[ModelFile]:
        """Return the models on this machine, sorted by name.

        This includes missing imported files (``missing``), and split models with missing parts (``incomplete``).
        """
        imports = [self.describe_import(name, path) for name, path in self.imports.paths().items()]
        return sorted([*self.inventory.list(), *self.inventory.incomplete(), *imports], key=lambda model: model.name)

    def describe_import(self, name: str, path: Path) -> ModelFile:
        """Return an imported model, with ``missing`` if its file is gone."""
        try:
            return self.inventory.describe_path(path, name)
        except (MissingError, BadModelFile):
            from llmcli.models.files.file_bytes import file_size

            files = tuple(path.with_name(part) for part in names.part_names(path.name))
            return ModelFile(name, path, sum(map(file_size, files)), parts=files)

    def find(self, name: str | None = None) -> ModelFile:
        """Return the model that ``name`` means (None: the default).

        A path only if it begins like one, or ends in .gguf and exists; then an alias, a catalogue name, an import,
        ``owner/repo[:QUANT]`` or ``owner/repo/file.gguf`` in the cache. Raises ``ModelNotDownloaded`` (a known or
        well-formed name, nothing on this machine), ``MissingError`` (kind "model", similar names as suggestions) and
        ``BadModelFile`` (a directory).
        """
        key = self.canonical_name(name)
        return self._find_verified(key) or self._resolve_uncached(key)

    def _find_verified(self, key: str) -> ModelFile | None:
        """Return the registered model of ``key`` if its files are unchanged since they were verified.

        Every command calls this: no YAML, no header, one stat of each file.
        """
        fields = self.registry.sections["names"].get(key)
        try:
            model = ModelFile.from_json(fields) if fields else None
        except (TypeError, KeyError):  # written by a version with other fields
            return None
        if model is None or (model.repo is not None and not model.path.is_relative_to(self._hub_directory)):
            return None  # in the cache of another HF_HOME
        records = [self.checksums.verified_record(model, part) for part in model.parts]
        first = records[0] if records and all(records) else None
        if not first or first.sha256 != model.sha256:
            return None
        return replace(model, part_hashes=tuple(record.sha256 for record in records if record))

    def _resolve_uncached(self, key: str) -> ModelFile:
        if is_path(key):
            return self.inventory.describe_path(Path(key), key)
        if key in self.catalogue:
            return self.inventory.find_entry(self.catalogue[key])
        imported = self.imports.paths().get(key)
        if imported is not None:
            return self.inventory.describe_path(imported, key)
        hub_name = names.parse_hub_name(key)
        # a path, since OWNER/REPO/FILE has two slashes
        mistyped = key.count("/") == 1 and key.lower().endswith(".gguf")
        if hub_name is not None and not mistyped:
            return self.inventory.find_hub(hub_name)
        import difflib

        close = difflib.get_close_matches(key, self.known_names(), n=3, cutoff=0.6)
        detail = "No such file" if mistyped else ""
        if key.count("/") > 1 and key.lower().endswith(".gguf"):
            detail = (
                f"no such file, and llm does not accept this file name from the Hub ({names.ALLOWED_FILE_CHARS_TEXT})"
            )
        raise MissingError(key, kind="model", suggestions=close, detail=detail)

    def refers_to(self, name: str, model: ModelFile) -> bool:
        """Return whether ``name`` means ``model``, which is on this machine."""
        with suppress(MissingError, ModelNotDownloaded, BadModelFile):
            return name == model.name or self.find(name).path == model.path
        return False

    def aliases_of(self, model: ModelFile) -> builtins.list[str]:
        """Return the aliases that mean ``model`` now."""
        return [alias.name for alias in self.defaults.aliases() if self.refers_to(alias.model, model)]

    def verbs_with_default(self, model: ModelFile) -> builtins.list[str]:
        """Return the commands for which ``model`` was made the default."""
        return [verb for verb, name in self.defaults.defaults_by_verb().items() if self.refers_to(name, model)]

    def is_imported_copy(self, model: ModelFile) -> bool:
        """Return whether a model is a copy that llm made."""
        return self.checksums.is_imported_copy(model.path)

    def import_origin(self, model: ModelFile) -> str | None:
        """Return the path that a copy was imported from, None for other models."""
        return self.registry.sections["origins"].get(model.name) if self.is_imported_copy(model) else None

    def last_used_at(self, model: ModelFile) -> float | None:
        """Return when a command last used ``model``, in seconds since 1970; None: never."""
        return self.last_used.last_used_at(model.sha256)
