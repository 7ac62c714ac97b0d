"""``FILE.job.json`` beside the output of a long text: its outline and its sections so far. The next run goes on with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.documents.records.job_state import JobState, job_path, load_job
from llmcli.errors import BadDocument
from llmcli.files.resumable_file import is_resumable
from llmcli.tasks.generate.section_writing import SectionDraft

_OUTLINE, _DRAFTS = "outline", "sections"


class TextJob:
    """The job of the output ``path``; without a regular file there is none, and nothing is kept.

    ``drafts`` are the sections of an earlier run, none if there was none.
    """

    def __init__(self, path: str | None, manifest: Mapping[str, Any]) -> None:
        """Raises as ``load_job``, and ``JobMismatch`` if an unfinished job was begun with another manifest."""
        self._state: JobState | None = None
        self.outline = ""
        self.drafts: list[SectionDraft] = []
        if path is None or not is_resumable(path):
            return
        target = Path(os.path.realpath(path))
        found = load_job(target)
        if found is not None:
            found.require_same(manifest)
            self._read(found)
        self._state = found or JobState(target, manifest)

    def _read(self, state: JobState) -> None:
        try:
            self.outline = str(state.progress.summary[_OUTLINE])
            self.drafts = [SectionDraft.from_json(draft) for draft in state.progress.summary[_DRAFTS]]
        except (KeyError, TypeError) as error:
            raise BadDocument(str(state.path), detail="it is the job file of another command") from error

    def begin(self, outline: str) -> None:
        """Note the outline of the text."""
        self.outline = outline

    def save(self, drafts: Sequence[SectionDraft]) -> None:
        """Write the sections so far to the disk."""
        if self._state is None:
            return
        self._state.progress.done = sum(bool(draft.turns) for draft in drafts)
        self._state.progress.summary = {_OUTLINE: self.outline, _DRAFTS: [draft.to_json() for draft in drafts]}
        self._state.save()

    @property
    def num_begun(self) -> int:
        """The sections that are kept for the next run."""
        return 0 if self._state is None else self._state.progress.done

    def finish(self) -> None:
        """Remove the job: the text is complete."""
        if self._state is not None:
            with suppress(FileNotFoundError):
                job_path(self._state.target).unlink()
            self._state = None
