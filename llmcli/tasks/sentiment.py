"""sentiment: a label and its probabilities for each record, by scoring and without generating."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record, Row
from llmcli.errors import ConfigError, Unsupported
from llmcli.prompts import PromptLibrary
from llmcli.tasks.execution.record_jobs import run_record_jobs
from llmcli.tasks.execution.record_verb import RecordJobOptions
from llmcli.tasks.execution.request_job import RequestJob
from llmcli.tasks.execution.response_buffer import ResponseBuffer
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request
from llmcli.types import Finished, Notice, Result, Score, TaskEvent

PROMPT = "sentiment"
PROBABILITY_DIGITS = 4
"""Decimals of a probability in a table or a line."""
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


def round_probabilities(probabilities: Mapping[str, float], digits: int = PROBABILITY_DIGITS) -> dict[str, float]:
    """Round probabilities so that they still sum to 1 as printed (largest remainder method)."""
    whole = 10**digits
    scaled = {name: share * whole for name, share in probabilities.items()}
    units = {name: int(share) for name, share in scaled.items()}
    by_remainder = sorted(scaled, key=lambda name: units[name] - scaled[name])
    for name in by_remainder[: whole - sum(units.values())]:
        units[name] += 1
    return {name: count / whole for name, count in units.items()}


class SentimentVerb:
    """The sentiment of a record.

    A Result's fields: ``line`` (from 1), ``label`` and ``probabilities`` (by label, not rounded). A blank record has
    None for both, so that output lines match input lines. ``scoring`` is how a remote server scored
    (``CandidateScores.method``). In a table: ``label``, and ``p_LABEL`` for each label, rounded.

    Raises ``Unsupported`` when the backend cannot score, ``ConfigError`` when the prompt file has no labels.
    """

    single_request = True

    def __init__(self, backend: Backend, prompts: PromptLibrary, options: GenerationOptions) -> None:
        self.prompt = prompts.get(PROMPT)
        if len(self.prompt.labels) < 2:  # noqa: PLR2004 (a choice)
            raise ConfigError(PROMPT, origin=str(self.prompt.origin), detail="output must be two or more labels")
        info = backend.info()
        if not info.scores:
            raise Unsupported("scoring")
        self.columns: Mapping[str, type] = {"label": str, **dict.fromkeys(self._names, float)}
        self._model = info.model
        self._options = options

    @property
    def _names(self) -> list[str]:
        return [f"p_{label}" for label in self.prompt.labels]

    def make_job(self, record: Record) -> RequestJob:
        """Return the job that scores the labels."""
        messages = self.prompt.render({"text": record.text, "row": Row(record.fields)})
        candidates = self.prompt.labels
        request = make_request(str(record.index), messages, self.prompt, self._options, candidates=candidates)
        return RequestJob(record, request, self._make_result)

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        fields = {**record.position, "label": None, "probabilities": None}
        return Result(record.index, record.name, None, fields, model=self._model, prompt=PROMPT, blank=True)

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the label and the rounded probabilities."""
        found = result.fields["probabilities"]
        if found is None:
            return {}
        rounded = round_probabilities(found).values()
        return {"label": result.fields["label"], **dict(zip(self._names, rounded, strict=True))}

    def line(self, result: Result) -> str:
        """Return label and probabilities, separated by tabs: ``positive<TAB>positive=0.9000<TAB>...``; "" if blank."""
        label = result.fields["label"]
        if label is None:
            return ""
        shares = round_probabilities(result.fields["probabilities"])
        return "\t".join([label, *(f"{name}={share:.{PROBABILITY_DIGITS}f}" for name, share in shares.items())])

    def _make_result(self, record: Record, answer: ResponseBuffer, finished: Finished) -> Result:
        chances = label_probabilities(answer.scores)
        label = max(chances, key=lambda candidate: chances[candidate])
        method = {"scoring": answer.method} if answer.method else {}
        return Result(
            record.index,
            record.name,
            None,
            {**record.position, "label": label, "probabilities": chances, **method},
            model=self._model,
            prompt=PROMPT,
            finish_reason=finished.reason,
            usage=finished.usage,
            timings=finished.timings,
        )


def sentiment(
    backend: Backend,
    prompts: PromptLibrary,
    records: Iterable[Record],
    options: GenerationOptions,
    job_options: RecordJobOptions | None = None,
) -> Iterator[TaskEvent]:
    """Score each record; yield one Result or ItemFailed for each, in their order, as they come.

    One ``Notice`` says if a remote server could only estimate. For the rest see ``SentimentVerb`` and
    ``run_record_jobs``.
    """
    verb = SentimentVerb(backend, prompts, options)
    yield from add_scoring_notices(run_record_jobs(backend, records, verb, job_options))


def add_scoring_notices(events: Iterable[TaskEvent]) -> Iterator[TaskEvent]:
    """Add a Notice before the first result of each way of scoring that only estimates."""
    told = set()
    for event in events:
        method = event.fields.get("scoring", "") if isinstance(event, Result) else ""
        if isinstance(event, Result) and method in _METHOD_NOTICES and method not in told:
            told.add(method)
            yield Notice(_METHOD_NOTICES[method], event.item)
        yield event
