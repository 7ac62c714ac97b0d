"""sentiment: a label and its probabilities for each record, by scoring and without generating."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace

from llmcli.backends.base import Backend
from llmcli.documents.records import Record
from llmcli.errors import ConfigError, Unsupported
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.ordered_stream import answer_records_in_order
from llmcli.tasks.execution.response_buffer import ResponseBuffer, request_error, require_finished
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request
from llmcli.types import ItemFailed, Notice, Progress, Request, Result, Score, TaskEvent

PROMPT = "sentiment"
_METHOD_NOTICES = {
    "logprobs": "the server cannot score whole labels: the probabilities are those of the first tokens of an answer",
    "samples": "the server cannot score labels and reports no log-probabilities: answers were sampled and counted",
}


def label_probabilities(scores: Sequence[Score]) -> dict[str, float]:
    """Return the probability of each candidate, given that the answer is one of them.

    With s_i the log-probability of label i, summed over its tokens: p_i = exp(s_i) / sum_j exp(s_j). The sum is the
    model's own log P(label | prompt), so this is Bayes' rule over the labels. A mean over tokens would favour long
    labels, since their later tokens are nearly certain.
    """
    best = max(score.logprob for score in scores)
    weights = [math.exp(score.logprob - best) for score in scores]
    total = math.fsum(weights)
    return {score.candidate: weight / total for score, weight in zip(scores, weights, strict=True)}


def sentiment(
    backend: Backend, prompts: PromptLibrary, records: Iterable[Record], options: GenerationOptions
) -> Iterator[TaskEvent]:
    """Score each record; yield one Result or ItemFailed for each, in their order, as they come.

    A Result's fields: ``line`` (from 1), ``label`` and ``probabilities`` (by label, not rounded). A blank record has
    None for both, so that output lines match input lines, and is ``blank``. ``scoring`` is how a remote server scored
    (``CandidateScores.method``); one ``Notice`` says if it could only estimate. ``records`` may be endless.
    ``Progress`` counts "records". Raises ``Unsupported`` when the backend cannot score, ``ConfigError`` when the prompt
    file has no labels.
    """
    prompt = prompts.get(PROMPT)
    if len(prompt.labels) < 2:  # noqa: PLR2004 (a choice)
        raise ConfigError(PROMPT, origin=str(prompt.origin), detail="output must be two or more labels")
    info = backend.info()
    if not info.scores:
        raise Unsupported("scoring")

    total = len(records) if options.progress and isinstance(records, Sized) else None
    unwatched = replace(options, progress=False)
    watched = iter([options])  # the first request reports its progress; after that, records are counted

    def make(record: Record) -> Request | None:
        if not record.text.strip():
            return None
        messages = prompt.render({"text": record.text})
        chosen = next(watched, unwatched)
        return make_request(str(record.index), messages, prompt, chosen, candidates=prompt.labels)

    told, done = set(), 0
    for found in answer_records_in_order(backend, records, make):
        if isinstance(found, Progress):
            yield found
            continue
        record, answer = found
        done += 1
        if answer is not None and answer.method in _METHOD_NOTICES and answer.method not in told:
            told.add(answer.method)
            yield Notice(_METHOD_NOTICES[answer.method], record.index)
        yield _record_outcome(record, answer, info.model)
        yield Progress(done, total, "records")


def _record_outcome(record: Record, answer: ResponseBuffer | None, model: str) -> Result | ItemFailed:
    where = {"file": record.file, "line": record.line} if record.file else {"line": record.line}
    name = ", ".join(filter(None, (record.file, f"line {record.line}")))
    if answer is None:
        fields = {**where, "label": None, "probabilities": None}
        return Result(record.index, name, None, fields, model=model, prompt=PROMPT, blank=True)
    finished = require_finished(answer)
    error = request_error(finished)
    if error is not None:
        return ItemFailed(record.index, name, error, is_line=True)
    chances = label_probabilities(answer.scores)
    label = max(chances, key=lambda candidate: chances[candidate])
    return Result(
        record.index,
        name,
        None,
        {**where, "label": label, "probabilities": chances, **({"scoring": answer.method} if answer.method else {})},
        model=model,
        prompt=PROMPT,
        finish_reason=finished.reason,
        usage=finished.usage,
        timings=finished.timings,
    )
