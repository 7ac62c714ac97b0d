"""The messages for incomplete results, and for jobs and calibrations that cannot go on."""

from __future__ import annotations

import shlex
from pathlib import Path

from llmcli.cli.console.messages.message_text import Descriptions, ErrorText, append_detail, subject_of
from llmcli.errors import incomplete_results as i
from llmcli.errors.incomplete_results import (
    LARGER_MODEL_ADVICE,
    MAX_NAMED_PARTS,
    format_line_ranges,
    format_part_numbers,
)
from llmcli.errors.saved_state_errors import (
    DamagedCalibration,
    EarlierFailures,
    JobMismatch,
    PartMismatch,
    RetryRefused,
    TooFewLabels,
    name_differences,
)


def _describe_empty(error: i.EmptyAnswer) -> ErrorText:
    if error.limit is None:
        return "the model gave an empty answer", f"Try again, or rephrase the question; {LARGER_MODEL_ADVICE}"
    return "the model reached a limit before it answered", _raise_limit(error.limit)


def _raise_limit(limit: str | None) -> str:
    """Return what to do about a limit; for that of the context, ``context_advice`` knows more."""
    return "Shorten the input." if limit == "context" else "Raise the limit with --max-tokens."


def _describe_no_label(error: i.NoLabelAnswered) -> ErrorText:
    said = f'the first was: "{error.detail}"' if error.detail else "the first was empty"
    text = f"no answer of {subject_of(error)} was one of the labels; {said}"
    return text, "Choose a larger model (-m), or show it labelled rows: --examples FILE (classify, sentiment)"


def _describe_missing_parts(error: i.PartsMissing) -> ErrorText:
    document = subject_of(error)
    said = []
    for reason, words in (("empty", "missing from the summary"), ("cut", "summarized only in part")):
        parts = [part for part in error.parts if part.reason == reason]
        if parts:
            one = len(parts) == 1 and parts[0].first_line == parts[0].last_line
            of = "" if parts[0].file else f" of {document}"
            where = f"line{'' if one else 's'} {format_line_ranges(parts)}{of}{format_part_numbers(parts)}"
            said.append(f"{where} {'is' if one else 'are'} {words}")
    return "; ".join(said), LARGER_MODEL_ADVICE[0].upper() + LARGER_MODEL_ADVICE[1:]


def _describe_unrestored(error: i.ValuesNotRestored) -> ErrorText:
    codes = ", ".join(error.placeholders[:MAX_NAMED_PARTS])
    rest = len(error.placeholders) - MAX_NAMED_PARTS
    values = "a private value" if len(error.placeholders) == 1 else "private values"
    more = f" and {rest} more" if rest > 0 else ""
    return f"the server changed the code of {values}: {codes}{more}", "Try again, or send the values: --set redact=off"


INCOMPLETE_DESCRIPTIONS: Descriptions = {
    i.EmptyAnswer: _describe_empty,
    i.AnswerRefused: lambda x: (
        append_detail(f"{subject_of(x)} refuses to answer", x),
        "Change the input or the instructions, or choose another model (-m).",
    ),
    i.NoLabelAnswered: _describe_no_label,
    i.AnswerTruncated: lambda x: ("the answer was cut at a limit", _raise_limit(x.limit)),
    i.RepetitionStopped: lambda _: (
        "the answer repeated itself and was stopped",
        f"Ask again (in a chat: /retry), or {LARGER_MODEL_ADVICE}; --set stop_repetition=off lets it go on",
    ),
    i.CostLimitReached: lambda x: (
        f"stopped before --max-cost {x.limit}: the next request could cost {x.needed}, and {x.left} is left",
        "Raise --max-cost, or allow shorter answers with --max-tokens.",
    ),
    i.ExtractionFailed: lambda x: (
        append_detail(f"no values that fit the schema were found in {subject_of(x)}", x),
        f"Let the schema allow null, describe its values, or {LARGER_MODEL_ADVICE}",
    ),
    i.InvalidAnswer: lambda x: (x.detail, "Say it in other words, or choose a larger model: llm models recommend"),
    i.PartsMissing: _describe_missing_parts,
    i.ProblemsInText: lambda x: (
        f"the text has {x.count} problem{'' if x.count == 1 else 's'}, which the warnings name",
        f'Write a section again: llm generate KIND -o FILE --revise SECTION "What to change"; {LARGER_MODEL_ADVICE}',
    ),
    i.ValuesNotRestored: _describe_unrestored,
}
"""What happened and what to do next, for each class."""


def _describe_mismatch(error: JobMismatch) -> ErrorText:
    names = name_differences(error.differences)
    what = "its beginning has changed" if error.differences == ("input",) else f"these have changed: {names}"
    subject = "the input of" if error.differences == ("input",) else "the job of"
    advice = f"Repeat the command that began it, or begin again: rm {quote_job_files(error.subject)}"
    return f"{subject} {subject_of(error)} cannot be continued: {what}", advice


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


def _describe_part_mismatch(error: PartMismatch) -> ErrorText:
    what = f"{subject_of(error)} is not a part of the same job as {error.other}"
    if "input" in error.differences:
        return f"{what}: the input was another one", "Run the shards of all parts on the same files."
    return (
        f"{what}: these differ: {name_differences(error.differences)}",
        "Run its shard again, with the same command.",
    )


def quote_job_files(target: str) -> str:
    """Return the files of a job, to be removed; a long text has no partial output."""
    files = [target + suffix for suffix in (".partial", ".job.json")]
    return " ".join(map(shlex.quote, [file for file in files if Path(file).exists()] or files))


JOB_DESCRIPTIONS: Descriptions = {
    JobMismatch: _describe_mismatch,
    RetryRefused: _describe_refused_retry,
    PartMismatch: _describe_part_mismatch,
    EarlierFailures: _describe_earlier_failures,
}
"""What happened and what to do next, for each class."""


CALIBRATION_DESCRIPTIONS: Descriptions = {
    DamagedCalibration: lambda x: (
        append_detail(f"the calibration {subject_of(x)} cannot be read", x),
        f"Remove it and make it again: llm calibrations rm {subject_of(x)}",
    ),
    TooFewLabels: lambda x: (
        f"{subject_of(x)} has too few labelled rows: {x.detail}",
        "Label more rows: 200 are a good start.",
    ),
}
"""What happened and what to do next, for each class."""
