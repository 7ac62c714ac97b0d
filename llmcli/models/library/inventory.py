"""The models on this machine, in the Hugging Face cache and at paths, described without loading them."""

from __future__ import annotations

import builtins
from pathlib import Path

from llmcli.errors import BadModelFile, MissingError, ModelNotDownloaded
from llmcli.fast_dataclass import replace
from llmcli.models.catalogue import CatalogueEntry, load_catalogue
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.names import HubName, choose_file, part_names, quantization_label
from llmcli.models.files.paths import announced_sha256, check_regular_file, unreadable_error
from llmcli.models.hub.hub_cache import CachedFile, HubCache
from llmcli.models.library.registry import FileRecord, KnownChecksums, ModelRegistry


class ModelInventory:
    """Describes the models in ``cache`` and at paths, with what ``registry`` and ``checksums`` know of the files."""

    def __init__(self, cache: HubCache, registry: ModelRegistry, checksums: KnownChecksums) -> None:
        self._cache = cache
        self._registry = registry
        self._checksums = checksums

    def list(self) -> builtins.list[ModelFile]:
        """Return the complete models of the cache; a split model once."""
        firsts = (file for file in self._cache.files() if file.file == part_names(file.file)[0])
        found = (self._describe(file) for file in firsts)
        return [model for model in found if model is not None]

    def incomplete(self) -> builtins.list[ModelFile]:
        """Return the split models of the cache with missing parts (``incomplete``)."""
        return self._describe_incomplete(self._cache.incomplete_files())

    def find_incomplete_hub(self, name: HubName) -> ModelFile | None:
        """Return the incomplete model that a name on the Hub means, or None."""
        models = {
            str(model.file): model for model in self._describe_incomplete(self._cache.incomplete_files(name.repo))
        }
        if name.file is not None:
            return models.get(part_names(name.file)[0])
        return models.get(name.choose_file(models) or "")

    def find_incomplete_entry(self, entry: CatalogueEntry) -> ModelFile | None:
        """Return the incomplete model that a catalogue entry means, or None."""
        models = {
            str(model.file): model for model in self._describe_incomplete(self._cache.incomplete_files(entry.repo))
        }
        return models.get(choose_file(models, entry.quantizations) or "")

    def _describe_incomplete(self, files: builtins.list[CachedFile]) -> builtins.list[ModelFile]:
        from llmcli.models.files.file_bytes import file_size

        found: dict[tuple[str, str], ModelFile] = {}
        for each in files:
            names = part_names(each.file)
            beside = tuple(each.path.with_name(Path(name).name) for name in names)
            first = replace(each, file=names[0], path=beside[0])
            model = ModelFile(
                name=str(self._shortest_name(first)),
                path=beside[0],
                size=sum(map(file_size, beside)),
                repo=each.repo,
                file=names[0],
                revision=each.revision,
                quantization=quantization_label(names[0]),
                parts=beside,
            )
            found.setdefault((each.repo, names[0]), model)
        return list(found.values())

    def hub_names(self) -> builtins.list[str]:
        """Return the names of ``list``'s models on the Hub, without reading any file."""
        return [str(self._shortest_name(file)) for file in self._cache.files() if file.file == part_names(file.file)[0]]

    def find_entry(self, entry: CatalogueEntry) -> ModelFile:
        """Return the model of a catalogue entry. Raises ``ModelNotDownloaded``."""
        model = self._describe(self._cached_file_of(entry))
        if model is None:
            raise ModelNotDownloaded(entry.name, size=entry.pin.size if entry.pin else None)
        return model

    def find_hub(self, name: HubName) -> ModelFile:
        """Return the model that a name on the Hub means here. Raises ``ModelNotDownloaded``."""
        cached = self._cached_files(name.repo)
        model = self._describe(cached.get(name.choose_file(cached) or ""))
        if model is None:
            raise ModelNotDownloaded(str(name))
        return model

    def describe_path(self, path: Path, name: str) -> ModelFile:
        """Return the model in the file ``path``. Raises ``MissingError``, and ``BadModelFile`` if it is not a file."""
        try:
            check_regular_file(path, path.stat())
            files = tuple(path.with_name(part) for part in part_names(path.name))
            size = 0
            for part in files:
                status = part.stat()
                check_regular_file(part, status)
                size += status.st_size
        except OSError as error:
            raise unreadable_error(path, error) from error
        except ValueError as error:  # NUL, or half of a character
            raise MissingError(str(path), kind="model file", detail=str(error)) from error
        sha256 = announced_sha256(files[0])
        known = self._registry.last_record(files[0])
        if sha256 is None and known and known.announced:
            sha256 = known.sha256
        model = ModelFile(name, files[0], size, sha256, sha256 is not None, parts=files)
        return self._add_file_facts(replace(model, quantization=quantization_label(path.name)))

    def _cached_files(self, repo: str) -> dict[str, CachedFile]:
        return {file.file: file for file in self._cache.files(repo)}

    def _cached_file_of(self, entry: CatalogueEntry) -> CachedFile | None:
        """Return the first part of the model of a catalogue entry; a pinned one only if it is the pinned file."""
        cached = self._cached_files(entry.repo)
        if entry.pin is None:
            return cached.get(choose_file(cached, entry.quantizations) or "")
        file = cached.get(entry.pin.file)
        return file if file and announced_sha256(file.path) in (entry.pin.sha256, None) else None

    def _shortest_name(self, file: CachedFile) -> HubName:
        """Return the shortest name that means this file."""
        short = HubName(file.repo, quantization=quantization_label(file.file))
        cached = {file.file, *self._cached_files(file.repo)}
        return short if short.choose_file(cached) == file.file else HubName(file.repo, file=file.file)

    def _describe(self, file: CachedFile | None) -> ModelFile | None:
        """Describe a model by its first part, None when a part is missing."""
        if file is None:
            return None
        files = tuple(file.path.parent / Path(part).name for part in part_names(file.file))
        if not all(path.is_file() for path in files):
            return None
        entries = (entry for entry in load_catalogue().values() if entry.repo == file.repo)
        entry = next((entry for entry in entries if self._cached_file_of(entry) == file), None)
        sha256 = entry.pin.sha256 if entry and entry.pin else announced_sha256(file.path)
        model = ModelFile(
            name=entry.name if entry else str(self._shortest_name(file)),
            path=files[0],
            size=sum(path.stat().st_size for path in files),
            sha256=sha256,
            announced=sha256 is not None,
            repo=file.repo,
            file=file.file,
            revision=file.revision,
            quantization=quantization_label(file.file),
            catalogue=entry.name if entry else None,
            parts=files,
        )
        return self._add_file_facts(model)

    def _add_file_facts(self, model: ModelFile) -> ModelFile:
        """Add what the registry knows about the files, or else facts from the header."""
        records = [self._checksums.verified_record(model, part) for part in model.parts]
        wrong = [
            part
            for part, record in zip(model.parts, records, strict=True)
            if self._registry.current_record(part) and not record
        ]
        last = self._registry.last_record(model.path)
        expected = last.sha256 if last and last.damaged else None
        model = replace(model, damaged=bool(wrong), sha256=model.sha256 or expected)
        facts = self._checksums.verified_record(model, model.path)
        if facts is None:
            try:
                facts = read_file_record(model.path)
            except (BadModelFile, MissingError):  # `ensure_verified` reports it; a list continues
                return model
        return replace(
            model,
            sha256=model.sha256 or facts.sha256 or None,
            quantization=model.quantization or facts.quantization,
            architecture=facts.architecture,
            context=facts.context,
            verified=all(records),
            part_hashes=tuple(record.sha256 for record in records if record) if all(records) else (),
        )


def read_file_record(path: Path, sha256: str = "", *, adapter: bool = False) -> FileRecord:
    """Return size, time and header facts of the model at ``path``, or of an ``adapter``.

    Raises as ``read_header`` and ``check_is_model``.
    """
    from llmcli.models.gguf.header_parser import check_is_model, read_header

    header = read_header(path)
    if not adapter:
        check_is_model(header, str(path))
    status = path.stat()
    return FileRecord(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        sha256=sha256,
        quantization=header.quantization,
        architecture=header.architecture,
        context=header.context_length,
    )
