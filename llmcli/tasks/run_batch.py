"""run-batch: each record is a request in OpenAI's batch format, and its result the body of the response."""

from __future__ import annotations

import array
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.records.record import ColumnType, Record
from llmcli.errors import LlmError, Unsupported
from llmcli.errors.network_errors import BadBatchRequest
from llmcli.fast_dataclass import replace
from llmcli.openai_api import batches, embeddings, requests, responses, responses_request
from llmcli.openai_api.event_builder import build_whole
from llmcli.openai_api.fields import FieldError, parse_body
from llmcli.openai_api.requests import ParsedRequest
from llmcli.openai_api.response_builder import ResponseBuilder
from llmcli.state_layers import vector_layers
from llmcli.tasks.embed import read_vector
from llmcli.tasks.runner.answer_store import KeySet
from llmcli.tasks.runner.answers import truncation_error
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.text_answers import require_fit
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    Priority,
    ReasoningDelta,
    Request,
    Result,
    TextDelta,
    Usage,
)

BODY_FIELD = "body"
"""The field of a result with the body of the response."""
_MAX_TEXTS, _MAX_CHARACTERS = 64, 8000
"""Texts that a server gets in one request, and the characters of several: it says nothing until all are embedded, and a
slow one would seem to have stalled. So several servers share a long list, too."""
_BAD_REQUEST, _NOT_FOUND, _NOT_IMPLEMENTED = 400, 404, 501
_PARSERS = {
    batches.CHAT_URL: requests.parse_chat,
    batches.COMPLETIONS_URL: requests.parse_completion,
    batches.RESPONSES_URL: responses_request.parse_response_request,
}
_FORMATS: Mapping[str, responses.ResponseFormat] = {
    batches.CHAT_URL: responses.CHAT_FORMAT,
    batches.COMPLETIONS_URL: responses.COMPLETION_FORMAT,
}


def check_requests(records: Iterable[Record]) -> Iterator[Record]:
    """Yield the records but for blank lines; one that is no request, or has an earlier one's id, is malformed."""
    with closing(KeySet()) as ids:
        for record in records:
            if record.error is None and not record.raw.strip():
                continue
            record.error = _find_error(record, ids)
            yield record


def _find_error(record: Record, ids: KeySet) -> LlmError | None:
    if record.error is not None:
        detail = record.error.detail or "the line is not UTF-8 text"
        return BadBatchRequest(detail=detail, line=record.line, code="invalid_json_line")
    try:
        request = batches.parse_batch_request(record.fields)
        if not ids.add(request.custom_id):
            raise batches.doubled_id_error()
    except BadBatchRequest as error:
        error.line = record.line
        return error.with_traceback(None)  # whose frames refer to the record: such cycles add up
    return None


class BatchTask(RecordProcessor):
    """Answers requests with one model, whatever their paths.

    Requests may name it by its own name, one of ``served_names``, or a name that ``accepts`` takes. Answers to those that
    name no model show the first of ``served_names``, if there are some.
    """

    columns: Mapping[str, ColumnType] = {}

    def __init__(
        self,
        backend: Backend,
        options: GenerationOptions,
        *,
        served_names: Sequence[str],
        accepts: Callable[[str], bool],
    ) -> None:
        self._backend = backend
        self._options = options
        self._served_names = served_names
        self._accepts = accepts

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the body of a response. Raises ``BadBatchRequest``, and the failure of a request."""
        request = batches.parse_batch_request(record.fields)
        own = self._backend.info().model
        shown = request.model or next(iter(self._served_names), own)
        if shown != own and shown not in self._served_names and not self._accepts(shown):
            words = f"there is no model {shown!r} here, only {next(iter(self._served_names), own)}"
            raise BadBatchRequest(
                detail=words, line=record.line, status=_NOT_FOUND, code="model_not_found", param="model"
            )
        try:
            if request.url == batches.EMBEDDINGS_URL:
                return await self._embed(run, record, request.body, shown)
            return await self._generate(run, record, request, shown)
        except FieldError as problem:
            raise BadBatchRequest(
                detail=problem.message, line=record.line, status=_BAD_REQUEST, param=problem.param
            ) from problem
        except Unsupported as problem:  # another request may be one that the model or server can answer
            words = ": ".join(text for text in (f"cannot use {problem.subject} here", problem.detail) if text)
            raise BadBatchRequest(detail=words, line=record.line, status=_NOT_IMPLEMENTED) from problem

    # ---- text -----------------------------------------------------------------------------------------------------

    async def _generate(self, run: TaskRun, record: Record, request: batches.BatchRequest, model: str) -> Result:
        parsed = parse_body(_PARSERS[request.url], request.body)
        if parsed.stream:
            raise FieldError("stream", "stream is not supported in a batch")
        for base in parsed.base_requests:
            require_fit(run.backend, base, record.name)
        choices = await run.gather(self._collect_events(run, record, each) for each in parsed.expand_choices())
        events = [*itertools.chain.from_iterable(choices)]
        if request.url == batches.RESPONSES_URL:
            builder = ResponseBuilder(parsed, model)
            body = await build_whole(builder, events[0], _iterate(events[1:]))
        else:
            body = await responses.build_response(_FORMATS[request.url], parsed, model, _iterate(events))
        cut = _find_cut(parsed, events)
        incomplete = None if cut is None else truncation_error(cut)
        return run.result(None, {BODY_FIELD: body}, cut=cut is not None, incomplete=incomplete)

    async def _collect_events(self, run: TaskRun, record: Record, request: Request) -> Sequence[Event]:
        """Return the events of one answer, under the id of ``request``, which is unlike others of its record only.

        Raises ``Unsupported`` for an answer without the log-probabilities that were asked for.
        """
        sent = replace(
            request,
            id=f"{record.index}.{request.id}",
            priority=self._options.priority or Priority.BULK,
            deadline=self._options.deadline,
            progress=self._options.progress,
        )
        answer = await run.ask(sent)
        if answer.text and request.logprobs is not None and not answer.tokens:
            raise Unsupported("logprobs", detail="the server reports none")
        if answer.text and request.logprobs and not any(token.top for token in answer.tokens):
            raise Unsupported("top_logprobs", detail="the server reports none")
        return [
            *([ReasoningDelta(request.id, answer.reasoning)] if answer.reasoning else []),
            *(replace(token, id=request.id) for token in answer.tokens),
            *([TextDelta(request.id, answer.text)] if answer.text else []),
            replace(answer.finished, id=request.id),
        ]

    # ---- vectors --------------------------------------------------------------------------------------------------

    async def _embed(self, run: TaskRun, record: Record, body: Mapping[str, Any], model: str) -> Result:
        parsed = parse_body(embeddings.parse_embedding_request, body)
        texts = [text for text in parsed.inputs if isinstance(text, str)]
        if len(texts) < len(parsed.inputs):
            raise FieldError("input", "input of tokens is not supported in a batch: send texts")
        if self._backend.info().is_engine:
            works = (
                self._read_states(run, f"{record.index}.{number}", text, parsed) for number, text in enumerate(texts)
            )
        else:
            works = (
                self._ask_server(run, f"{record.index}.{number}", group, parsed)
                for number, group in enumerate(_group_texts(texts))
            )
        found = await run.gather(works)
        vectors = [vector for part, _ in found for vector in part]
        usage = sum((finished.usage for _, finished in found), Usage())
        tokens = usage.prompt_tokens if usage.is_known else None
        return run.result(None, {BODY_FIELD: embeddings.build_embedding_response(parsed, model, vectors, tokens)})

    async def _read_states(
        self, run: TaskRun, request_id: str, text: str, parsed: embeddings.EmbeddingRequest
    ) -> tuple[Sequence[array.array[float]], Finished]:
        """Return the vector of a text, as ``llm embed`` reads it from the hidden states of a model on this machine."""
        layers = vector_layers(self._backend.info())
        request = self._embedding_request(request_id, prompt=text, hidden_states=True, state_layers=layers)
        answer = await run.ask(request)
        if answer.states is None:
            raise Unsupported("hidden states", detail="the model reports none")
        states = answer.states.last if parsed.pooling == "last" else answer.states.mean
        return [array.array("f", read_vector(states, normalizes=True))], answer.finished

    async def _ask_server(
        self, run: TaskRun, request_id: str, texts: tuple[str, ...], parsed: embeddings.EmbeddingRequest
    ) -> tuple[Sequence[array.array[float]], Finished]:
        """Return the vectors that a server computes of some texts."""
        if parsed.pooling is not None:
            raise Unsupported("pooling", detail="a server pools in its own way")
        answer = await run.ask(self._embedding_request(request_id, embeds=texts, dimensions=parsed.dimensions))
        if not answer.vectors:
            raise Unsupported("embeddings", detail="the server reports none")
        return answer.vectors, answer.finished

    def _embedding_request(self, request_id: str, **fields: Any) -> Request:
        options = self._options
        return Request(request_id, (), priority=options.priority or Priority.BULK, deadline=options.deadline, **fields)


def _find_cut(parsed: ParsedRequest, events: Iterable[Event]) -> Finished | None:
    """Return the end of an answer that was cut by a limit other than that of the request, None if there is none."""
    is_limited = parsed.base_request.max_tokens is not None
    ends = (event for event in events if isinstance(event, Finished) and event.reason is FinishReason.LENGTH)
    return next((end for end in ends if not (is_limited and end.limit in {None, "max_tokens"})), None)


def _group_texts(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield the texts in groups that a server embeds in one request; a long text is a group of its own."""
    group: list[str] = []
    for text in texts:
        if group and (len(group) == _MAX_TEXTS or sum(map(len, group)) + len(text) > _MAX_CHARACTERS):
            yield tuple(group)
            group = []
        group.append(text)
    yield tuple(group)


async def _iterate(events: Iterable[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event
