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
from llmcli.errors import BadModelFile, ConfigError, MissingError, ModelNotDownloaded, UsageError
from llmcli.fast_dataclass import frozen, replace
from llmcli.models.files import names
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.paths import hub_cache_directory, is_path
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
        """Return the canonical name: aliases replaced, the Hub's address left out, paths made absolute."""
        name = self.default_model()[0] if name is None else name
        if not name:  # an unset shell variable, which must not mean the default
            raise UsageError("the name of a model is empty", detail="Try: llm models list")
        if not is_path(name):
            name = names.strip_hub_address(self.defaults.resolve_alias(name))
        return os.path.abspath(os.path.expanduser(name)) if is_path(name) else name  # noqa: PTH100, PTH111 (keeps links, and the name of an unknown user)

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


STARTER_MODEL = "smollm2-135m"
"""The catalogue's model that is the default until the user chooses one."""
BUILT_IN_ORIGIN = "built in"
"""The origin of the default that applies until the user chooses one."""
DEFAULT_ORIGIN = "llm models default"
"""The origin of a default that a command stored; for a verb's default, ``--for VERB`` follows."""
ALIAS_ORIGIN = "llm models alias"
"""The origin of an alias that a command stored."""


@frozen
class ModelAlias:
    """Another name for ``model``; ``origin`` is a variable, the configuration file, or the command that stored it."""

    name: str
    model: str
    origin: str


class ModelDefaults:
    """The aliases and defaults of ``settings`` (taking precedence) and ``registry``; ``verb``: the running command."""

    def __init__(
        self, settings: Settings, registry: ModelRegistry, verb: str, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        """``warn`` is called once if the stored ones are lost."""
        self._settings = settings
        self._registry = registry
        self._verb = verb
        self._warn: Callable[[str], None] | None = warn

    def _stored_names(self, section: str) -> dict[str, str]:
        """Return the defaults or aliases that commands stored."""
        stored = self._registry.sections[section]
        if self._registry.was_damaged and self._warn is not None:
            warn, self._warn = self._warn, None
            path, aside = self._registry.path, self._registry.broken_path
            warn(f"{path} is damaged, so its aliases and defaults are lost; the next change renames it to {aside}")
        return stored

    # ---- defaults -------------------------------------------------------------------------------------------------

    def default_model(self, verb: str | None = None) -> tuple[str, str]:
        """Return the model that is used when none is named, and the origin of that choice.

        The setting takes precedence, then the default stored for the verb (None: the running one), then the one stored
        for all verbs, then the starter.
        """
        if self._settings["model"]:
            return self._settings["model"], self._settings.origin("model")
        stored = self._stored_names("defaults")
        for use in dict.fromkeys((self._verb if verb is None else verb, "")):
            if stored.get(use):
                return stored[use], f"{DEFAULT_ORIGIN} --for {use}" if use else DEFAULT_ORIGIN
        return STARTER_MODEL, BUILT_IN_ORIGIN

    def is_chosen(self) -> bool:
        """Return whether the user chose the default of the running verb, by a setting or a command."""
        return self.default_model()[1] != BUILT_IN_ORIGIN

    def stored_default(self) -> str | None:
        """Return the default stored for the running verb, or for all verbs; None if there is neither."""
        stored = self._registry.sections["defaults"]
        return stored.get(self._verb) or stored.get("")

    def defaults_by_verb(self) -> dict[str, str]:
        """Return the defaults stored for single verbs."""
        return {verb: name for verb, name in sorted(self._registry.sections["defaults"].items()) if verb}

    def store_default(self, name: str | None, verb: str = "") -> None:
        """Store ``name`` for ``verb`` ("": for all), or remove the stored one (None).

        Raises ``ConfigError`` if the setting overrides it, so that it would have no effect, and ``OutputError``.
        """
        if name is not None and self._settings["model"]:
            detail = f"it is {self._settings['model']}, which overrides the default; change it there"
            raise ConfigError("model", origin=self._settings.origin("model"), detail=detail)

        def change(data: dict[str, dict[str, str]]) -> None:
            data["defaults"].pop(verb, None)
            if name is not None:
                data["defaults"][verb] = name

        self._registry.update(change)

    # ---- aliases --------------------------------------------------------------------------------------------------

    def resolve_alias(self, name: str) -> str:
        """Return the model that ``name`` means: an alias of the settings is replaced, then a stored one."""
        name = self._settings["aliases"].get(name, name)
        return str(self._stored_names("aliases").get(name, name))

    def aliases(self) -> list[ModelAlias]:
        """Return all aliases, sorted by name."""
        stored = {name: ModelAlias(name, model, ALIAS_ORIGIN) for name, model in self._stored_names("aliases").items()}
        origin = self._settings.origin("aliases")
        given = {name: ModelAlias(name, model, origin) for name, model in self._settings["aliases"].items()}
        return [alias for _, alias in sorted({**stored, **given}.items())]

    def get_alias(self, name: str) -> ModelAlias:
        """Return the alias called ``name``. Raises ``MissingError`` (kind "alias")."""
        known = {alias.name: alias for alias in self.aliases()}
        if name not in known:
            import difflib

            raise MissingError(name, kind="alias", suggestions=difflib.get_close_matches(name, known))
        return known[name]

    def store_alias(self, name: str, model: str) -> None:
        """Store ``name`` as an alias of ``model``, a known name.

        Raises ``UsageError`` for an invalid name, ``ConfigError`` if the settings define the alias, and
        ``OutputError``.
        """
        check_new_name(name, "an alias")
        self._refuse_configured_alias(name)
        self._registry.update(lambda data: data["aliases"].update({name: model}))

    def remove_alias(self, name: str) -> None:
        """Remove an alias. Raises ``MissingError``, ``ConfigError`` for an alias of the settings, ``OutputError``."""
        self.get_alias(name)
        if name not in self._registry.sections["aliases"]:
            self._refuse_configured_alias(name)
        self._registry.update(lambda data: data["aliases"].pop(name, None) and None)

    def _refuse_configured_alias(self, name: str) -> None:
        given = self._settings["aliases"]
        if name in given:
            detail = f"it defines {name} as {given[name]}, which overrides this command; change it there"
            raise ConfigError("aliases", origin=self._settings.origin("aliases"), detail=detail)


def check_new_name(name: str, what: str) -> None:
    """Refuse an invalid name for an alias or an import; ``what`` is "an alias" or similar. Raises ``UsageError``."""
    from llmcli.models.catalogue import catalogue_names

    if len(name) > names.MAX_NAME_CHARS:
        raise UsageError(
            f"{name[:20]}... cannot be {what}: it has {len(name)} characters",
            detail=f"Use at most {names.MAX_NAME_CHARS}.",
        )
    if not (name[:1].isalnum() and name[-1:].isalnum()):
        raise UsageError(f"{name!r} cannot be {what}", detail="Begin and end it with a letter or a digit.")
    if not names.is_valid_name(name):
        raise UsageError(f"{name!r} cannot be {what}", detail='Use letters, digits, "-", "_" and ".", without "..".')
    if name.lower().endswith(".gguf"):
        raise UsageError(f"{name} cannot be {what}: it looks like a file", detail="Omit .gguf.")
    if name in catalogue_names():
        raise UsageError(f"{name} cannot be {what}: llm knows a model with that name", detail="Choose another name.")
