"""The models of this machine: what a name means, fetching, forgetting, and that nothing unchecked is ever loaded."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import BadModelFile, DamagedModel, ModelNotHere, Offline, UsageError
from llmcli.interrupt import Interrupt
from llmcli.models import names
from llmcli.models.choices import Alias, check_name
from llmcli.models.file import ModelFile
from llmcli.models.finder import Finder
from llmcli.models.paths import check_removable, is_path, writing
from llmcli.models.used import Used
from llmcli.settings import Paths, Settings
from llmcli.types import ItemFailed, Notice, Progress

if TYPE_CHECKING:
    from llmcli.models.checking import Checker
    from llmcli.models.fit import Fitting
    from llmcli.models.gguf import Header
    from llmcli.models.hub import Patience
    from llmcli.models.offers import Offers
    from llmcli.models.search import Repository
    from llmcli.models.waste import Waste

__all__ = ["Library", "ModelFile"]

_TRUE = frozenset({"1", "on", "yes", "true"})

Obstacle = Callable[["Header"], str]
"""Says of a header why such a model cannot run here, "" where it can."""


def _nothing(_: Header) -> str:
    return ""


class Library(Finder):
    """The models that ``Finder`` finds, and all that is done with them."""

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        environ: Mapping[str, str],
        *,
        verb: str = "",
        patience: Patience | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``verb``, ``warn``: as ``Finder``; ``patience`` with the network: None for the usual."""
        super().__init__(settings, paths, environ, verb, warn)
        self._settings = settings
        self._environ = environ
        self._patience = patience
        self._scratch = paths.cache
        self._introduced = Used(paths.data / "introduced")

    @cached_property
    def _checker(self) -> Checker:
        from llmcli.models.checking import Checker

        return Checker(self._trust, self._registry)

    # ---- choosing -------------------------------------------------------------------------------------------------

    def set_default(self, name: str, verb: str = "", *, obstacle: Obstacle = _nothing) -> None:
        """Make ``name`` the default, of one verb or of all, unless ``obstacle`` says why a model here cannot be run.

        Raises ``MissingError`` for a name that means nothing, ``BadModelFile``, ``ConfigError`` and ``OutputError``.
        """
        with suppress(ModelNotHere):
            model = self.find(name)
            if wrong := _wrong(model, obstacle):
                raise BadModelFile(str(model.path), detail=wrong)
        self.choices.store_default(self._meaning(name), verb)

    def set_alias(self, name: str, model: str) -> Alias:
        """Let ``name`` stand for ``model`` from now on; raises as ``set_default`` and ``Choices.store_alias``."""
        if name in self._imports.paths():
            raise UsageError(f"{name} is the name of an imported model", detail="Choose another name.")
        self.choices.store_alias(name, self._meaning(model))
        return self.choices.alias(name)

    def _meaning(self, name: str) -> str:
        """Return what ``name`` stands for, if it means something. Raises ``MissingError`` and ``BadModelFile``."""
        key = self._key(name)
        with suppress(ModelNotHere):  # a good name all the same; the model is fetched when it is wanted
            self.find(key)
        return key

    # ---- checking -------------------------------------------------------------------------------------------------

    def ready(self, name: str | None, interrupt: Interrupt) -> ModelFile:
        """Return the model ``name`` for loading: its SHA-256 is that which its source announced or the catalogue pins.

        A file is hashed once and again when its size or time has changed; one that nobody announced is hashed so that
        later changes are seen. The model counts as used now. Raises as ``find``, and as ``Checker.check``.
        """
        model = self._checked(self._key(name), interrupt)
        self._used.mark(model.sha256)
        return model

    def introduce(self, model: ModelFile) -> bool:
        """Whether nobody was told about a model before; from now on somebody was."""
        if self._introduced.last(model.sha256) is not None:
            return False
        self._introduced.mark(model.sha256)
        return True

    def _checked(self, key: str, interrupt: Interrupt) -> ModelFile:
        remembered = self._remembered(key)
        if remembered is not None:
            return remembered
        from llmcli.models.checking import settled

        return settled(self._checker.check(self._resolve(key), key, interrupt))

    def verify(self, model: ModelFile, interrupt: Interrupt) -> Iterator[Progress | ModelFile]:
        """Hash all files of ``model`` again; the last item is the model. Raises as ``Checker.check``."""
        yield (yield from self._checker.check(model, model.name, interrupt, again=True))

    # ---- getting --------------------------------------------------------------------------------------------------

    def pull(
        self, name: str | None, interrupt: Interrupt, *, fitting: Fitting | None = None
    ) -> Iterator[Progress | Notice | Offers | ModelFile]:
        """Have the model ``name`` here and checked; the last item is the model.

        Nothing is fetched when it is here already; a damaged one is replaced. Of what is fetched, ``fitting`` says what
        it shall fit. A file that is named by its path is hashed and remembered, not copied. Raises as ``ready``,
        ``Offline``, and what ``Puller`` raises.
        """
        key = self._key(name)
        if is_path(key):
            if fitting is not None:
                yield from _warn(self._shelf.path(Path(key), key), fitting.obstacle)
            yield from self._refer(Path(key), interrupt)
            return
        try:
            yield self._checked(key, interrupt)
        except ModelNotHere:
            pass
        except DamagedModel as error:
            if error.repair:  # it came from elsewhere
                raise
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

    def _fetch(self, key: str, interrupt: Interrupt, fitting: Fitting | None) -> Iterator[Progress | Notice | Offers]:
        from llmcli.models.hub import Hub
        from llmcli.models.pulling import Placed, Puller
        from llmcli.models.shelf import read_facts

        hub = Hub(self._environ, self._patience)
        puller = Puller(hub, self._cache, environ=self._environ, scratch=self._scratch, fitting=fitting)
        hub_name = names.parse_hub_name(key)
        if hub_name is not None:
            events = puller.pull_name(hub_name, interrupt)
        else:
            events = puller.pull_entry(self._catalogue[key], interrupt)
        for event in events:
            if isinstance(event, Placed):
                self._registry.remember({event.path: read_facts(event.path, event.sha256)})
            else:
                yield event

    def _refer(self, path: Path, interrupt: Interrupt) -> Iterator[Notice | ModelFile]:
        """Use the file at ``path`` where it lies, as it is now; by its stem where that is free, else by its path."""
        for part in (path.with_name(file) for file in names.parts(path.name)):
            known = self._registry.last(part)
            if known is not None and known.damaged and not known.announced and not self._trust.owns(part):
                yield Notice(f"{part} is not what it was; from now on it counts as it is now")
                self._registry.forget_file(part)
        model = self._checked(str(path), interrupt)
        name = names.stem(path.name)
        if self._trust.owns(path):
            yield replace(model, name=name)
            return
        aliases = {alias.name: alias.model for alias in self.choices.aliases()}
        taken = {**aliases, **self._catalogue, **self._imports.paths()}
        if not names.is_plain(name) or str(taken.get(name, path)) != str(path):
            name = str(path)
        self._imports.refer(name, path)
        yield replace(model, name=name)

    def import_file(
        self, path: Path, interrupt: Interrupt, *, name: str = "", obstacle: Obstacle = _nothing
    ) -> Iterator[Progress | Notice | ModelFile]:
        """Have the model at ``path`` among our own files, as ``name`` ("": its file's stem); the last item is the model.

        What ``obstacle`` says of it is a notice: it may be of use to others. Raises ``UsageError`` for a name that cannot be one or is taken, and as ``Imports.copy``.
        """
        source = self._shelf.path(Path(os.path.abspath(path.expanduser())), str(path))  # noqa: PTH100 (keeps links)
        yield from _warn(source, obstacle)
        name = name or names.plain(names.stem(path.name))
        check_name(name, "the name of an import")
        for alias in self.choices.aliases():
            if alias.name == name:
                raise UsageError(f"{name} is an alias of {alias.model}", detail="Choose another name with --name.")
        yield from self._imports.copy(source, name, interrupt)
        yield self._checked(name, interrupt)

    # ---- forgetting -----------------------------------------------------------------------------------------------

    def find_removable(self, name: str) -> ModelFile:
        """Return the model that ``remove`` would remove: as ``find``, and what is left of one that is not whole.

        An imported file that is gone is such a one, too.
        """
        key = self._key(name)
        for imported, path in self._imports.paths().items():
            if key in {imported, str(path)} and (model := self._imported(imported, path)).missing:
                return model
        try:
            return self.find(name)
        except ModelNotHere:
            entry, hub_name = self._catalogue.get(key), names.parse_hub_name(key)
            torn = self._shelf.torn_entry(entry) if entry else hub_name and self._shelf.torn_hub(hub_name)
            if not torn:
                raise
            return torn

    def left_behind(self, name: str) -> builtins.list[Path]:
        """Return what unfinished downloads left of a model that is not here; of a name on the Hub, of its repository."""
        from llmcli.models.partial import left_behind

        key = self._key(name)
        entry, hub_name = self._catalogue.get(key), names.parse_hub_name(key)
        repo = entry.repo if entry else hub_name.repo if hub_name else None
        found = left_behind(self._cache.directory(repo) / "blobs") if repo else []
        pinned = entry.pin.sha256 if entry and entry.pin else ""
        return [path for path in found if path.name.startswith(pinned)]

    def remove(self, name: str) -> builtins.list[Path]:
        """Remove a model from the cache, or our copy of one, or forget a file elsewhere; return what was deleted.

        Blobs that another name needs stay, and so does a file that lies elsewhere. Defaults and aliases that mean the
        model are forgotten. Nothing is deleted where the registry cannot be written, nothing forgotten where the files
        cannot be deleted. Of a model that is not here, or not whole, what ``left_behind`` returns is deleted. Raises as
        ``find``, and ``OutputError``.
        """
        try:
            model = self.find_removable(name)
        except ModelNotHere:
            left = self.left_behind(name)
            if not left:
                raise
            return _unlink(left)
        own = self._trust.owns(model.path)
        chosen = [*self._registry.data["defaults"].values(), *self._registry.data["aliases"].values()]
        called = {self._key(name), model.name, *(each for each in chosen if self.means(each, model))}
        left = self.left_behind(name) if model.missing else []
        removed: builtins.list[Path] = []

        def delete() -> None:
            if own:
                removed.extend(_unlink(part for part in model.parts if os.path.lexists(part)))
            elif model.repo is not None and model.file is not None:
                removed.extend(self._cache.remove(model.repo, names.parts(model.file)))
                removed.extend(_unlink(left))

        self._registry.forget(model.parts, called | ({names.stem(model.path.name)} if own else set()), delete)
        return removed

    def waste(self) -> builtins.list[Waste]:
        """Return what nobody needs any more; see ``waste.find_waste``."""
        from llmcli.models.waste import find_waste

        return find_waste(self._cache, self._imports.directory, self._scratch, self._registry.path)

    def prune(self, found: Collection[Waste]) -> builtins.list[Waste]:
        """Remove what was ``found`` and still is waste, and return it; forget what was known of files that are gone.

        Raises ``OutputError``.
        """
        from llmcli.models.waste import remove_waste

        agreed = {waste.path for waste in found}
        removed = [waste for waste in self.waste() if waste.path in agreed]
        for waste in removed:
            remove_waste(waste, self._cache)
        self._registry.forget_gone()
        known = {model.sha256 for model in self.list()} | self._registry.hashes()
        for marks in (self._used, self._introduced):
            _unlink(path for sha256, path in marks.files().items() if sha256 not in known)
        return removed


def _wrong(model: ModelFile, obstacle: Obstacle) -> str:
    """Return what ``obstacle`` says of a model. Raises as ``read_header``."""
    from llmcli.models.gguf import read_header

    return obstacle(read_header(model.path))


def _warn(model: ModelFile, obstacle: Obstacle) -> Iterator[Notice]:
    """Say beforehand what the commands that would run a model will say."""
    wrong = _wrong(model, obstacle)
    if wrong:
        yield Notice(f"{model.path} is not of use to commands that write text: {wrong}")


def _unlink(paths: Iterable[Path]) -> list[Path]:
    """Delete files and return them. Raises ``OutputError``, where it can be known before with all of them there."""
    gone = list(paths)
    check_removable(gone)
    for path in gone:
        with writing(path):
            path.unlink(missing_ok=True)
    return gone
