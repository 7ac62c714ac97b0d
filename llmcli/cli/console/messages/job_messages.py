"""The messages for jobs of records that cannot go on."""

from __future__ import annotations

import shlex

from llmcli.cli.console.messages.message_text import Descriptions, ErrorText, subject_of
from llmcli.documents.records.job_errors import JobMismatch, UnfinishedJob


def _describe_mismatch(error: JobMismatch) -> ErrorText:
    names = ", ".join(error.differences)
    what = "its beginning has changed" if error.differences == ("input",) else f"these have changed: {names}"
    subject = "the input of" if error.differences == ("input",) else "the job of"
    advice = f"Repeat the command that began it, or begin again: rm {_files(error.subject)}"
    return f"{subject} {subject_of(error)} cannot be continued: {what}", advice


def _describe_unfinished(error: UnfinishedJob) -> ErrorText:
    what = f"{subject_of(error)} has an unfinished job with {error.done:,} records done"
    return what, f"Add --resume to go on, or begin again: rm {_files(error.subject)}"


def _files(target: str) -> str:
    return " ".join(shlex.quote(target + suffix) for suffix in (".partial", ".job.json"))


JOB_DESCRIPTIONS: Descriptions = {
    JobMismatch: _describe_mismatch,
    UnfinishedJob: _describe_unfinished,
}
"""What happened and what to do next, for each class."""
