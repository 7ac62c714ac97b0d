"""The models of this machine: what a name means, fetching, forgetting, and that nothing unchecked is ever loaded."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import BadModelFile, DamagedModel, MissingError, ModelNotHere, Offline
from llmcli.interrupt import Interrupt
from llmcli.models import names
from llmcli.models.cache import HubCache, hub_directory, writing
from llmcli.models.catalogue import CatalogueEntry, catalogue_names, load_catalogue
from llmcli.models.choices import Alias, Choices
from llmcli.models.registry import FileRecord, Registry
from llmcli.models.shelf import ModelFile, Shelf, read_facts
from llmcli.models.used import Used
from llmcli.settings import Paths, Settings
from llmcli.types import ItemFailed, Notice, Progress

if TYPE_CHECKING:
    from llmcli.models.fit import Fitting
    from llmcli.models.hub import Patience
    from llmcli.models.offers import Offers
    from llmcli.models.search import Repository

__all__ = ["Library", "ModelFile"]

_TRUE = frozenset({"1", "on", "yes", "true"})


class Library:
    """What is in the Hugging Face cache and what was imported by path, under the names that ``-m`` takes."""

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        environ: Mapping[str, str],
        *,
        verb: str = "",
        patience: Patience | None = None,
    ) -> None:
        """``verb`` is the command that runs, for its own default; ``patience`` with the network: None for the usual."""
        self._settings = settings
        self._environ = environ
        self._patience = patience
        self._scratch = paths.cache
        self._cache = HubCache(hub_directory(environ).absolute())
        self._registry = Registry(paths.data / "models.json")
        self._shelf = Shelf(self._cache, self._registry)
        self._used = Used(paths.data / "used")
        self.choices = Choices(settings, self._registry, verb)

    # ---- names ----------------------------------------------------------------------------------------------------

    def default(self, verb: str | None = None) -> tuple[str, str]:
        """Return the model that is used when none is named, and where that was decided; see ``Choices.default``."""
        return self.choices.default(verb)

    def set_default(self, name: str, verb: str = "") -> None:
        """Make ``name`` the default, of one verb or of all.

        Raises ``MissingError`` for a name that means nothing, ``ConfigError`` and ``OutputError``.
        """
        self.choices.store_default(self._meaning(name), verb)

    def set_alias(self, name: str, model: str) -> Alias:
        """Let ``name`` stand for ``model`` from now on; raises as ``set_default`` and ``Choices.store_alias``."""
        self.choices.store_alias(name, self._meaning(model))
        return self.choices.alias(name)

    def _meaning(self, name: str) -> str:
        """Return what ``name`` stands for, if it means something. Raises ``MissingError`` and ``BadModelFile``."""
        key = self._key(name)
        with suppress(ModelNotHere):  # a good name all the same; the model is fetched when it is wanted
            self.find(key)
        return key

    def aliases_of(self, model: ModelFile) -> builtins.list[str]:
        """Return the stored aliases that mean ``model`` now."""
        return [name for name, target in self._registry.data["aliases"].items() if self._means(target, model)]

    def _means(self, name: str, model: ModelFile) -> bool:
        with suppress(MissingError, ModelNotHere, BadModelFile):
            return name == model.name or self.find(name).path == model.path
        return False

    def last_used(self, model: ModelFile) -> float | None:
        """Return when a command last got ``model`` ready, in seconds since 1970; None: never."""
        return self._used.last(model.sha256)

    def damaged_registry(self) -> Path | None:
        """Return the file of what llm remembered when it is damaged, or put aside since it was; else None."""
        return self._registry.damaged()

    def names(self) -> builtins.list[str]:
        """Return the names that -m takes, quickly: aliases, imports, the catalogue, what is in the cache."""
        imports = self._registry.data["imports"]
        aliases = [alias.name for alias in self.choices.aliases()]
        return list(dict.fromkeys([*aliases, *imports, *catalogue_names(), *self._shelf.hub_names()]))

    def catalogue(self) -> builtins.list[CatalogueEntry]:
        """Return the models that llm knows by name, from small to large."""
        return list(load_catalogue().values())

    def _key(self, name: str | None) -> str:
        """Return what ``name`` stands for: aliases replaced, paths made absolute."""
        name = name or self.default()[0]
        if not _is_path(name):
            name = self.choices.follow(name)
        return os.path.abspath(Path(name).expanduser()) if _is_path(name) else name  # noqa: PTH100 (keeps links)

    # ---- what is here ---------------------------------------------------------------------------------------------

    def list(self) -> builtins.list[ModelFile]:
        """Return the models on this machine, sorted by name; imported files that are gone too (``missing``)."""
        imports = self._registry.data["imports"]
        found = [*self._shelf.list(), *(self._imported(name, Path(path)) for name, path in imports.items())]
        return sorted(found, key=lambda model: model.name)

    def _imported(self, name: str, path: Path) -> ModelFile:
        try:
            return self._shelf.path(path, name)
        except (MissingError, BadModelFile):
            return ModelFile(name, path, 0, parts=(path,))

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
        if model is None or (model.repo is not None and not model.path.is_relative_to(self._cache.root)):
            return None  # of the Hub, but in the cache that another HF_HOME named
        return model if all(self._shelf.checked(model, part) for part in model.parts) else None

    def _resolve(self, key: str) -> ModelFile:
        if _is_path(key):
            return self._shelf.path(Path(key), key)
        if key in load_catalogue():
            return self._shelf.entry(load_catalogue()[key])
        imported = self._registry.data["imports"].get(key)
        if imported is not None:
            return self._shelf.path(Path(imported), key)
        hub_name = names.parse_hub_name(key)
        mistyped = key.count("/") == 1 and key.lower().endswith(".gguf")  # a path, since OWNER/REPO/FILE has two
        if hub_name is not None and not mistyped:
            return self._shelf.hub(hub_name)
        import difflib

        close = difflib.get_close_matches(key, self.names(), n=3, cutoff=0.6)
        raise MissingError(key, kind="model", suggestions=close, detail="No such file" if mistyped else "")

    # ---- checking -------------------------------------------------------------------------------------------------

    def ready(self, name: str | None, interrupt: Interrupt) -> ModelFile:
        """Return the model ``name`` for loading: its SHA-256 is that which its source announced or the catalogue pins.

        A file is hashed once and again when its size or time has changed; one that nobody announced is hashed so that
        later changes are seen. The model counts as used now. Raises as ``find``, ``DamagedModel`` for another hash and
        ``BadModelFile``.
        """
        model = self._checked(self._key(name), interrupt)
        self._used.mark(model.sha256)
        return model

    def _checked(self, key: str, interrupt: Interrupt) -> ModelFile:
        remembered = self._remembered(key)
        if remembered is not None:
            return remembered
        model = self._resolve(key)
        records = {part: self._check(model, part, interrupt) for part in model.parts}
        facts = records[model.path]
        model = replace(
            model,
            sha256=facts.sha256,
            quantization=model.quantization or facts.quantization,
            architecture=facts.architecture,
            context=facts.context,
            verified=True,
            damaged=False,
        )
        self._registry.remember(records, {key: model.to_json()})
        return model

    def _check(self, model: ModelFile, part: Path, interrupt: Interrupt) -> FileRecord:
        from llmcli.models.partial import hash_file

        expected = model.expected_sha256(part)
        known = self._shelf.checked(model, part)
        if known is not None:
            return known
        try:
            before = part.stat()
            found = hash_file(part, interrupt)
        except OSError as error:
            raise MissingError(str(part), kind="model", detail=error.strerror or "") from error
        if expected not in (found, None):
            self._registry.remember({part: FileRecord(before.st_size, before.st_mtime_ns, found)})
            detail = f"SHA-256 is {found}, announced was {expected}"
            if model.repo is None:  # named by its path
                raise BadModelFile(str(part), detail=f"it is damaged: {detail}")
            raise DamagedModel(model.name, detail=detail)
        # the time from before the hashing: a change meanwhile makes the record void
        return replace(read_facts(part, found), size=before.st_size, mtime_ns=before.st_mtime_ns)

    # ---- getting and forgetting -----------------------------------------------------------------------------------

    def pull(
        self, name: str | None, interrupt: Interrupt, *, fitting: Fitting | None = None
    ) -> Iterator[Progress | Notice | Offers | ModelFile]:
        """Have the model ``name`` here and checked; the last item is the model.

        Nothing is fetched when it is here already; a damaged one is replaced. Of what is fetched, ``fitting`` says what
        it shall fit. A local path is imported: hashed and remembered, not copied. Raises as ``ready``, ``Offline``, and what ``Puller`` raises.
        """
        key = self._key(name)
        if _is_path(key):
            yield self._import(Path(key), interrupt)
            return
        try:
            yield self._checked(key, interrupt)
        except ModelNotHere:
            pass
        except DamagedModel as error:
            yield Notice(f"{error.subject} is damaged: {error.detail}; fetching it again")
            key, fitting = (error.subject if names.parse_hub_name(error.subject) else key), None  # that file, no other
        else:
            return
        if self.offline:
            raise Offline(key, origin=self.offline_by)
        yield from self._fetch(key, interrupt, fitting)
        yield self._checked(key, interrupt)

    def search(
        self, words: str, limit: int, fitting: Fitting, interrupt: Interrupt
    ) -> Iterator[Progress | Notice | ItemFailed | Repository]:
        """Yield what repositories of the Hub offer whose names match. Raises ``Offline``, and as ``search.search``."""
        if self.offline:
            raise Offline("a search", origin=self.offline_by)
        from llmcli.models.hub import Hub, Patience
        from llmcli.models.search import search

        patience = replace(self._patience or Patience(), tries=2)  # there are other repositories
        yield from search(Hub(self._environ, patience), words, limit, fitting, interrupt)

    @property
    def offline(self) -> bool:
        """Whether the user forbade the network."""
        return bool(self.offline_by)

    @property
    def offline_by(self) -> str:
        """The option, variable or file by which the user forbade the network, "" where it is allowed."""
        if self._settings["offline"]:
            return self._settings.origin("offline")
        told = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        return next((variable for variable in told if self._environ.get(variable, "").lower() in _TRUE), "")

    def _fetch(
        self, key: str, interrupt: Interrupt, fitting: Fitting | None
    ) -> Iterator[Progress | Notice | Offers]:
        from llmcli.models.hub import Hub
        from llmcli.models.pulling import Placed, Puller

        hub = Hub(self._environ, self._patience)
        puller = Puller(hub, self._cache, environ=self._environ, scratch=self._scratch, fitting=fitting)
        hub_name = names.parse_hub_name(key)
        if hub_name is not None:
            events = puller.pull_name(hub_name, interrupt)
        else:
            events = puller.pull_entry(load_catalogue()[key], interrupt)
        for event in events:
            if isinstance(event, Placed):
                self._registry.remember({event.path: read_facts(event.path, event.sha256)})
            else:
                yield event

    def _import(self, path: Path, interrupt: Interrupt) -> ModelFile:
        self._registry.forget_damage(path)  # whoever pulls a file that was found changed wants it as it is now
        model = self._checked(str(path), interrupt)
        name = path.stem
        taken = {**{alias.name: alias.model for alias in self.choices.aliases()}, **load_catalogue(), **self._registry.data["imports"]}
        if names.is_plain(name) and taken.get(name, str(path)) == str(path):
            self._registry.update(lambda data: data["imports"].update({name: str(path)}))
            return replace(model, name=name)
        self._registry.update(lambda data: data["imports"].update({str(path): str(path)}))
        return model

    def find_removable(self, name: str) -> ModelFile:
        """Return the model that ``remove`` would remove: as ``find``, and an imported file that is gone too."""
        key = self._key(name)
        for imported, path in self._registry.data["imports"].items():
            if key in {imported, path} and not Path(path).is_file():
                return self._imported(imported, Path(path))
        return self.find(name)

    def left_behind(self, name: str) -> builtins.list[Path]:
        """Return what unfinished downloads left of a model that is not here; of a name on the Hub, of its repository."""
        from llmcli.models.partial import left_behind

        key = self._key(name)
        entry, hub_name = load_catalogue().get(key), names.parse_hub_name(key)
        repo = entry.repo if entry else hub_name.repo if hub_name else None
        found = left_behind(self._cache.directory(repo) / "blobs") if repo else []
        pinned = entry.pin.sha256 if entry and entry.pin else ""
        return [path for path in found if path.name.startswith(pinned)]

    def remove(self, name: str) -> builtins.list[Path]:
        """Remove a model from the cache, or forget an imported file; return what was deleted.

        Blobs that another name needs stay, and so does a file that was imported by its path. Defaults and aliases that
        mean it are forgotten. Nothing is deleted where the registry cannot be written. Of a model that is not here what
        ``left_behind`` returns is deleted. Raises as ``find``, and ``OutputError``.
        """
        try:
            model = self.find_removable(name)
        except ModelNotHere:
            left = self.left_behind(name)
            if not left:
                raise
            for path in left:
                with writing(path):
                    path.unlink(missing_ok=True)
            return left
        chosen = [*self._registry.data["defaults"].values(), *self._registry.data["aliases"].values()]
        names_of_it = {self._key(name), model.name, *(each for each in chosen if self._means(each, model))}
        self._registry.forget(model.parts, names_of_it)
        removed: list[Path] = []
        if model.repo is not None and model.file is not None:
            for file in names.parts(model.file):
                removed += self._cache.remove(model.repo, file)
        return removed


def _is_path(name: str) -> bool:
    return names.is_path(name, lambda path: Path(path).exists())
