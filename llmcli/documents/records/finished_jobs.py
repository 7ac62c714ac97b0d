"""The jobs that are complete without a failure, so that another run of the same job has nothing to do.

Beside an output there is a job file only while something of its job is left to do. So these are in the cache, one file
for each output; without it, the job begins again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.documents.records.job_state import JobState, decode_progress
from llmcli.files import private_files
from llmcli.frozen_dataclass import asdict

_MAX_AGE_S = 90 * 24 * 60 * 60
"""Older ones are removed."""


FileStamp = tuple[str, int, int] | None
"""Path, size and time of a file; None for one that is missing."""


class FinishedJobs:
    """The complete jobs, in ``directory``.

    ``inputs`` are the stamps of a job's inputs when it began, None if one is no file: a file that changes while the job
    runs is another one afterwards.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, state: JobState, inputs: Sequence[FileStamp] | None) -> None:
        """Remember a job whose output has its final name, if its inputs are files."""
        if inputs is None:
            return
        content = {"job": _digest(state.target, inputs, state.manifest), "progress": asdict(state.progress)}
        with suppress(OSError):  # where nothing can be stored, another run begins again
            private_files.replace_file(self._path(state.target), json.dumps(content, ensure_ascii=False).encode())
            for path in self._directory.iterdir():
                if path.stat().st_mtime < time.time() - _MAX_AGE_S:
                    path.unlink()

    def find(self, target: Path, inputs: Sequence[FileStamp] | None, manifest: Mapping[str, Any]) -> JobState | None:
        """Return the job with this output and this manifest, if neither output nor inputs have changed; else None."""
        if inputs is None:
            return None
        try:
            content = json.loads(self._path(target).read_bytes())
            is_same = content["job"] == _digest(target, inputs, manifest)
            state = JobState(target, manifest, decode_progress(content["progress"]))
        except (OSError, ValueError, TypeError, KeyError):  # there is none, or that of another version
            return None
        return state if is_same else None

    def _path(self, target: Path) -> Path:
        return self._directory / f"{hashlib.sha256(bytes(target)).hexdigest()}.json"


def _digest(target: Path, inputs: Sequence[FileStamp], manifest: Mapping[str, Any]) -> str:
    """Return a hash of a manifest, which may have private texts, and of the stamps of inputs and output."""
    files = [*inputs, file_stamp(target)]
    return hashlib.sha256(json.dumps([manifest, files]).encode("utf-8", "surrogateescape")).hexdigest()


def file_stamp(path: Path) -> FileStamp:
    """Return the stamp of a file now."""
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path.resolve()), status.st_size, status.st_mtime_ns
