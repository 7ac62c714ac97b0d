"""The checksums that files must have."""

from __future__ import annotations

from pathlib import Path

from llmcli.models.files.model_file import ModelFile
from llmcli.models.library.registry import FileRecord, ModelRegistry


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
