"""sentiment: a label and its probabilities for each record, by scoring and without generating."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace

from llmcli.backends.base import Backend
from llmcli.documents.records import Record
from llmcli.errors import ConfigError, Unsupported
from llmcli.tasks.base import Answer, Options, ended, failure, make_request
from llmcli.tasks.records import in_order
from llmcli.templates import Library
from llmcli.types import ItemFailed, Notice, Progress, Request, Result, Score, TaskEvent

PROMPT = "sentiment"
_WAYS = {
    "logprobs": "the server scores no whole labels: the probabilities are those of the first tokens of an answer",
    "samples": "the server scores no labels and tells no log-probabilities: answers were drawn and counted",
}


def probabilities(scores: Sequence[Score]) -> dict[str, float]:
    """Return the probability of each candidate, given that the answer is one of them.

    With s_i the log-probability of label i, summed over its tokens: p_i = exp(s_i) / sum_j exp(s_j). The sum is the
    model's own log P(label | prompt), so this is Bayes' rule over the labels. A mean over tokens would not be: the
    later tokens of a long label are nearly certain and would lift it above the short ones.
    """
    best = max(score.logprob for score in scores)
    weights = [math.exp(score.logprob - best) for score in scores]
    total = math.fsum(weights)
    return {score.candidate: weight / total for score, weight in zip(scores, weights, strict=True)}


def sentiment(backend: Backend, prompts: Library, records: Iterable[Record], options: Options) -> Iterator[TaskEvent]:
    """Score each record; yield one Result or ItemFailed for each, in their order, as they come.

    A Result's fields: ``line`` (from 1), ``label`` and ``probabilities`` (by label, not rounded); a blank record has
    None for both, so that output lines up with input. ``scoring`` says how a server elsewhere scored (``Scores.way``), and a
    ``Notice`` does, once, where it could only estimate. ``records`` may be endless. ``Progress`` counts "records".
    Raises ``Unsupported`` when the backend cannot score, ``ConfigError`` when the prompt file has no labels.
    """
    prompt = prompts.get(PROMPT)
    if len(prompt.labels) < 2:  # noqa: PLR2004 (a choice)
        raise ConfigError(PROMPT, origin=str(prompt.origin), detail="output must be labels, two or more")
    info = backend.info()
    if not info.scores:
        raise Unsupported("scoring")

    total = len(records) if options.progress and isinstance(records, Sized) else None
    unwatched = replace(options, progress=False)
    watched = iter([options])  # the first request tells how far it is; then records are counted

    def make(record: Record) -> Request | None:
        if not record.text.strip():
            return None
        messages = prompt.render({"text": record.text})
        chosen = next(watched, unwatched)
        return make_request(str(record.index), messages, prompt, chosen, candidates=prompt.labels)

    told, done = set(), 0
    for found in in_order(backend, records, make):
        if isinstance(found, Progress):
            yield found
            continue
        record, answer = found
        done += 1
        if answer is not None and answer.way in _WAYS and answer.way not in told:
            told.add(answer.way)
            yield Notice(_WAYS[answer.way], record.index)
        yield _outcome(record, answer, info.model)
        yield Progress(done, total, "records")


def _outcome(record: Record, answer: Answer | None, model: str) -> Result | ItemFailed:
    where = {"file": record.file, "line": record.line} if record.file else {"line": record.line}
    name = ", ".join(filter(None, (record.file, f"line {record.line}")))
    if answer is None:
        fields = {**where, "label": None, "probabilities": None}
        return Result(record.index, name, None, fields, model=model, prompt=PROMPT)
    finished = ended(answer)
    error = failure(finished)
    if error is not None:
        return ItemFailed(record.index, name, error)
    chances = probabilities(answer.scores)
    label = max(chances, key=lambda candidate: chances[candidate])
    return Result(
        record.index,
        name,
        None,
        {**where, "label": label, "probabilities": chances, **({"scoring": answer.way} if answer.way else {})},
        model=model,
        prompt=PROMPT,
        finish_reason=finished.reason,
        usage=finished.usage,
        timings=finished.timings,
    )
