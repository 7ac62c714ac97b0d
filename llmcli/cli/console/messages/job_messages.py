"""The messages for jobs of records that cannot go on."""

from __future__ import annotations

import shlex

from llmcli.cli.console.messages.message_text import Descriptions, ErrorText, subject_of
from llmcli.errors.saved_state_errors import EarlierFailures, JobMismatch, RetryRefused, UnfinishedJob


def _describe_mismatch(error: JobMismatch) -> ErrorText:
    names = ", ".join(error.differences)
    what = "its beginning has changed" if error.differences == ("input",) else f"these have changed: {names}"
    subject = "the input of" if error.differences == ("input",) else "the job of"
    advice = f"Repeat the command that began it, or begin again: rm {_files(error.subject)}"
    return f"{subject} {subject_of(error)} cannot be continued: {what}", advice


def _describe_unfinished(error: UnfinishedJob) -> ErrorText:
    what = f"{subject_of(error)} has an unfinished job with {error.done:,} records done"
    return what, f"Add --resume to go on, or begin again: rm {_files(error.subject)}"


def _describe_refused_retry(error: RetryRefused) -> ErrorText:
    return (
        f"the failed records of {subject_of(error)} cannot be retried: {error.reason}",
        "Leave out --retry-failed to begin again.",
    )


def _describe_earlier_failures(error: EarlierFailures) -> ErrorText:
    failed = f"{error.failed:,} record{'s' if error.failed > 1 else ''} failed"
    incomplete = f"{error.incomplete:,} result{'s are' if error.incomplete > 1 else ' is'} incomplete"
    parts = [failed] * bool(error.failed) + [incomplete] * bool(error.incomplete)
    if not (error.failed and error.are_kept):
        return f"in earlier runs of the job: {', '.join(parts)}", ""
    advice = "The column error of their rows says why; --retry-failed processes them again."
    return f"in earlier runs of the job: {', '.join(parts)}", advice


def _files(target: str) -> str:
    return " ".join(shlex.quote(target + suffix) for suffix in (".partial", ".job.json"))


JOB_DESCRIPTIONS: Descriptions = {
    JobMismatch: _describe_mismatch,
    UnfinishedJob: _describe_unfinished,
    RetryRefused: _describe_refused_retry,
    EarlierFailures: _describe_earlier_failures,
}
"""What happened and what to do next, for each class."""
