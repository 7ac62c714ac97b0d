"""Requests that score the labels of a prompt for a text, and their answers as log-probabilities of labels.

The model's prior of the labels, its answer when the text says nothing, is measured once and kept in the cache.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmcli.backends.base import Backend
from llmcli.documents.records.record import Record, Row
from llmcli.errors import ConfigError, Unsupported
from llmcli.fast_dataclass import frozen, replace
from llmcli.files import private_files
from llmcli.prompts.prompt_file import ROW_VARIABLE, Prompt
from llmcli.tasks.labels.label_scores import (
    correct_prior,
    label_logprobs,
    margin_of,
    mean_prior,
    sharpen,
    to_probabilities,
)
from llmcli.tasks.runner.answers import Answer
from llmcli.tasks.runner.task_requests import GenerationOptions, make_request
from llmcli.tasks.runner.task_run import ask_all
from llmcli.types import HiddenStates, Message, Notice, Request, Result, Role, TaskEvent

if TYPE_CHECKING:
    from llmcli.tasks.labels.linear_probe import LinearProbe
    from llmcli.tasks.runner.task_run import TaskRun

Examples = Sequence[tuple[str, str]]
"""Pairs of a text and its label."""
_COUNTED_SAMPLES = "samples"
_MAX_PRIOR = 50.0
"""Nats. A label that is rarer than this has no usable prior."""


@frozen
class LabelScores:
    """The natural-log probabilities of the labels for one text, given that the answer is one of them.

    ``raw`` are those of the model, ``corrected`` those after its prior is taken out and the prompt's temperature is
    applied; both by label in the user's order, and exp of them sums to 1; ``corrected`` are those of a calibrator if
    there is one, and ``raw`` too if it needs no scores. ``method`` says how a remote server scored
    (``CandidateScores.method``).
    """

    raw: Mapping[str, float]
    corrected: Mapping[str, float]
    method: str = ""

    @property
    def probabilities(self) -> dict[str, float]:
        """Exp of ``corrected``."""
        return to_probabilities(self.corrected)


@frozen
class SecondStage:
    """When and for what a cascade asks about a text again: hidden states after ``state_layers``, and perhaps scores.

    It does if the most likely label leads by less than ``margin``, in probability.
    """

    margin: float
    state_layers: tuple[int, ...]
    needs_scores: bool


class LabelCalibrator(Protocol):
    """Computes calibrated probabilities of labels; see ``tasks.calibration``."""

    @property
    def needs_hidden_states(self) -> bool:
        """Whether ``calibrate`` needs the hidden states of the request that scores the labels."""

    @property
    def needs_scores(self) -> bool:
        """Whether ``calibrate`` needs the scores of the labels; otherwise they are not computed."""

    @property
    def second_stage(self) -> SecondStage | None:
        """The second stage of a cascade; None: it is none."""

    @property
    def state_layers(self) -> tuple[int, ...]:
        """The layers after which ``calibrate`` needs the hidden states; none: the last one."""

    def calibrate(self, raw: Mapping[str, float], states: HiddenStates | None) -> dict[str, float]:
        """Return the probability of each label from their log-probabilities, normalized."""


@frozen
class ScorerOptions:
    """``variables`` are those of the prompt beside the text and the row. ``examples`` stand before every text.

    ``corrects_prior``: the prior of the prompt's content-free texts is taken out. ``cache``: the directory of priors.
    ``calibrator`` takes the place of that correction. So does the linear probe in the file ``probe`` if it was fitted
    to the model and the prompt.
    """

    variables: Mapping[str, object]
    examples: Examples = ()
    corrects_prior: bool = True
    cache: Path | None = None
    calibrator: LabelCalibrator | None = None
    probe: Path | None = None


class LabelScorer:
    """Scores the ``labels`` with one prompt.

    Raises ``Unsupported`` when the backend cannot score, and ``ConfigError`` when there are less than two labels.
    """

    def __init__(
        self,
        backend: Backend,
        prompt: Prompt,
        labels: Sequence[str],
        generation: GenerationOptions,
        options: ScorerOptions,
    ) -> None:
        if len(labels) < 2:  # noqa: PLR2004 (a choice)
            raise ConfigError(prompt.name, origin=str(prompt.origin), detail="output must be two or more labels")
        info = backend.info()
        if not info.scores:
            raise Unsupported("scoring")
        self.prompt = prompt
        self.labels = tuple(labels)
        self.model = info.model
        self.backend = backend
        self.generation = generation
        self._options = options

    def blank_result(self, record: Record, fields: Mapping[str, Any]) -> Result:
        """Return the result of a record without text, with these fields beside its position."""
        whole = {**record.position, **fields}
        return Result(record.index, record.name, None, whole, model=self.model, prompt=self.prompt.name, blank=True)

    @property
    def has_examples(self) -> bool:
        """Whether labelled texts stand before each text."""
        return bool(self._options.examples)

    @property
    def calibrator(self) -> LabelCalibrator | None:
        """The calibrator of the options, or the linear probe if it fits; None without one."""
        return self.probe if self._options.calibrator is None else self._options.calibrator

    @cached_property
    def probe(self) -> LinearProbe | None:
        """The linear probe whose probabilities are used; None if none fits, or where something else takes its place."""
        options = self._options
        if options.calibrator is not None or options.probe is None or not options.corrects_prior:
            return None
        from llmcli.tasks.labels.linear_probe import load_probe

        probe = load_probe(options.probe)
        return probe if probe.fits(self.backend.info().model_id, self._make_request("", "", {}, None)) else None

    @cached_property
    def prior(self) -> Mapping[str, float] | None:
        """The log-probabilities of the labels without content, None without correction.

        Raises as ``measure_prior`` does.

        They are measured when the first text is scored: an input without any needs no model.
        """
        return measure_prior(self.backend, self._prior_requests(), self._options.cache)

    def plan_prior(self) -> list[Request]:
        """Return the requests that would measure the prior, none if it is known; it is not measured afterwards."""
        requests = self._prior_requests()
        self.prior = find_prior(self.backend, requests, self._options.cache)
        return requests if self.prior is None else []

    def _prior_requests(self) -> list[Request]:
        options = self._options
        texts = self.prompt.content_free if options.corrects_prior and self.calibrator is None else ()
        return [self._make_request(f"prior.{number}", text, {}, None) for number, text in enumerate(texts)]

    def make_request(
        self,
        request_id: str,
        text: str,
        fields: Mapping[str, Any],
        *,
        examples: Examples | None = None,
        hidden_states: bool = False,
        second_stage: SecondStage | None = None,
    ) -> Request:
        """Return the request for a text; ``fields`` are the columns of its record.

        ``examples`` replace those of the options. ``hidden_states`` requests them too. ``second_stage``: what that of a
        cascade needs. The first call measures the prior, and raises what that raises.
        """
        _ = self.prior
        request, calibrator = self._make_request(request_id, text, fields, examples), self.calibrator
        if not (hidden_states or (calibrator is not None and calibrator.needs_hidden_states)):
            return request
        if hidden_states or calibrator is None:
            return replace(request, hidden_states=True, state_layers=self.fit_layers)
        stage = second_stage or calibrator
        scored = request.candidates if stage.needs_scores else ()
        return replace(request, candidates=scored, hidden_states=True, state_layers=stage.state_layers)

    @cached_property
    def fit_layers(self) -> tuple[int, ...]:
        """The layers after which a calibration may read hidden states; none: the last one."""
        from llmcli.state_layers import choose_layers

        layers = choose_layers(self.backend.info())
        chosen = () if layers is None else layers.labels
        return tuple(sorted({*chosen, *self.probe.state_layers})) if self.probe is not None else chosen

    def _make_request(
        self, request_id: str, text: str, fields: Mapping[str, Any], examples: Examples | None
    ) -> Request:
        variables: dict[str, object] = {**self._options.variables, "text": text}
        if fields:
            variables[ROW_VARIABLE] = Row(fields)
        chosen = self._options.examples if examples is None else examples
        messages = self.prompt.render(variables)
        if chosen:
            messages = (*messages[:-1], *self._example_messages(chosen), messages[-1])
        return make_request(request_id, messages, self.prompt, self.generation, candidates=self.labels)

    def _example_messages(self, examples: Examples) -> Iterator[Message]:
        for text, label in examples:
            yield self.prompt.render({**self._options.variables, "text": text})[-1]
            yield Message(Role.ASSISTANT, label)

    async def score(
        self,
        run: TaskRun,
        request_id: str,
        text: str,
        fields: Mapping[str, Any],
        *,
        examples: Examples | None = None,
    ) -> LabelScores:
        """Return the scores of a text, which a cascade asks about a second time if its first stage is unsure.

        Raises as ``make_request``, and the failure of a request.
        """
        request = self.make_request(request_id, text, fields, examples=examples)
        found = self.read_scores(await run.ask(request))
        stage = None if self.calibrator is None else self.calibrator.second_stage
        if stage is None or margin_of(found.probabilities) >= stage.margin:
            return found
        again = self.make_request(f"{request_id}.again", text, fields, examples=examples, second_stage=stage)
        return self.read_scores(await run.ask(again))

    def read_scores(self, answer: Answer) -> LabelScores:
        """Return the scores of an answer."""
        return self.correct_scores(label_logprobs(answer.scores) if answer.scores else {}, answer.states, answer.method)

    def correct_scores(self, raw: Mapping[str, float], states: HiddenStates | None, method: str = "") -> LabelScores:
        """Return the scores of a text from the normalized log-probabilities of the model and the hidden states."""
        if self.calibrator is not None:
            found = self.calibrator.calibrate(raw, states)
            logs = {label: math.log(share) if share > 0 else -math.inf for label, share in found.items()}
            return LabelScores(raw or logs, logs, method)
        corrected = sharpen(correct_prior(raw, self.prior), self.prompt.label_temperature)
        return LabelScores(raw, corrected, method)


def measure_prior(backend: Backend, requests: Sequence[Request], directory: Path | None) -> dict[str, float] | None:
    """Return the log-probabilities of the labels without content, by contextual calibration (see ``label_scores``).

    ``requests`` score the labels for content-free texts (Zhao et al. 2021: "N/A", "[MASK]", the empty text), with the
    prompt that records get. The result is kept in ``directory`` (None: not kept) with what it depends on: the model's
    weights, the rendered messages and the labels. None: there are no such texts, or the server only counts sampled
    answers, which are too coarse to divide by. Raises the failure of a request.
    """
    known = find_prior(backend, requests, directory)
    if known is not None or not requests:
        return known
    found: list[Mapping[str, float]] = []
    for group in (requests[:1], requests[1:]):  # a server that only counts samples is asked once
        for answer in ask_all(backend, group):
            if answer.method == _COUNTED_SAMPLES:
                return None
            found.append(label_logprobs(answer.scores))
    prior = mean_prior(found)
    if not all(math.isfinite(value) and value > -_MAX_PRIOR for value in prior.values()):
        return None
    key = prior_key(backend.info().model_id, requests)
    _save_prior(_prior_file(directory, key), key, prior)
    return prior


def find_prior(backend: Backend, requests: Sequence[Request], directory: Path | None) -> dict[str, float] | None:
    """Return the prior that ``measure_prior`` has kept for these requests; None if it is not known."""
    if not requests:
        return None
    key = prior_key(backend.info().model_id, requests)
    return _load_prior(_prior_file(directory, key), key, requests[0].candidates)


def _prior_file(directory: Path | None, key: str) -> Path | None:
    return None if directory is None else directory / f"{zlib.crc32(key.encode()):08x}.json"


def prior_key(model_id: str, requests: Sequence[Request]) -> str:
    """Return everything that a prior depends on, as a text. It is kept with the prior: a hash takes 3 ms to import."""
    said = [[[message.role.value, message.content] for message in request.messages] for request in requests]
    return json.dumps([model_id, said, list(requests[0].candidates)])


def _load_prior(file: Path | None, key: str, labels: Sequence[str]) -> dict[str, float] | None:
    """Return a prior that was kept; None if there is none that can be used."""
    if file is None:
        return None
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):  # the prior is then measured again
        return None
    prior = kept.get("prior") if isinstance(kept, dict) and kept.get("key") == key else None
    if not isinstance(prior, dict) or list(prior) != list(labels):
        return None
    if not all(isinstance(value, float | int) and math.isfinite(value) for value in prior.values()):
        return None
    return prior


def _save_prior(file: Path | None, key: str, prior: Mapping[str, float]) -> None:
    if file is not None:
        with suppress(OSError):  # a cache that cannot be written costs a few requests at the next start
            private_files.make_directory(file.parent)
            private_files.replace_file(file, json.dumps({"key": key, "prior": prior}).encode())


_METHOD_NOTICES = {
    "logprobs": "the server cannot score whole labels: the model's own scores are used, the probabilities of the first "
    "tokens of an answer",
    "samples": "the server cannot score labels and reports no log-probabilities: the model's own answers are used, "
    "sampled and counted",
}
_LABEL_NOTICES = {
    **_METHOD_NOTICES,
    "score": "the server gives no hidden states, or has several models: the model's own scores of whole labels are used",
}


def describe_scoring(methods: Iterable[str]) -> list[str]:
    """Return a sentence for each way of scoring labels whose results are not those of this machine."""
    return [_LABEL_NOTICES[method] for method in dict.fromkeys(methods) if method in _LABEL_NOTICES]


def add_scoring_notices(events: Iterable[TaskEvent], *, labels: bool = False) -> Iterator[TaskEvent]:
    """Add a Notice before the first result of each way of scoring that only estimates, and a warning to each result.

    ``labels``: the results are labels, which a model on this machine gives by more than its scores.
    """
    notices = _LABEL_NOTICES if labels else _METHOD_NOTICES
    told = set()
    for event in events:
        notice = notices.get(event.fields.get("scoring", "")) if isinstance(event, Result) else None
        if notice is None or not isinstance(event, Result):
            yield event
            continue
        if notice not in told:
            told.add(notice)
            yield Notice(notice, event.item)
        yield replace(event, warnings=(*event.warnings, notice))
