"""The messages for incomplete results, and for jobs and calibrations that cannot go on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from llmcli.cli.console.messages.message_text import Descriptions, ErrorText, append_detail, subject_of
from llmcli.errors import incomplete_results as i
from llmcli.errors.saved_state_errors import (
    CalibrationMismatch,
    ConversationFull,
    DamagedCalibration,
    EarlierFailures,
    JobMismatch,
    NotAPart,
    NothingToSwap,
    PartMismatch,
    PartsIncomplete,
    RetryRefused,
    TooFewLabels,
    UnfinishedJob,
    UnfinishedPart,
)

_LARGER_MODEL_ADVICE = "try a larger model: llm models list"
_MAX_NAMED_PARTS = 5
"""Most missing ranges of lines that a message names."""


def _describe_empty(error: i.EmptyAnswer) -> ErrorText:
    if error.limit is None:
        return "the model gave an empty answer", f"Try again, or rephrase the question; {_LARGER_MODEL_ADVICE}"
    return "the model reached a limit before it answered", _raise_limit(error.limit)


def _raise_limit(limit: str | None) -> str:
    """Return what to do about a limit; for that of the context, ``context_advice`` knows more."""
    return "Shorten the input." if limit == "context" else "Raise the limit with --max-tokens."


def _describe_no_label(error: i.NoLabelAnswered) -> ErrorText:
    said = f'the first was: "{error.detail}"' if error.detail else "the first was empty"
    text = f"no answer of {subject_of(error)} was one of the labels; {said}"
    return text, "Choose a larger model (-m), or show it labelled rows: --examples FILE (classify, sentiment)"


def _describe_doubtful(error: i.DoubtfulTranslations) -> ErrorText:
    what = "translation is" if error.total == 1 else "translations are"
    return f"{error.doubtful} of {error.total} {what} doubtful", f"The warnings say where; {_LARGER_MODEL_ADVICE}"


def _describe_untranslated(error: i.IncompleteOutput) -> ErrorText:
    segments = f"segment{'' if error.total == 1 else 's'}"
    were = "was" if error.unfinished == 1 else "were"
    advice = "raise or leave out --max-tokens" if error.limited else _LARGER_MODEL_ADVICE
    return f"{error.unfinished} of {error.total} {segments} {were} left untranslated", f"The warnings say why; {advice}"


def _describe_missing_parts(error: i.PartsMissing) -> ErrorText:
    document = subject_of(error)
    said = []
    for reason, words in (("empty", "missing from the summary"), ("cut", "summarized only in part")):
        parts = [part for part in error.parts if part.reason == reason]
        if parts:
            one = len(parts) == 1 and parts[0].first_line == parts[0].last_line
            of = "" if parts[0].file else f" of {document}"
            where = f"line{'' if one else 's'} {_format_line_ranges(parts)}{of}{_format_part_numbers(parts)}"
            said.append(f"{where} {'is' if one else 'are'} {words}")
    return "; ".join(said), _LARGER_MODEL_ADVICE[0].upper() + _LARGER_MODEL_ADVICE[1:]


def _describe_missing_values(error: i.ValuesMissing) -> ErrorText:
    document = subject_of(error)
    said = []
    if error.parts:
        one = len(error.parts) == 1 and error.parts[0].first_line == error.parts[0].last_line
        where = f"line{'' if one else 's'} {_format_line_ranges(error.parts)}"
        said.append(f"values in {where} of {document} may be missing{_format_part_numbers(error.parts)}")
    if error.left_out:
        objects = "an incomplete object was" if error.left_out == 1 else f"{error.left_out} incomplete objects were"
        said.append(f"{objects} left out")
    return "; ".join(said), f"The warnings say why; {_LARGER_MODEL_ADVICE}"


def _format_line_ranges(parts: Sequence[i.MissingPart]) -> str:
    """Return "1 to 20, 41 to 60"."""
    ranges = [*dict.fromkeys(_format_line_range(part) for part in parts)]  # many parts may be in one long line
    return ", ".join(ranges[:_MAX_NAMED_PARTS]) + _format_rest(ranges)


def _format_line_range(part: i.MissingPart) -> str:
    lines = str(part.first_line) if part.first_line == part.last_line else f"{part.first_line} to {part.last_line}"
    return f"{lines} of {part.file}" if part.file else lines


def _format_part_numbers(parts: Sequence[i.MissingPart]) -> str:
    """Return " (parts 1, 3 of 5)"; "" for later stages, whose parts are not parts of the document."""
    if any(part.stage for part in parts):
        return ""
    numbers = ", ".join(str(part.part) for part in parts[:_MAX_NAMED_PARTS])
    return f" (part{'s' if len(parts) > 1 else ''} {numbers}{_format_rest(parts)} of {parts[0].parts})"


def _format_rest(parts: Sequence[object]) -> str:
    return f" and {len(parts) - _MAX_NAMED_PARTS} more" if len(parts) > _MAX_NAMED_PARTS else ""


def _describe_unrestored(error: i.ValuesNotRestored) -> ErrorText:
    codes = ", ".join(error.placeholders[:_MAX_NAMED_PARTS])
    rest = len(error.placeholders) - _MAX_NAMED_PARTS
    values = "a private value" if len(error.placeholders) == 1 else "private values"
    more = f" and {rest} more" if rest > 0 else ""
    return f"the server changed the code of {values}: {codes}{more}", "Try again, or send the values: --no-redact"


def _describe_missing_questions(error: i.QuestionsMissing) -> ErrorText:
    if not error.looked_at:
        return (
            "no question could be made: no sentence of the input stands for itself, and no list tells steps",
            "Name a document with prose; for --kind order, one with a numbered list of steps.",
        )
    reasons = "; ".join(f"{reason}: {count}" for reason, count in error.reasons)
    made = f"{error.found} of {error.wanted} questions" if error.found else "no question"
    tried = f"{error.looked_at} sentence{'' if error.looked_at == 1 else 's'}"
    return f"{made} could be made of {tried} ({reasons})", f"Name more documents or kinds, or {_LARGER_MODEL_ADVICE}"


INCOMPLETE_DESCRIPTIONS: Descriptions = {
    ConversationFull: lambda x: (
        f"the conversation takes {x.tokens} of {x.context} tokens, which leaves no room for an answer",
        "Let llm summarize or leave out its beginning: --overflow summarize or slide (in a chat: /set overflow slide)",
    ),
    i.EmptyAnswer: _describe_empty,
    i.AnswerRefused: lambda x: (
        append_detail(f"{subject_of(x)} refuses to answer", x),
        "Change the input or the instructions, or choose another model (-m).",
    ),
    i.NoLabelAnswered: _describe_no_label,
    i.AnswerTruncated: lambda x: ("the answer was cut at a limit", _raise_limit(x.limit)),
    i.RepetitionStopped: lambda _: (
        "the answer repeated itself and was stopped",
        f"Ask again (in a chat: /retry), or {_LARGER_MODEL_ADVICE}; --stop-repetition off lets it go on",
    ),
    i.CostLimitReached: lambda x: (
        f"stopped before --max-cost {x.limit}: the next request could cost {x.needed}, and {x.left} is left",
        "Raise --max-cost, or allow shorter answers with --max-tokens.",
    ),
    i.DoubtfulTranslations: _describe_doubtful,
    i.IncompleteOutput: _describe_untranslated,
    i.ExtractionFailed: lambda x: (
        append_detail(f"no values that fit the schema were found in {subject_of(x)}", x),
        f"Let the schema allow null, describe its values, or {_LARGER_MODEL_ADVICE}",
    ),
    i.InvalidAnswer: lambda x: (x.detail, "Say it in other words, or choose a larger model: llm models recommend"),
    i.NoCodeBlock: lambda _: ("the answer has no code block; without --extract it is printed as it is", ""),
    i.PartsMissing: _describe_missing_parts,
    i.ProblemsInText: lambda x: (
        f"the text has {x.count} problem{'' if x.count == 1 else 's'}, which the warnings name",
        f'Write a section again: llm generate KIND -o FILE --revise SECTION "What to change"; {_LARGER_MODEL_ADVICE}',
    ),
    i.QuestionsMissing: _describe_missing_questions,
    i.QueryFailed: lambda x: (
        append_detail(f"no query of the model answers the question; the last one was: {' '.join(x.subject.split())}", x)
        if x.subject
        else "the model wrote no SQL",
        f"Rephrase the question with the names of columns, or {_LARGER_MODEL_ADVICE}",
    ),
    i.RowsOmitted: lambda x: (
        f"the query has more rows than are printed (at most {x.limit:,})",
        "Ask for fewer rows, or for a sum, a count or the largest ones.",
    ),
    i.PointsUnsupported: lambda x: (
        f"no point of the summary is supported by {subject_of(x)} ({x.total} left out)",
        f"To see them: --keep-unsupported; {_LARGER_MODEL_ADVICE}",
    ),
    i.ValuesMissing: _describe_missing_values,
    i.ValuesNotRestored: _describe_unrestored,
    i.WrongSummaryForm: lambda x: (
        f"the summary {x.detail}" if x.subject == "-" else f"the summary of {subject_of(x)} {x.detail}",
        f"It is printed as it is; leave out --style, or {_LARGER_MODEL_ADVICE}",
    ),
}
"""What happened and what to do next, for each class."""


_VERB = "verb"
"""The part of a stored identity that holds the command."""


def _name_differences(names: Sequence[str]) -> str:
    """Return what differs; with another command, everything else differs too."""
    return "command" if _VERB in names else ", ".join(names)


def _describe_mismatch(error: JobMismatch) -> ErrorText:
    names = _name_differences(error.differences)
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


def _describe_part_mismatch(error: PartMismatch) -> ErrorText:
    what = f"{subject_of(error)} is not a part of the same job as {error.other}"
    if "input" in error.differences:
        return f"{what}: the input was another one", "Run the shards of all parts on the same files."
    return (
        f"{what}: these differ: {_name_differences(error.differences)}",
        "Run its shard again, with the same command.",
    )


def _describe_incomplete_parts(error: PartsIncomplete) -> ErrorText:
    named = ", ".join(f"{number}/{error.count}" for number in error.missing[:_MAX_NAMED_PARTS])
    one = len(error.missing) == 1
    what = (
        f"the part{'' if one else 's'} of --shard {named}{_format_rest(error.missing)} {'is' if one else 'are'} missing"
    )
    return what, "Name all parts; run the shards that have none, or go on with --resume."


def _describe_unfinished_part(error: UnfinishedPart) -> ErrorText:
    return (
        f"the job of {subject_of(error)} is not complete: {error.done:,} records are done",
        "Repeat its command with --resume.",
    )


def _files(target: str) -> str:
    """Return the files of a job, to be removed; a long text has no partial output."""
    files = [target + suffix for suffix in (".partial", ".job.json")]
    return " ".join(map(shlex.quote, [file for file in files if Path(file).exists()] or files))


JOB_DESCRIPTIONS: Descriptions = {
    JobMismatch: _describe_mismatch,
    UnfinishedJob: _describe_unfinished,
    RetryRefused: _describe_refused_retry,
    PartMismatch: _describe_part_mismatch,
    PartsIncomplete: _describe_incomplete_parts,
    UnfinishedPart: _describe_unfinished_part,
    NotAPart: lambda x: (
        f"{subject_of(x)} is not the output of --shard: {subject_of(x)}.shard is missing",
        "Copy both files of each part, and merge outputs of --shard only.",
    ),
    EarlierFailures: _describe_earlier_failures,
}
"""What happened and what to do next, for each class."""


def _describe_other_calibration(error: CalibrationMismatch) -> ErrorText:
    what = f"the calibration {subject_of(error)} was made with another {_name_differences(error.differences)}"
    if error.weights is not None:
        start = "On the server's machine: llm serve" if error.is_remote else "Try:"
        return what, f"{start} --weights {error.weights}"
    return what, "Use what it was made with, or make a new one: --calibrate FILE --calibration NAME"


CALIBRATION_DESCRIPTIONS: Descriptions = {
    CalibrationMismatch: _describe_other_calibration,
    DamagedCalibration: lambda x: (
        append_detail(f"the calibration {subject_of(x)} cannot be read", x),
        f"Remove it and make it again: llm calibrations rm {subject_of(x)}",
    ),
    NothingToSwap: lambda x: (
        f"nothing in the input can be swapped by {subject_of(x)}: {x.detail}",
        "For its words: llm audit show NAME, for texts with slots: llm audit show templates",
    ),
    TooFewLabels: lambda x: (
        f"{subject_of(x)} has too few labelled rows: {x.detail}",
        "Label more rows: 200 are a good start.",
    ),
}
"""What happened and what to do next, for each class."""
