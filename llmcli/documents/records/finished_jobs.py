"""The jobs that are complete without a failure, so that another run of the same job has nothing to do.

Beside an output there is a job file only while something of its job is left to do. So these are in the cache, one file
for each output; without it, the job begins again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from llmcli.documents.records.job_state import JobState, decode_job
from llmcli.files import private_files

_MAX_AGE_S = 90 * 24 * 60 * 60
"""Older ones are removed."""


class FinishedJobs:
    """The complete jobs, in ``directory``. ``inputs`` are the paths of a job's inputs, None if one is no file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, state: JobState, inputs: Sequence[str] | None) -> None:
        """Remember a job whose output has its final name, if its inputs are files."""
        if inputs is None:
            return
        files = _describe_files([*inputs, str(state.target)])
        with suppress(OSError):  # where nothing can be stored, another run begins again
            private_files.replace_file(self._path(state.target), state.encode(files=files))
            for path in self._directory.iterdir():
                if path.stat().st_mtime < time.time() - _MAX_AGE_S:
                    path.unlink()

    def find(self, target: Path, inputs: Sequence[str] | None) -> JobState | None:
        """Return the job whose output is ``target``, if neither that nor an input has changed since; else None."""
        if inputs is None:
            return None
        try:
            content = json.loads(self._path(target).read_bytes())
            state = decode_job(content, target)
            is_same = content["files"] == _describe_files([*inputs, str(target)])
        except (OSError, ValueError, TypeError, KeyError):  # there is none, or that of another version
            return None
        return state if is_same else None

    def _path(self, target: Path) -> Path:
        return self._directory / f"{hashlib.sha256(bytes(target)).hexdigest()}.json"


def _describe_files(paths: Sequence[str]) -> list[list[str | int] | None]:
    """Return path, size and time of each file; None for one that is missing."""
    return [
        [str(Path(path).resolve()), Path(path).stat().st_size, Path(path).stat().st_mtime_ns]
        if Path(path).is_file()
        else None
        for path in paths
    ]
