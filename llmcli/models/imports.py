"""Models from elsewhere: copies that llm made in a directory of its own, and files that are used where they lie."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from llmcli import private_files
from llmcli.errors import BadModelFile, UsageError
from llmcli.interrupt import Interrupt
from llmcli.models.file import ModelFile
from llmcli.models.names import parts, stem
from llmcli.models.paths import announced_sha256, entries, open_model, unreadable, writing
from llmcli.models.registry import FileRecord, Registry
from llmcli.models.shelf import read_facts
from llmcli.types import Progress

_BLOCK = 1 << 20
_LEFT = re.compile(r"import\.[A-Za-z0-9-]+\.\d+\.incomplete")


class Imports:
    """The copies in ``directory``, each called by its file's stem, and what ``registry`` calls files elsewhere."""

    def __init__(self, directory: Path, registry: Registry) -> None:
        self.directory = directory
        self._registry = registry

    def paths(self) -> dict[str, Path]:
        """Return the file of each import by its name; of a split model the first, also where only others are left."""
        copies = (file.with_name(parts(file.name)[0]) for file in entries(self.directory) if file.match("*.gguf"))
        elsewhere = {name: Path(path) for name, path in self._registry.data["imports"].items()}
        return elsewhere | {stem(file.name): file for file in copies}

    def refer(self, name: str, path: Path) -> None:
        """Call the file at ``path`` by ``name`` and leave it where it is. Raises ``OutputError``."""
        self._registry.update(lambda data: data["imports"].update({name: str(path)}))

    def copy(self, source: ModelFile, name: str, interrupt: Interrupt) -> Generator[Progress, None, None]:
        """Have the files of ``source`` here as the model ``name``: hard links to them, or else copies; hashed once.

        Files of that name are replaced where they had the same bytes. Yields how many bytes were read. Raises
        ``BadModelFile``, ``MissingError``, ``OutputError`` and ``UsageError`` (another model has the name).
        """
        from llmcli.models.checking import counted
        from llmcli.models.partial import own_name, size_of

        self._check(source, name)
        beside = self.directory / own_name("import")  # a directory: a link in it is as old as the original
        for gone in unfinished(self.directory):
            shutil.rmtree(gone, ignore_errors=True)
        with writing(beside):
            private_files.make_directory(beside)
        files = [beside / file for file in _names(name, len(source.parts))]
        hashes: list[str] = []
        try:
            left = source.size
            for part, file in zip(source.parts, files, strict=True):
                start = Progress(source.size - left, source.size, "bytes", name)
                hashes.append((yield from counted(_take(part, file, left, interrupt), start)))
                left -= size_of(part)
            self._compare(source, name, hashes, interrupt)
            self._place(source, files, hashes, name)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _check(self, source: ModelFile, name: str) -> None:
        """Refuse what is no whole model before it is read, and the name of a model of another size."""
        from llmcli.models.gguf import load_header
        from llmcli.models.partial import size_of

        count = load_header(source.path).parts
        if count != len(source.parts):
            detail = f"its name is that of a model in {len(source.parts)} files; it says that they are {count}"
            raise BadModelFile(str(source.path), detail=detail)
        there = self._files(name)
        if any(map(size_of, there)) and sum(map(size_of, there)) != source.size:
            raise _another(name)

    def _files(self, name: str) -> tuple[Path, ...]:
        """Return the files that the import called ``name`` has now, none when there is none."""
        first = self.paths().get(name)
        return tuple(first.with_name(part) for part in parts(first.name)) if first else ()

    def _compare(self, source: ModelFile, name: str, hashes: Sequence[str], interrupt: Interrupt) -> None:
        """Refuse files that are not what was announced, or not what the import called ``name`` is or was."""
        from llmcli.models.partial import hash_file

        for part, sha256 in zip(source.parts, hashes, strict=True):
            announced = announced_sha256(part)
            if announced not in (sha256, None):
                raise BadModelFile(str(part), detail=f"it is damaged: SHA-256 is {sha256}, announced was {announced}")
        for old, part, sha256 in zip(self._files(name), source.parts, hashes, strict=False):
            known = self._registry.last(old)
            if not private_files.exists(old) or os.path.realpath(old) == os.path.realpath(part):
                continue
            with suppress(FileNotFoundError):
                if (known.sha256 if known else hash_file(old, interrupt)) != sha256:
                    raise _another(name)

    def _place(self, source: ModelFile, files: Sequence[Path], hashes: Sequence[str], name: str) -> None:
        """Move the files up and remember what they are."""
        targets = [self.directory / file.name for file in files]
        records: dict[Path, FileRecord] = {}
        for part, file, target, sha256 in zip(source.parts, files, targets, hashes, strict=True):
            known = self._registry.last(target)
            announced_once = announced_sha256(part) is not None or (known is not None and known.announced)
            with writing(target):
                file.replace(target)
            records[target] = replace(read_facts(target, sha256), announced=announced_once)
        self._registry.remember(records)
        if source.path not in targets:
            self._registry.update(lambda data: _moved(data, name, source.path))


def unfinished(directory: Path) -> list[Path]:
    """Return what imports into ``directory`` left whose processes are gone."""
    from llmcli.models.partial import is_left

    return [path for path in entries(directory) if _LEFT.fullmatch(path.name) and is_left(path)]


def _another(name: str) -> UsageError:
    detail = f"Choose another name with --name, or remove that model: llm models rm {name}"
    return UsageError(f"{name} is the name of another model, or of one with other bytes", detail=detail)


def _moved(data: dict[str, dict[str, str]], name: str, origin: Path) -> None:
    data["imports"].pop(name, None)
    data["origins"][name] = str(origin)


def _names(name: str, count: int) -> tuple[str, ...]:
    """Return the names of the files of a copy, which llama.cpp finds by the first."""
    return parts(f"{name}.gguf" if count == 1 else f"{name}-00001-of-{count:05d}.gguf")


def _take(part: Path, file: Path, needed: int, interrupt: Interrupt) -> Generator[int, None, str]:
    """Have the bytes of ``part`` at ``file``, where a copy needs ``needed`` free bytes, and return their SHA-256."""
    from llmcli.models.partial import check_space, hashing

    try:
        file.hardlink_to(os.path.realpath(part))
    except OSError:  # another file system, or one without links, or a file of somebody else's
        check_space(file.parent, needed)
        return (yield from _copy(part, file, interrupt))
    try:
        return (yield from hashing(file, interrupt))
    except OSError as error:
        raise unreadable(part, error) from error


def _copy(part: Path, to: Path, interrupt: Interrupt) -> Generator[int, None, str]:
    import hashlib

    digest, done = hashlib.sha256(), 0
    with writing(to), os.fdopen(private_files.open_file(to, os.O_WRONLY | os.O_EXCL), "wb") as file:
        for block in _blocks(part):
            interrupt.check()
            digest.update(block)
            file.write(block)
            done += len(block)
            yield done
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with open_model(path) as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise unreadable(path, error) from error
