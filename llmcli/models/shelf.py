"""What lies on this machine: models in the Hugging Face cache and files named by path, described without loading them."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path

from llmcli.errors import BadModelFile, MissingError, ModelNotHere
from llmcli.models.cache import CachedFile, HubCache
from llmcli.models.catalogue import CatalogueEntry, load_catalogue
from llmcli.models.file import ModelFile
from llmcli.models.names import HubName, choose, parts, quantization
from llmcli.models.paths import announced_sha256, check_regular, unreadable
from llmcli.models.registry import FileRecord, Registry
from llmcli.models.trust import Trust


class Shelf:
    """Describes the models in ``cache`` and at paths, with what ``registry`` and ``trust`` know about their files."""

    def __init__(self, cache: HubCache, registry: Registry, trust: Trust) -> None:
        self._cache = cache
        self._registry = registry
        self._trust = trust

    def list(self) -> builtins.list[ModelFile]:
        """Return the whole models of the cache; a split one once."""
        firsts = (file for file in self._cache.files() if file.file == parts(file.file)[0])
        found = (self._describe(file) for file in firsts)
        return [model for model in found if model is not None]

    def torn(self) -> builtins.list[ModelFile]:
        """Return the split models of the cache of which some parts are here and some are not (``incomplete``)."""
        return self._torn(self._cache.torn())

    def torn_hub(self, name: HubName) -> ModelFile | None:
        """Return which of ``torn`` a name on the Hub means, None for none."""
        models = {str(model.file): model for model in self._torn(self._cache.torn(name.repo))}
        if name.file is not None:
            return models.get(parts(name.file)[0])
        return models.get(name.choose(models) or "")

    def torn_entry(self, entry: CatalogueEntry) -> ModelFile | None:
        """Return which of ``torn`` a catalogue entry means, None for none."""
        models = {str(model.file): model for model in self._torn(self._cache.torn(entry.repo))}
        return models.get(choose(models, entry.quantizations) or "")

    def _torn(self, files: builtins.list[CachedFile]) -> builtins.list[ModelFile]:
        from llmcli.models.partial import size_of

        found: dict[tuple[str, str], ModelFile] = {}
        for each in files:
            names = parts(each.file)
            beside = tuple(each.path.with_name(Path(name).name) for name in names)
            first = replace(each, file=names[0], path=beside[0])
            model = ModelFile(
                name=str(self._name(first)),
                path=beside[0],
                size=sum(map(size_of, beside)),
                repo=each.repo,
                file=names[0],
                revision=each.revision,
                quantization=quantization(names[0]),
                parts=beside,
            )
            found.setdefault((each.repo, names[0]), model)
        return list(found.values())

    def hub_names(self) -> builtins.list[str]:
        """Return the names of ``list``'s models on the Hub, without looking into any file."""
        return [str(self._name(file)) for file in self._cache.files() if file.file == parts(file.file)[0]]

    def entry(self, entry: CatalogueEntry) -> ModelFile:
        """Return the model of a catalogue entry. Raises ``ModelNotHere``."""
        model = self._describe(self._file_of(entry))
        if model is None:
            raise ModelNotHere(entry.name, size=entry.pin.size if entry.pin else None)
        return model

    def hub(self, name: HubName) -> ModelFile:
        """Return the model that a name on the Hub means here. Raises ``ModelNotHere``."""
        here = self._here(name.repo)
        model = self._describe(here.get(name.choose(here) or ""))
        if model is None:
            raise ModelNotHere(str(name))
        return model

    def path(self, path: Path, name: str) -> ModelFile:
        """Return the model in the file ``path``. Raises ``MissingError``, and ``BadModelFile`` for what is no file."""
        try:
            check_regular(path, path.stat())
            files = tuple(path.with_name(part) for part in parts(path.name))
            size = 0
            for part in files:
                status = part.stat()
                check_regular(part, status)
                size += status.st_size
        except OSError as error:
            raise unreadable(path, error) from error
        sha256 = announced_sha256(files[0])
        known = self._registry.last(files[0])
        if sha256 is None and known and known.announced:
            sha256 = known.sha256
        model = ModelFile(name, files[0], size, sha256, sha256 is not None, parts=files)
        return self._with_facts(replace(model, quantization=quantization(path.name)))

    def _here(self, repo: str) -> dict[str, CachedFile]:
        return {file.file: file for file in self._cache.files(repo)}

    def _file_of(self, entry: CatalogueEntry) -> CachedFile | None:
        """Return the first part of what a catalogue entry means; a pinned one only if it is the pinned file."""
        here = self._here(entry.repo)
        if entry.pin is None:
            return here.get(choose(here, entry.quantizations) or "")
        file = here.get(entry.pin.file)
        return file if file and announced_sha256(file.path) in (entry.pin.sha256, None) else None

    def _name(self, file: CachedFile) -> HubName:
        """Return the shortest name that means this file."""
        short = HubName(file.repo, quantization=quantization(file.file))
        here = {file.file, *self._here(file.repo)}
        return short if short.choose(here) == file.file else HubName(file.repo, file=file.file)

    def _describe(self, file: CachedFile | None) -> ModelFile | None:
        """Describe a model by its first part, None when a part is missing."""
        if file is None:
            return None
        files = tuple(file.path.parent / Path(part).name for part in parts(file.file))
        if not all(path.is_file() for path in files):
            return None
        entries = (entry for entry in load_catalogue().values() if entry.repo == file.repo)
        entry = next((entry for entry in entries if self._file_of(entry) == file), None)
        sha256 = entry.pin.sha256 if entry and entry.pin else announced_sha256(file.path)
        model = ModelFile(
            name=entry.name if entry else str(self._name(file)),
            path=files[0],
            size=sum(path.stat().st_size for path in files),
            sha256=sha256,
            announced=sha256 is not None,
            repo=file.repo,
            file=file.file,
            revision=file.revision,
            quantization=quantization(file.file),
            catalogue=entry.name if entry else None,
            parts=files,
        )
        return self._with_facts(model)

    def _with_facts(self, model: ModelFile) -> ModelFile:
        """Add what the registry knows about the files, or else what the header says."""
        wrong = [part for part in model.parts if self._registry.record(part) and not self._trust.checked(model, part)]
        checked = all(self._trust.checked(model, part) for part in model.parts)
        last = self._registry.last(model.path)
        expected = last.sha256 if last and last.damaged else None
        model = replace(model, damaged=bool(wrong), sha256=model.sha256 or expected)
        facts = self._trust.checked(model, model.path)
        if facts is None:
            try:
                facts = read_facts(model.path)
            except (BadModelFile, MissingError):  # `ready` says so; a list goes on
                return model
        return replace(
            model,
            sha256=model.sha256 or facts.sha256 or None,
            quantization=model.quantization or facts.quantization,
            architecture=facts.architecture,
            context=facts.context,
            verified=checked,
        )


def read_facts(path: Path, sha256: str = "") -> FileRecord:
    """Return size, time and header facts of the GGUF file at ``path``. Raises as ``gguf.read_header``."""
    from llmcli.models.gguf import read_header

    header = read_header(path)
    status = path.stat()
    return FileRecord(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        sha256=sha256,
        quantization=header.quantization,
        architecture=header.architecture,
        context=header.context_length,
    )
