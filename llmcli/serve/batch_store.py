"""The files and batches of ``llm serve --batches``: private files in one directory, deleted after 24 hours.

Each file and batch has an object in the format of the protocol beside it, so that a server that is started again knows
them. Source of the objects: the OpenAI API reference, "The file object" and "The batch object".
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from llmcli.fast_dataclass import frozen
from llmcli.files import private_files

LIFETIME_S = 24 * 60 * 60
"""Seconds for which a file is kept, a batch may take, and a batch that has ended is kept."""
MAX_STORED_BYTES = 8 << 30
"""Bytes of all files together."""
_FILE_ID, _BATCH_ID = re.compile(r"file-[0-9a-f]{32}"), re.compile(r"batch_[0-9a-f]{32}")
_FINISHED = ("completed", "failed", "expired", "cancelled")
_JSON_SUFFIX, _UPLOAD_SUFFIX = ".json", ".upload"

ApiObject = dict[str, Any]
"""A file or a batch as clients see it."""


@frozen
class Upload:
    """A file that is being written to ``path``."""

    path: Path
    file: IO[bytes]


class BatchStore:
    """The files and batches in ``directory``, which one server at a time may use; ``clock`` gives seconds since 1970.

    Methods raise ``OSError``. They may be called from several threads.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.RLock()
        private_files.make_directory(directory)
        for upload in directory.glob(f"*{_UPLOAD_SUFFIX}"):  # of a server that was killed
            upload.unlink()

    @property
    def now(self) -> int:
        """The time, in seconds since 1970."""
        return int(self._clock())

    # ---- files ----------------------------------------------------------------------------------------------------

    @property
    def stored_bytes(self) -> int:
        """The size of all files together."""
        return sum(each["bytes"] for each in self.list_files())

    @contextmanager
    def open_upload(self) -> Iterator[Upload]:
        """Yield a private file to write to, which ``add_file`` keeps; otherwise it is removed afterwards."""
        path = self._directory / f"{secrets.token_hex(16)}{_UPLOAD_SUFFIX}"
        try:
            with os.fdopen(private_files.open_file(path, os.O_WRONLY | os.O_EXCL), "wb") as file:
                yield Upload(path, file)
        finally:
            path.unlink(missing_ok=True)

    def add_file(self, upload: Upload, filename: str, purpose: str) -> ApiObject:
        """Keep what was written to a file of ``open_upload``; return its object."""
        upload.file.flush()
        file_id = f"file-{_new_id()}"
        upload.path.replace(self._content_path(file_id))
        stored: ApiObject = {
            "id": file_id,
            "object": "file",
            "bytes": self._content_path(file_id).stat().st_size,
            "created_at": self.now,
            "expires_at": self.now + LIFETIME_S,
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self._save(stored)
        return stored

    def list_files(self) -> list[ApiObject]:
        """Return the files, the newest first."""
        return [each for each in self._list(_FILE_ID) if each["expires_at"] > self.now]

    def find_file(self, file_id: str) -> ApiObject | None:
        """Return a file, None if there is none of that id."""
        found = self._load(file_id, _FILE_ID)
        return found if found is not None and found["expires_at"] > self.now else None

    def content_path(self, file_id: str) -> Path:
        """Return where the content of a file is that ``find_file`` has found."""
        return self._content_path(file_id)

    def delete_file(self, file_id: str) -> bool:
        """Remove a file; return whether there was one."""
        with self._lock:
            found = self.find_file(file_id) is not None
            if found:
                self._remove_file(file_id)
            return found

    # ---- batches --------------------------------------------------------------------------------------------------

    def add_batch(self, input_file: str, endpoint: str, metadata: Mapping[str, str] | None) -> ApiObject:
        """Return a new batch; it keeps the content of its input, whatever becomes of that file."""
        batch_id = f"batch_{_new_id()}"
        os.link(self._content_path(input_file), self.requests_path(batch_id))
        ends = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        batch: ApiObject = {
            "id": batch_id,
            "object": "batch",
            "endpoint": endpoint,
            "model": None,
            "errors": None,
            "input_file_id": input_file,
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": self.now,
            "expires_at": self.now + LIFETIME_S,
            **{f"{each}_at": None for each in ends},
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": metadata,
        }
        self._save(batch)
        return batch

    def list_batches(self) -> list[ApiObject]:
        """Return the batches, the newest first."""
        return self._list(_BATCH_ID)

    def find_batch(self, batch_id: str) -> ApiObject | None:
        """Return a batch, None if there is none of that id."""
        return self._load(batch_id, _BATCH_ID)

    def update_batch(self, batch_id: str, *, unless: tuple[str, ...] = (), **changes: Any) -> ApiObject:
        """Change a batch, unless its status is one of ``unless``; a new status sets its time. Return the batch."""
        with self._lock:
            batch = self.find_batch(batch_id)
            assert batch is not None
            if batch["status"] in unless:
                return batch
            status = changes.get("status", batch["status"])
            if status != batch["status"]:
                changes[f"{status}_at"] = self.now
            batch |= changes
            self._save(batch)
            return batch

    def requests_path(self, batch_id: str) -> Path:
        """Return where the requests of a batch are."""
        return self._directory / f"{batch_id}.requests.jsonl"

    def answers_path(self, batch_id: str) -> Path:
        """Return where the lines of the answers are, in the order of the requests."""
        return self._directory / f"{batch_id}.answers.jsonl"

    def remove_work(self, batch_id: str) -> None:
        """Remove what a batch that has ended no longer needs."""
        for path in self._directory.glob(f"{batch_id}.*"):
            if path.suffix != _JSON_SUFFIX or path.stem != batch_id:
                path.unlink(missing_ok=True)

    # ---- time -----------------------------------------------------------------------------------------------------

    def remove_expired(self) -> None:
        """Remove files and ended batches that are too old."""
        with self._lock:
            for stored in self._list(_FILE_ID):
                if stored["expires_at"] <= self.now:
                    self._remove_file(stored["id"])
            for batch in self._list(_BATCH_ID):
                if is_finished(batch) and batch[f"{batch['status']}_at"] + LIFETIME_S <= self.now:
                    self.remove_work(batch["id"])
                    self._object_path(batch["id"]).unlink(missing_ok=True)

    # ---- the directory --------------------------------------------------------------------------------------------

    def _content_path(self, file_id: str) -> Path:
        return self._directory / file_id

    def _object_path(self, object_id: str) -> Path:
        return self._directory / f"{object_id}{_JSON_SUFFIX}"

    def _remove_file(self, file_id: str) -> None:
        self._object_path(file_id).unlink(missing_ok=True)
        self._content_path(file_id).unlink(missing_ok=True)

    def _save(self, value: ApiObject) -> None:
        private_files.replace_file(self._object_path(value["id"]), json.dumps(value).encode())

    def _load(self, object_id: str, pattern: re.Pattern[str]) -> ApiObject | None:
        if not pattern.fullmatch(object_id):
            return None
        with suppress(FileNotFoundError, ValueError):  # a damaged one is none, and must not stop the others
            loaded = json.loads(self._object_path(object_id).read_bytes())
            return loaded if isinstance(loaded, dict) and loaded.get("id") == object_id else None
        return None

    def _list(self, pattern: re.Pattern[str]) -> list[ApiObject]:
        found = (self._load(path.stem, pattern) for path in self._directory.glob(f"*{_JSON_SUFFIX}"))
        objects = [each for each in found if each is not None]
        return sorted(objects, key=lambda each: (each["created_at"], each["id"]), reverse=True)


def _new_id() -> str:
    """Return 32 hexadecimal digits that sort by time: of two batches of one second the older one runs first."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


def is_finished(batch: ApiObject) -> bool:
    """Return whether a batch has ended, in whatever way."""
    return batch["status"] in _FINISHED
