"""Imported models: copies in a directory of llm, and files that are used in place."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from llmcli.errors import BadModelFile, UsageError
from llmcli.fast_dataclass import replace
from llmcli.files import private_files
from llmcli.interrupt import Interrupt
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.names import model_stem, part_names
from llmcli.models.files.paths import (
    announced_sha256,
    list_directory,
    open_model,
    translate_write_errors,
    unreadable_error,
)
from llmcli.models.library.inventory import read_file_record
from llmcli.models.library.registry import FileRecord, ModelRegistry
from llmcli.types import Progress

_BLOCK_BYTES = 1 << 20
_UNFINISHED_IMPORT = re.compile(r"import\.[A-Za-z0-9-]+\.\d+\.incomplete")


class ImportedModels:
    """The copies in ``directory``, each named by its file's stem, and the files elsewhere that ``registry`` lists."""

    def __init__(self, directory: Path, registry: ModelRegistry) -> None:
        self.directory = directory
        self._registry = registry

    def paths(self) -> dict[str, Path]:
        """Return the file of each import by its name; of a split model the first, also if only others exist."""
        copies = (
            file.with_name(part_names(file.name)[0]) for file in list_directory(self.directory) if file.match("*.gguf")
        )
        elsewhere = {name: Path(path) for name, path in self._registry.sections["imports"].items()}
        return elsewhere | {model_stem(file.name): file for file in copies}

    def register_in_place(self, name: str, path: Path) -> None:
        """Register the file at ``path`` as ``name`` without copying it. Raises ``OutputError``."""
        self._registry.update(lambda data: data["imports"].update({name: str(path)}))

    def import_copy(self, source: ModelFile, name: str, interrupt: Interrupt) -> Generator[Progress, None, None]:
        """Import the files of ``source`` as the model ``name``: as hard links or else as copies; hashed once.

        Existing files of that name are replaced if they have the same bytes. Yields how many bytes were read. Raises
        ``BadModelFile``, ``MissingError``, ``OutputError`` and ``UsageError`` (another model has the name).
        """
        from llmcli.models.files.file_bytes import file_size
        from llmcli.models.hub.partial_file import temp_name
        from llmcli.models.library.verification import track_progress

        self._check_source(source, name)
        beside = self.directory / temp_name("import")  # a directory: a link in it is as old as the original
        for abandoned in unfinished_imports(self.directory):
            shutil.rmtree(abandoned, ignore_errors=True)
        with translate_write_errors(beside):
            private_files.make_directory(beside)
        files = [beside / file for file in _copy_file_names(name, len(source.parts))]
        hashes: list[str] = []
        try:
            left = source.size
            for part, file in zip(source.parts, files, strict=True):
                start = Progress(source.size - left, source.size, "bytes", name)
                hashes.append((yield from track_progress(_link_or_copy(part, file, left, interrupt), start)))
                left -= file_size(part)
            self._check_same_bytes(source, name, hashes, interrupt)
            self._publish_copy(source, files, hashes, name)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _check_source(self, source: ModelFile, name: str) -> None:
        """Refuse an incomplete model before it is read, and the name of a model of another size."""
        from llmcli.models.files.file_bytes import file_size
        from llmcli.models.gguf.header_parser import load_checked_header

        count = load_checked_header(source.path).part_count
        if count != len(source.parts):
            detail = f"its name belongs to a model in {len(source.parts)} files, but its header says {count}"
            raise BadModelFile(str(source.path), detail=detail)
        present = self._current_files(name)
        if any(map(file_size, present)) and sum(map(file_size, present)) != source.size:
            raise _name_taken_error(name)

    def _current_files(self, name: str) -> tuple[Path, ...]:
        """Return the present files of the import ``name``, none if there is none."""
        first = self.paths().get(name)
        return tuple(first.with_name(part) for part in part_names(first.name)) if first else ()

    def _check_same_bytes(self, source: ModelFile, name: str, hashes: Sequence[str], interrupt: Interrupt) -> None:
        """Refuse files whose hash is not the announced one, or that of the import ``name``, now or earlier."""
        from llmcli.models.files.file_bytes import hash_file

        for part, sha256 in zip(source.parts, hashes, strict=True):
            announced = announced_sha256(part)
            if announced not in (sha256, None):
                raise BadModelFile(
                    str(part), detail=f"it is damaged: SHA-256 is {sha256}, not the announced {announced}"
                )
        for old, part, sha256 in zip(self._current_files(name), source.parts, hashes, strict=False):
            known = self._registry.last_record(old)
            if not private_files.exists(old) or os.path.realpath(old) == os.path.realpath(part):
                continue
            with suppress(FileNotFoundError):
                if (known.sha256 if known else hash_file(old, interrupt)) != sha256:
                    raise _name_taken_error(name)

    def _publish_copy(self, source: ModelFile, files: Sequence[Path], hashes: Sequence[str], name: str) -> None:
        """Move the files to the directory and record them."""
        targets = [self.directory / file.name for file in files]
        records: dict[Path, FileRecord] = {}
        for part, file, target, sha256 in zip(source.parts, files, targets, hashes, strict=True):
            known = self._registry.last_record(target)
            announced_once = announced_sha256(part) is not None or (known is not None and known.announced)
            with translate_write_errors(target):
                file.replace(target)
            records[target] = replace(read_file_record(target, sha256), announced=announced_once)
        self._registry.save_records(records)
        if source.path not in targets:
            self._registry.update(lambda data: _record_copy(data, name, source.path))


def unfinished_imports(directory: Path) -> list[Path]:
    """Return the leftovers of imports into ``directory`` whose processes have ended."""
    from llmcli.models.hub.partial_file import is_orphaned

    return [path for path in list_directory(directory) if _UNFINISHED_IMPORT.fullmatch(path.name) and is_orphaned(path)]


def _name_taken_error(name: str) -> UsageError:
    detail = f"Choose another name with --name, or remove that model: llm models rm {name}"
    return UsageError(f"{name} is already the name of another model, or of one with other bytes", detail=detail)


def _record_copy(data: dict[str, dict[str, str]], name: str, origin: Path) -> None:
    data["imports"].pop(name, None)
    data["origins"][name] = str(origin)


def _copy_file_names(name: str, count: int) -> tuple[str, ...]:
    """Return the file names of a copy; llama.cpp derives the others from the first."""
    return part_names(f"{name}.gguf" if count == 1 else f"{name}-00001-of-{count:05d}.gguf")


def _link_or_copy(part: Path, file: Path, needed: int, interrupt: Interrupt) -> Generator[int, None, str]:
    """Link or copy ``part`` to ``file`` and return its SHA-256; a copy needs ``needed`` free bytes."""
    from llmcli.models.files.file_bytes import check_disk_space, hash_steps

    try:
        file.hardlink_to(os.path.realpath(part))
    except OSError:  # another file system, or one without links, or another user's file
        check_disk_space(file.parent, needed)
        return (yield from _copy_hashed(part, file, interrupt))
    try:
        return (yield from hash_steps(file, interrupt))
    except OSError as error:
        raise unreadable_error(part, error) from error


def _copy_hashed(part: Path, to: Path, interrupt: Interrupt) -> Generator[int, None, str]:
    import hashlib

    digest, done = hashlib.sha256(), 0
    with translate_write_errors(to), os.fdopen(private_files.open_file(to, os.O_WRONLY | os.O_EXCL), "wb") as file:
        for block in _read_blocks(part):
            interrupt.check()
            digest.update(block)
            file.write(block)
            done += len(block)
            yield done
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _read_blocks(path: Path) -> Iterator[bytes]:
    try:
        with open_model(path) as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise unreadable_error(path, error) from error
