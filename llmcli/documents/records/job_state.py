"""``FILE.job.json``: what a job is, and how far it has come. With ``FILE.partial`` it lets another run go on.

A checkpoint is written after the output so far is on the disk, and replaces the earlier one atomically. So at any
moment the checkpoint on the disk describes a beginning of the partial output; what follows it there is cut off when the
job goes on, and those records are processed again.

Beside an output there is a job file only while something of its job is left to do. ``FinishedJobs`` are in the cache,
one file for each output; without it, the job begins again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.documents.records.record import Record
from llmcli.errors import BadDocument, MissingError
from llmcli.errors.saved_state_errors import JobMismatch, RetryRefused
from llmcli.fast_dataclass import asdict, field, slotted
from llmcli.files import private_files
from llmcli.files.resumable_file import replace_durably
from llmcli.types import ItemFailed, Result, Usage

_VERSION = 1
_REMOVED_OPTIONS = {"--keep": False, "--nearest": 8, "--no-prior": False, "--unordered": False}
"""Options that an earlier release wrote into every manifest, and their values where they were not given."""
_MAX_JOB_BYTES = 256 << 20
"""Many times the job of the longest text that ``llm generate`` writes, which is all in it."""
_MAX_AGE_S = 90 * 24 * 60 * 60
"""Older ones are removed."""


@slotted
class JobProgress:
    """How far a job has come.

    The first ``done`` records are in the output; ``digest`` is that of the last of them, in hexadecimal.
    ``output_bytes`` of the partial output are valid. ``failed`` records have errors, ``delivered`` ones results that
    are not blank, and ``incomplete`` ones a result that was cut.
    ``complete``: the output has, or is about to get, its final name; the job is kept to retry the failed records.
    ``retries``: the job repeats the failed records of the complete output. ``kept_digest`` is that of all records that
    did not fail; in a job of retries, ``expected_digest`` is that of the complete output. ``seconds``, the token counts
    (``usage_is_known``: all were reported) and ``summary``, the state of the verb's summary, cover all runs.
    """

    done: int = 0
    digest: str = ""
    output_bytes: int = 0
    failed: int = 0
    incomplete: int = 0
    delivered: int = 0
    complete: bool = False
    retries: bool = False
    kept_digest: str = ""
    expected_digest: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    usage_is_known: bool = True

    @property
    def usage(self) -> Usage:
        """The tokens of all runs."""
        return Usage(self.prompt_tokens, self.cached_tokens, self.completion_tokens, is_known=bool(self.usage_is_known))

    def add(self, record: Record, result: Result | ItemFailed) -> None:
        """Record that the output now has the row of the next record, with this result."""
        if isinstance(result, Result):
            self.kept_digest = extend_digest(self.kept_digest, record.raw)
            self.delivered += not result.blank
            self.incomplete += result.cut
            self.prompt_tokens += result.usage.prompt_tokens
            self.cached_tokens += result.usage.cached_tokens
            self.completion_tokens += result.usage.completion_tokens
            self.usage_is_known = self.usage_is_known and result.usage.is_known
        else:
            self.failed += 1
        self.done, self.digest = record.index + 1, record.digest.hex()


@slotted
class JobState:
    """The job of the output ``target``. ``manifest`` holds everything that its results depend on, as JSON values."""

    target: Path
    manifest: Mapping[str, Any]
    progress: JobProgress = field(default_factory=JobProgress)

    @property
    def path(self) -> Path:
        """The file."""
        return job_path(self.target)

    def save(self) -> None:
        """Write the checkpoint to the disk. Raises ``OutputError`` and ``CannotCreate``."""
        content = {"version": _VERSION, "manifest": self.manifest, "progress": asdict(self.progress)}
        # without an indent: json then encodes in C; its encoder in Python leaves cycles, which add up in a long job
        replace_durably(self.path, json.dumps(content, ensure_ascii=False).encode())

    def require_same(self, manifest: Mapping[str, Any]) -> None:
        """Raise ``JobMismatch`` if this job was begun with another manifest."""
        known = json.loads(json.dumps(self.manifest)), json.loads(json.dumps(manifest))
        if names := find_differences(*known):
            raise JobMismatch(str(self.target), names)


def find_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of what two manifests do not share; no entry is the same as None."""
    one, other = ({**_REMOVED_OPTIONS, **manifest} for manifest in (first, second))
    return tuple(name for name in {**one, **other} if one.get(name) != other.get(name))


def job_path(target: Path) -> Path:
    """Return the path of the job file of an output."""
    return target.with_name(target.name + ".job.json")


def load_job(target: Path) -> JobState | None:
    """Return the job of an output, None if there is none.

    Raises ``BadDocument`` for a file that is not one of ours, and ``MissingError`` when it cannot be read.
    """
    path = job_path(target)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_JOB_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MissingError(str(path), kind="file", detail=error.strerror or "") from error
    if len(data) > _MAX_JOB_BYTES:
        raise BadDocument(
            str(path), detail=f"it is larger than {_MAX_JOB_BYTES >> 20} MiB, so it is no job file of llm"
        )
    try:
        content = json.loads(data)
        version, state = content["version"], JobState(target, content["manifest"], decode_progress(content["progress"]))
    except (ValueError, TypeError, KeyError) as error:
        raise BadDocument(str(path), detail="it is no job file of llm") from error
    if version != _VERSION:
        raise BadDocument(str(path), detail="it is a job file of another version of llm")
    return state


def decode_progress(content: Mapping[str, Any]) -> JobProgress:
    """Return a progress from its JSON; facts of other versions are left out. Raises ``TypeError``."""
    known = asdict(JobProgress())
    return JobProgress(**{name: value for name, value in content.items() if name in known})


def skip_done(records: Iterable[Record], progress: JobProgress, target: Path) -> Iterator[Record]:
    """Yield the records that are not in the output yet. The input must begin as it did before.

    No record is yielded before the digest has confirmed that. Raises ``JobMismatch``.
    """
    done, digest = progress.done, progress.digest
    seen = 0
    for record in records:
        seen += 1
        if record.index >= done:
            yield record
        elif record.index == done - 1 and record.digest.hex() != digest:
            raise JobMismatch(str(target), ("input",))
    if seen < done:
        raise JobMismatch(str(target), ("input",))


def require_kept(records: Iterable[Record], expected: str, target: Path) -> Iterator[Record]:
    """Yield all records; raise ``RetryRefused`` after the last one if the carried ones have another digest."""
    digest = ""
    for record in records:
        if record.carried is not None:
            digest = extend_digest(digest, record.raw)
        yield record
    if digest != expected:
        raise RetryRefused(str(target), "records of the input that had not failed have changed")


def extend_digest(digest: str, data: bytes) -> str:
    """Return the digest of some records and of one more, in hexadecimal; "" is that of none."""
    import hashlib

    return hashlib.blake2b(data, key=bytes.fromhex(digest), digest_size=16).hexdigest()


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
