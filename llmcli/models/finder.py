"""What a name means on this machine, and which models are here. Nothing is changed and nothing fetched."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import BadModelFile, MissingError, ModelNotHere, UsageError
from llmcli.models import names
from llmcli.models.choices import Choices
from llmcli.models.file import ModelFile
from llmcli.models.paths import hub_directory, is_path
from llmcli.models.registry import Registry
from llmcli.models.trust import Trust
from llmcli.models.used import Used
from llmcli.settings import Paths, Settings

if TYPE_CHECKING:
    from llmcli.models.cache import HubCache
    from llmcli.models.catalogue import CatalogueEntry
    from llmcli.models.imports import Imports
    from llmcli.models.shelf import Shelf


class Finder:
    """Finds models in the Hugging Face cache, among the imports and at paths, under the names that ``-m`` takes.

    A model that was found and checked before is recalled: of a warm command that is all, so the rest is imported late.
    """

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        environ: Mapping[str, str],
        verb: str = "",
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``verb`` is the command that runs, for its own default; ``warn`` is told what the user should know."""
        self._hub = hub_directory(environ).absolute()
        self._own = paths.data.absolute() / "models"
        self._registry = Registry(paths.data / "models.json")
        self._trust = Trust(self._registry, self._own)
        self._used = Used(paths.data / "used")
        self.choices = Choices(settings, self._registry, verb, warn)

    @cached_property
    def _cache(self) -> HubCache:
        from llmcli.models.cache import HubCache

        return HubCache(self._hub)

    @cached_property
    def _catalogue(self) -> Mapping[str, CatalogueEntry]:
        from llmcli.models.catalogue import load_catalogue

        return load_catalogue()

    @cached_property
    def _imports(self) -> Imports:
        from llmcli.models.imports import Imports

        return Imports(self._own, self._registry)

    @cached_property
    def _shelf(self) -> Shelf:
        from llmcli.models.shelf import Shelf

        return Shelf(self._cache, self._registry, self._trust)

    # ---- names ----------------------------------------------------------------------------------------------------

    def default(self, verb: str | None = None) -> tuple[str, str]:
        """Return the model that is used when none is named, and where that was decided; see ``Choices.default``."""
        return self.choices.default(verb)

    def names(self) -> builtins.list[str]:
        """Return the names that -m takes, quickly: aliases, imports, the catalogue, what is in the cache."""
        from llmcli.models.catalogue import catalogue_names

        aliases = [alias.name for alias in self.choices.aliases()]
        return list(dict.fromkeys([*aliases, *self._imports.paths(), *catalogue_names(), *self._shelf.hub_names()]))

    def catalogue(self) -> builtins.list[CatalogueEntry]:
        """Return the models that llm knows by name, from small to large."""
        return list(self._catalogue.values())

    def damaged_registry(self) -> Path | None:
        """Return the file of what llm remembered when it is damaged, or put aside since it was; else None."""
        return self._registry.damaged()

    def _key(self, name: str | None) -> str:
        """Return what ``name`` stands for: aliases replaced, paths made absolute."""
        name = self.default()[0] if name is None else name
        if not name:  # a variable that is not set, which must not mean the default
            raise UsageError("the name of a model is empty", detail="Try: llm models list")
        if not is_path(name):
            name = self.choices.follow(name)
        return os.path.abspath(Path(name).expanduser()) if is_path(name) else name  # noqa: PTH100 (keeps links)

    # ---- what is here ---------------------------------------------------------------------------------------------

    def list(self) -> builtins.list[ModelFile]:
        """Return the models on this machine, sorted by name; imported files that are gone too (``missing``).

        And split models of which a part is (``incomplete``).
        """
        imports = [self._imported(name, path) for name, path in self._imports.paths().items()]
        return sorted([*self._shelf.list(), *self._shelf.torn(), *imports], key=lambda model: model.name)

    def _imported(self, name: str, path: Path) -> ModelFile:
        try:
            return self._shelf.path(path, name)
        except (MissingError, BadModelFile):
            from llmcli.models.partial import size_of

            files = tuple(path.with_name(part) for part in names.parts(path.name))
            return ModelFile(name, path, sum(map(size_of, files)), parts=files)

    def find(self, name: str | None = None) -> ModelFile:
        """Return the model that ``name`` means (None: the default).

        A path only if it begins like one or ends in .gguf and exists; then an alias, a catalogue name, an import,
        ``owner/repo[:QUANT]`` or ``owner/repo/file.gguf`` in the cache. Raises ``ModelNotHere`` (a known or
        well-formed name, nothing on this machine), ``MissingError`` (kind "model", close names as suggestions) and
        ``BadModelFile`` (a directory).
        """
        key = self._key(name)
        return self._remembered(key) or self._resolve(key)

    def _remembered(self, key: str) -> ModelFile | None:
        """Return what ``key`` was found to mean, while the files are as they were when they were checked.

        Every command comes by here: no YAML, no header, one look at each file.
        """
        fields = self._registry.data["names"].get(key)
        try:
            model = ModelFile.from_json(fields) if fields else None
        except (TypeError, KeyError):  # written by a version with other fields
            return None
        if model is None or (model.repo is not None and not model.path.is_relative_to(self._hub)):
            return None  # of the Hub, but in the cache that another HF_HOME named
        records = [self._trust.checked(model, part) for part in model.parts]
        first = records[0] if records and all(records) else None
        return model if first and first.sha256 == model.sha256 else None

    def _resolve(self, key: str) -> ModelFile:
        if is_path(key):
            return self._shelf.path(Path(key), key)
        if key in self._catalogue:
            return self._shelf.entry(self._catalogue[key])
        imported = self._imports.paths().get(key)
        if imported is not None:
            return self._shelf.path(imported, key)
        hub_name = names.parse_hub_name(key)
        mistyped = key.count("/") == 1 and key.lower().endswith(".gguf")  # a path, since OWNER/REPO/FILE has two
        if hub_name is not None and not mistyped:
            return self._shelf.hub(hub_name)
        import difflib

        close = difflib.get_close_matches(key, self.names(), n=3, cutoff=0.6)
        detail = "No such file" if mistyped else ""
        if key.count("/") > 1 and key.lower().endswith(".gguf"):
            detail = f"no path that is here, and llm takes no file of such a name from the Hub ({names.ALLOWED})"
        raise MissingError(key, kind="model", suggestions=close, detail=detail)

    def means(self, name: str, model: ModelFile) -> bool:
        """Return whether ``name`` means ``model``, which is here."""
        with suppress(MissingError, ModelNotHere, BadModelFile):
            return name == model.name or self.find(name).path == model.path
        return False

    def aliases_of(self, model: ModelFile) -> builtins.list[str]:
        """Return the aliases that mean ``model`` now."""
        return [alias.name for alias in self.choices.aliases() if self.means(alias.model, model)]

    def default_for(self, model: ModelFile) -> builtins.list[str]:
        """Return the commands for which ``model`` was made the default."""
        return [verb for verb, name in self.choices.defaults().items() if self.means(name, model)]

    def owns(self, model: ModelFile) -> bool:
        """Return whether a model is a copy that llm made."""
        return self._trust.owns(model.path)

    def origin(self, model: ModelFile) -> str | None:
        """Return the path that a copy was imported from, None for other models."""
        return self._registry.data["origins"].get(model.name) if self.owns(model) else None

    def last_used(self, model: ModelFile) -> float | None:
        """Return when a command last got ``model`` ready, in seconds since 1970; None: never."""
        return self._used.last(model.sha256)
