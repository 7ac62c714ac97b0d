"""The job behind ``-o FILE``: its rows go into FILE.partial, its checkpoints into FILE.job.json."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcli.documents.reading.file_reader import open_stream
from llmcli.documents.records.job_state import (
    FileStamp,
    FinishedJobs,
    JobProgress,
    JobState,
    file_stamp,
    job_path,
    load_job,
    require_kept,
    skip_done,
)
from llmcli.documents.records.part_file import PartFile
from llmcli.documents.records.record import Record
from llmcli.documents.records.record_source import RecordInput, RecordSource
from llmcli.errors import CannotCreate, LlmError, UsageError
from llmcli.errors.saved_state_errors import EarlierFailures, RetryRefused
from llmcli.files.resumable_file import ResumableFile
from llmcli.interrupt import Interrupt
from llmcli.types import ItemFailed, Result

if TYPE_CHECKING:
    from llmcli.cli.records.record_inputs import RecordWork

_CHECKPOINT_S = 1.0
"""Seconds of work that a kill may lose."""
_MAX_CHECKPOINT_SHARE = 0.05
"""Share of the time that checkpoints may take, if the disk is slow."""


class JobCheckpoint:
    """The job of an output: begun anew, continued, or repeated for its failed records."""

    def __init__(
        self, path: str, work: RecordWork, finished: FinishedJobs, *, resume: bool, retry_failed: bool
    ) -> None:
        """Open the output; ``finished`` are the jobs that have nothing left to do.

        Raises what ``ResumableFile`` and ``load_job`` raise, ``CannotCreate`` when neither option says that the job
        that exists goes on, and ``UsageError`` for --retry-failed without a complete output.
        """
        self._file = ResumableFile(path) if work.sharded is None else PartFile(path)
        self._work = work
        self._finished = finished
        self._resumes = resume
        self._input_stamps: list[FileStamp] | None = None
        self._complete: JobProgress | None = None  # before this run began to retry
        self._retry_refused = False
        self._failed_before = self._incomplete_before = 0
        self.is_finished = False
        """Whether nothing is left to do; known once the job has begun."""
        try:
            found = self._find_job(path, resume=resume, retry_failed=retry_failed)
        except LlmError:
            self._file.close_unused()
            raise
        self._found = found
        self._state: JobState | None = None
        self._started_at = time.monotonic()
        self._checkpoint_at = self._started_at + _CHECKPOINT_S
        self._seconds_before = 0.0
        self.retries = found is not None and (retry_failed or found.progress.retries)
        """Whether only the failed records of the complete output are processed."""

    def _find_job(self, path: str, *, resume: bool, retry_failed: bool) -> JobState | None:
        found = load_job(self._file.target)
        if found is not None and found.progress.complete:
            if self._file.initial_size >= max(1, found.progress.output_bytes):
                # a kill came between the last checkpoint and the rename
                self._file.truncate(found.progress.output_bytes)
                self._file = self._file.commit_and_reopen()
            if not found.progress.failed and not resume:
                job_path(self._file.target).unlink()
            if not (found.progress.failed if retry_failed else resume and self._has_output):
                found = None
        if found is None:
            if retry_failed:
                raise UsageError(f"no job has left failed records in {path}", detail="Leave out --retry-failed.")
            return None
        if not (resume or retry_failed):
            from llmcli.cli.console.messages.incomplete_messages import quote_job_files

            raise CannotCreate(
                path,
                exists=True,
                message=f"{{subject}} has an unfinished job with {found.progress.done:,} records done",
                advice=f"Add --resume to go on, or begin again: rm {quote_job_files(path)}",
                type_name="UnfinishedJob",
            )
        if retry_failed and not (found.progress.complete or found.progress.retries):
            raise UsageError(f"the job of {path} is not complete", detail="Finish it first, with --resume.")
        return found

    @property
    def progress(self) -> JobProgress:
        """How far the job has come, also in earlier runs."""
        assert self._state is not None
        return self._state.progress

    @property
    def part(self) -> PartFile | None:
        """The output if it is that of a shard, else None."""
        return self._file if isinstance(self._file, PartFile) else None

    @property
    def _has_output(self) -> bool:
        """Whether the complete output is there, a part with its index."""
        return self._file.target.exists() and (self.part is None or self.part.has_index)

    @property
    def has_begun(self) -> bool:
        """Whether ``begin`` was called."""
        return self._state is not None

    def begin(self, manifest: Mapping[str, Any]) -> bool:
        """Begin or continue the job and its summary; return whether the output already has its head.

        Raises ``JobMismatch`` when the job was begun with another manifest.
        """
        found = self._found
        inputs, summary = self._work.inputs, self._work.summary
        self._input_stamps = None if inputs is None else [file_stamp(Path(path)) for path in inputs]
        if found is None and self._resumes and self._has_output:
            found = self._finished.find(self._file.target, self._input_stamps, manifest)
        if found is None:
            self._remove_state()  # of a complete output that this job replaces
            self._state = JobState(self._file.target, manifest)
        else:
            found.require_same(manifest)
            self._state = found
            self.is_finished = found.progress.complete and not self.retries
            if self.retries and found.progress.complete:
                self._complete = found.progress
                found.progress = JobProgress(
                    incomplete=self._complete.incomplete,
                    retries=True,
                    expected_digest=self._complete.kept_digest,
                    summary=self._complete.summary,
                )
        progress = self.progress
        self._failed_before, self._incomplete_before = progress.failed, progress.incomplete
        if summary is not None:
            summary.restore(progress.summary, forgets_failed=self.begins_retry)
        if self.is_finished:
            return True
        self._file.truncate(progress.output_bytes)
        if self.part is not None:
            self.part.truncate_rows(progress.done)
        self._seconds_before = progress.seconds
        if progress.retries:
            self.checkpoint()  # from now on, the partial output is no longer the complete one
        return progress.output_bytes > 0

    @property
    def begins_retry(self) -> bool:
        """Whether this run has begun to retry the records that failed in the complete output."""
        return self._complete is not None

    def earlier_failures(self, *, are_kept: bool) -> EarlierFailures | None:
        """Return what earlier runs have left undone; ``are_kept``: the records that failed have rows."""
        failed, incomplete = self._failed_before, self._incomplete_before
        return EarlierFailures(failed, incomplete, are_kept=are_kept) if failed or incomplete else None

    def skip_done(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records that are not in the output yet; see ``job_state.skip_done``.

        If the job repeats failed records, the others must be those of the complete output, or ``RetryRefused`` is
        raised.
        """
        if self.retries:
            records = require_kept(records, self.progress.expected_digest, self._file.target)
        try:
            yield from skip_done(records, self.progress, self._file.target)
        except RetryRefused:
            self._retry_refused = True
            raise

    def read_complete(self, format_name: str) -> Iterator[Record]:
        """Return the rows of the complete output, as they were written. Raises as ``RecordSource`` does."""
        name = str(self._file.target)
        return iter(RecordSource([RecordInput(name, partial(open_stream, name, Interrupt()))], format_name))

    def write(self, data: bytes) -> None:
        """Append to the output what is no row."""
        if data:
            self._file.write(data)

    def write_row(self, record: Record, data: bytes, result: Result | ItemFailed) -> None:
        """Append the row of a record (b"" if it is left out), and save a checkpoint if one is due."""
        self._file.write(data)
        self.progress.add(record, result)
        if time.monotonic() >= self._checkpoint_at:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Save the progress so far."""
        assert self._state is not None
        began = time.monotonic()
        self._file.sync()
        self.progress.output_bytes = self._file.size
        self.progress.seconds = self._seconds_before + began - self._started_at
        if self._work.summary is not None:
            self.progress.summary = self._work.summary.to_state()
        self._state.save()
        took = time.monotonic() - began
        self._checkpoint_at = time.monotonic() + max(_CHECKPOINT_S, took / _MAX_CHECKPOINT_SHARE)

    def finish(self) -> None:
        """Give the output its name. The job is kept if records failed, so that they can be retried."""
        assert self._state is not None
        if self.is_finished:
            self._file.close_unused()
            if self._found is not None and not self.progress.failed:
                self._forget_finished()
            return
        self.progress.complete, self.progress.retries = True, False
        self.checkpoint()  # a kill before the rename: the next run renames
        self._file.commit()
        if not self.progress.failed:
            self._forget_finished()

    def _forget_finished(self) -> None:
        """Move the complete job away from its output."""
        assert self._state is not None
        self._finished.add(self._state, self._input_stamps)
        self._remove_state()

    def suspend(self) -> bool:
        """Keep the progress for another run; return whether there is any. A job without progress leaves nothing."""
        if self._state is None or not (self.progress.done or self._found):
            self.discard()
            return False
        if self.is_finished:
            self._file.close_unused()
            return False
        if self._retry_refused and self._complete is not None:
            self._state.progress = self._complete
            self._state.save()
            self._file.discard()
            return False
        try:
            self.checkpoint()
        except LlmError:
            if job_path(self._file.target).exists():
                self._file.close()
            else:  # the disk is full, and nothing says what the rows are
                self._file.discard()
            raise
        self._file.close()
        return True

    def discard(self) -> None:
        """Close the output and leave what earlier runs left: this one has no result."""
        if self._found is not None:  # of an earlier run
            self._file.close_unused()
            return
        self._file.discard()
        self._remove_state()

    def _remove_state(self) -> None:
        with suppress(OSError):
            job_path(self._file.target).unlink()
