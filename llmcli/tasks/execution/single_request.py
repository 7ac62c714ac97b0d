"""A job of one request, as most verbs have: its events become Deltas and one Result."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from llmcli.backends.base import Backend
from llmcli.errors import ContextOverflow, LlmError
from llmcli.frozen_dataclass import replace
from llmcli.tasks.runner.answers import (
    ResponseBuffer,
    UsageTally,
    is_empty,
    is_truncated,
    request_error,
    require_finished,
    truncation_error,
    unrestored_warnings,
)
from llmcli.tasks.runner.step_progress import progress_of_request
from llmcli.tasks.runner.task_requests import GenerationOptions, make_retry
from llmcli.types import (
    Delta,
    Finished,
    FinishReason,
    ItemFailed,
    Phase,
    Progress,
    ReasoningDelta,
    Request,
    RequestProgress,
    Result,
    TaskEvent,
    TextDelta,
)


def run_single_request(
    backend: Backend,
    request: Request,
    options: GenerationOptions,
    *,
    prompt: str,
    item: int = 0,
    name: str = "",
    fields: Mapping[str, Any] | None = None,
) -> Generator[TaskEvent]:
    """Run one request as one item: its Progress and Deltas as they come, then its Result, or ItemFailed.

    A prompt that leaves no room for an answer in the context is refused (``ContextOverflow``), before it is sent unless
    the backend refuses it itself. An empty answer is requested once more if a retry can differ; then the item fails
    (``EmptyAnswer``). Text delivered before a failure or a timeout is kept. An answer that ends by the options' stop
    condition is complete, with the finish reason ``stop``.
    """
    info = backend.info()
    if not info.rejects_overflow:
        (tokens,), _ = backend.count([request])
        if tokens >= info.context:
            yield ItemFailed(item, name, ContextOverflow(name, tokens=tokens, context=info.context))
            return
    tally = UsageTally()
    answer = yield from _stream_response(backend, request, item, tally, options)
    if is_empty(answer) and require_finished(answer).reason is FinishReason.STOP:
        again = make_retry(request, options)
        answer = answer if again is None else (yield from _stream_response(backend, again, item, tally, options))
    finished = require_finished(answer)
    error = request_error(finished) or (_empty_answer(name, finished) if is_empty(answer) else None)
    if error is not None:
        yield ItemFailed(item, name, error)
        return
    cut, unrestored = is_truncated(finished, options), finished.unrestored
    yield Result(
        item,
        name,
        answer.text,
        fields=fields or {},
        model=info.model,
        prompt=prompt,
        finish_reason=finished.reason,
        usage=tally.usage,
        timings=tally.timings,
        warnings=unrestored_warnings(unrestored),
        cut=cut or bool(unrestored),
        incomplete=truncation_error(finished) if cut else _unrestored_values(name, unrestored) if unrestored else None,
    )


def _empty_answer(name: str, finished: Finished) -> LlmError:
    # imported here, since it is rarely needed and every start would import it
    from llmcli.errors.incomplete_results import EmptyAnswer

    return EmptyAnswer(name, limit=finished.limit)


def _unrestored_values(name: str, placeholders: tuple[str, ...]) -> LlmError:
    from llmcli.errors.incomplete_results import ValuesNotRestored

    return ValuesNotRestored(name, placeholders)


def _stream_response(
    backend: Backend, request: Request, item: int, tally: UsageTally, options: GenerationOptions
) -> Generator[Delta | Progress, None, ResponseBuffer]:
    """Yield progress, and the pieces of the answer from the first visible character on; return the answer."""
    answer, held, visible, thinking, ended = ResponseBuffer(), "", False, False, False
    may_end = None if options.stop_condition is None else options.stop_condition()
    with backend.open() as job:
        job.submit(request)
        job.close_input()
        for event in job:
            if ended and not isinstance(event, Finished):  # it came before the request was cancelled
                continue
            answer.add_event(event)
            if isinstance(event, TextDelta):
                thinking = False
                if may_end is not None and may_end(event.text):
                    ended = True
                    job.cancel(request.id)
                held += event.text
                if visible or held.strip():
                    yield Delta(held, item)
                    held, visible = "", True
            elif isinstance(event, ReasoningDelta):
                thinking = True
                yield Delta(event.text, item, reasoning=True)
            elif isinstance(event, RequestProgress):
                progress = progress_of_request(event)
                yield replace(progress, phase=Phase.THINKING) if thinking else progress
    finished = require_finished(answer)
    if ended and finished.reason is FinishReason.CANCELLED:
        answer.finished = replace(finished, reason=FinishReason.STOP)
    tally.add(finished)
    return answer
