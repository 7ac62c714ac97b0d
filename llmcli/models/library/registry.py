"""The registry of models: checked hashes, resolved names, imports, aliases, defaults. One JSON file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.errors import MissingError, OutputError
from llmcli.fast_dataclass import asdict, frozen
from llmcli.files import private_files
from llmcli.models.files.model_file import ModelFile
from llmcli.models.files.paths import translate_read_errors, translate_write_errors

_SECTIONS: dict[str, type] = {
    "files": dict,
    "names": dict,
    "imports": str,
    "origins": str,
    "defaults": str,
    "aliases": str,
}
"""Sections, and the types of their entries."""


@frozen
class FileRecord:
    """A file whose SHA-256 was checked when it had this size (bytes) and modification time; and facts of its header.

    ``announced``: its source announced the hash, though its name does not show it. ``damaged``: it was found changed;
    ``sha256`` is then the expected hash.
    """

    size: int
    mtime_ns: int
    sha256: str
    quantization: str | None = None
    architecture: str | None = None
    context: int | None = None
    announced: bool = False
    damaged: bool = False

    def __post_init__(self) -> None:
        """Raise ``TypeError`` for values of a damaged registry."""
        texts, truths = (self.sha256, self.quantization, self.architecture), (self.announced, self.damaged)
        if not all(isinstance(text, str | None) for text in texts):
            raise TypeError("expected texts")
        if not isinstance(self.context, int | None) or not all(isinstance(truth, bool) for truth in truths):
            raise TypeError("expected a number and booleans")


class ModelRegistry:
    """The file at ``path``. Read once, at first use; written by replacement, so readers see complete files.

    A damaged file counts as empty; the next change moves it aside. A file without read permission is an error for all
    reads and changes, since the user's choices in it would be lost; so all methods raise ``MissingError``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken_path = path.with_name(path.name + ".broken")
        self.was_damaged = False
        """Whether the file was damaged when it was read."""
        self._data: dict[str, dict[str, Any]] | None = None

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """The sections: files, names, imports, origins (of copies), defaults (by verb, "" for all others), aliases."""
        if self._data is None:
            self._data, whole = self._read_sections()
            self.was_damaged = not whole
        return self._data

    def damaged_file(self) -> Path | None:
        """Return the damaged file, or the one that was moved aside; None if there is none."""
        _, whole = self._read_sections()
        return self.path if not whole else self.broken_path if private_files.exists(self.broken_path) else None

    def _read_sections(self) -> tuple[dict[str, dict[str, Any]], bool]:
        """Return the sections with the valid entries, and whether the file is undamaged or missing."""
        content, loaded = self._read_bytes(), None
        if content is None:
            return {name: {} for name in _SECTIONS}, True
        with suppress(ValueError, RecursionError):
            loaded = json.loads(content)
        found = loaded if isinstance(loaded, dict) else {}
        sections = {name: found.get(name, {}) for name in _SECTIONS}
        kept = {
            name: {key: entry for key, entry in section.items() if isinstance(entry, _SECTIONS[name])}
            if isinstance(section, dict)
            else {}
            for name, section in sections.items()
        }
        return kept, isinstance(loaded, dict) and kept == sections

    def _read_bytes(self) -> bytes | None:
        with translate_read_errors(self.path), suppress(FileNotFoundError, NotADirectoryError):
            return self.path.read_bytes()
        return None

    def update(
        self, change: Callable[[dict[str, dict[str, Any]]], None], before: Callable[[], None] = lambda: None
    ) -> None:
        """Apply ``change`` to the newest contents and write them. Raises ``OutputError``, and what ``before`` raises.

        ``before`` runs when the new contents are on the disk; if it fails nothing is changed.
        """
        from llmcli.files import file_lock

        with translate_write_errors(self.path):
            private_files.make_directory(self.path.parent)
            with (
                file_lock.hold_lock_if_supported(self.path.with_suffix(".lock")),
                private_files.replacing(self.path) as beside,
            ):
                data, whole = self._read_sections()
                change(data)
                private_files.write_file(beside, json.dumps(data, indent=1, ensure_ascii=False).encode())
                before()
                if not whole:
                    self.path.replace(self.broken_path)
            self._data = data

    def current_record(self, path: Path) -> FileRecord | None:
        """Return the record of the file at ``path``, None if the file has changed since."""
        known = self.last_record(path)
        try:
            status = path.stat()
        except OSError:
            return None
        return known if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns) else None

    def last_record(self, path: Path) -> FileRecord | None:
        """Return the last record of the file at ``path``, even if it has changed since."""
        fields = self.sections["files"].get(os.path.realpath(path))
        try:
            return FileRecord(**fields) if fields else None
        except TypeError:  # written by a version with other fields
            return None

    def known_hashes(self) -> set[str | None]:
        """Return the hashes of all files that are known."""
        return {
            fields.get("sha256") for fields in self.sections["files"].values() if isinstance(fields.get("sha256"), str)
        }

    def existing_hashes(self) -> set[str | None]:
        """Return the hashes of the known files that exist."""
        files = self.sections["files"]
        return {fields.get("sha256") for path, fields in files.items() if not _is_missing(path)}

    def forget_file(self, path: Path) -> None:
        """Forget the record of the file at ``path``. Raises ``OutputError``."""
        real = os.path.realpath(path)
        if real in self.sections["files"]:
            self.update(lambda data: data["files"].pop(real, None) and None)

    def save_records(
        self, records: Mapping[Path, FileRecord], names: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        """Save records. If the registry cannot be written, the files are hashed again the next time."""
        files = {os.path.realpath(path): asdict(record) for path, record in records.items()}

        def change(data: dict[str, dict[str, Any]]) -> None:
            data["files"].update(files)
            data["names"].update(names or {})

        with suppress(MissingError, OutputError):
            self.update(change)

    def forget_models(self, paths: Collection[Path], names: Collection[str], delete: Callable[[], None]) -> None:
        """Forget the files at ``paths``, their names and imports, and ``names`` as imports, aliases and defaults.

        ``delete`` removes the files first; if it fails nothing is forgotten. A process that is killed between the two
        steps leaves names without files, which a new pull reuses, but no files without names. Raises ``OutputError``.
        """
        deleted = {str(path) for path in paths} | {os.path.realpath(path) for path in paths}

        def change(data: dict[str, dict[str, Any]]) -> None:
            data["files"] = {path: fields for path, fields in data["files"].items() if path not in deleted}
            data["names"] = {
                name: fields for name, fields in data["names"].items() if fields.get("path") not in deleted
            }
            data["imports"] = {n: path for n, path in data["imports"].items() if path not in deleted and n not in names}
            data["origins"] = {name: path for name, path in data["origins"].items() if name not in names}
            data["defaults"] = {use: name for use, name in data["defaults"].items() if name not in names}
            data["aliases"] = {n: name for n, name in data["aliases"].items() if n not in names and name not in names}

        self.update(change, delete)

    def forget_missing_files(self) -> None:
        """Forget the records and names of missing files. Raises ``OutputError``."""

        def change(data: dict[str, dict[str, Any]]) -> None:
            data["files"] = {path: known for path, known in data["files"].items() if not _is_missing(path)}
            data["names"] = {n: known for n, known in data["names"].items() if not _is_missing(str(known.get("path")))}

        if any(map(_is_missing, self.sections["files"])):
            self.update(change)


def _is_missing(path: str) -> bool:
    """Return whether a path does not exist; without permission to check, it counts as existing."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


class KnownChecksums:
    """The known hashes of files from ``registry``; files in ``own`` are copies that llm made, which do not change."""

    def __init__(self, registry: ModelRegistry, own: Path) -> None:
        self._registry = registry
        self._import_directory = own

    def is_imported_copy(self, part: Path) -> bool:
        """Return whether a file is a copy that llm made."""
        return part.parent == self._import_directory

    def expected_sha256(self, model: ModelFile, part: Path) -> str | None:
        """Return the hash that a part must have, None if the file may have been replaced.

        The hash was announced, or recorded when a copy was made, or before a file was found damaged.
        """
        announced = model.expected_sha256(part)
        known = None if announced else self._registry.last_record(part)
        bound = known and (known.announced or known.damaged or self.is_imported_copy(part))
        return known.sha256 if known and bound else announced

    def verified_record(self, model: ModelFile, part: Path) -> FileRecord | None:
        """Return the record of a part whose hash was checked and is right, else None."""
        record = self._registry.current_record(part)
        if record is None or record.damaged:
            return None
        return record if self.expected_sha256(model, part) in (record.sha256, None) else None


_SHA256 = re.compile(r"[0-9a-f]{64}")


class LastUsedTimes:
    """The files in ``directory``, each named by the SHA-256 of a model.

    They are not essential, so errors are ignored.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def record_use(self, sha256: str | None) -> None:
        """Record that the model with this hash is being used; errors are ignored."""
        path = self._marker_path(sha256)
        if path is None:
            return
        with suppress(OSError):
            try:
                os.utime(path)
            except FileNotFoundError:
                private_files.replace_file(path, b"")

    def last_used_at(self, sha256: str | None) -> float | None:
        """Return the time of the last use in seconds since 1970; None: never, or unknown."""
        path = self._marker_path(sha256)
        try:
            return path.stat().st_mtime if path else None
        except OSError:
            return None

    def _marker_path(self, sha256: str | None) -> Path | None:
        return self.directory / sha256 if sha256 and _SHA256.fullmatch(sha256) else None

    def marker_files(self) -> dict[str, Path]:
        """Return the files by the hash in their name."""
        try:
            return {path.name: path for path in sorted(self.directory.iterdir())}
        except OSError:
            return {}
