"""An answer in words: shown while it is written, asked for again if it is empty, and marked if it is incomplete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.backends.base import Backend
from llmcli.errors import ContextOverflow
from llmcli.fast_dataclass import replace
from llmcli.tasks.runner.answers import (
    EMPTY_ANSWER_MESSAGE,
    Answer,
    Reading,
    ask_until,
    is_truncated,
    truncation_error,
    unrestored_warnings,
)
from llmcli.tasks.runner.task_requests import GenerationOptions, make_retry
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Delta, FinishReason, ReasoningDelta, Request, Result, TextDelta

if TYPE_CHECKING:
    from llmcli.documents.records.record import ColumnType, Record
    from llmcli.tasks.runner.work_estimate import WorkEstimate

_MAX_CALLS = 2
"""An empty answer is asked for again."""


async def write_text(
    run: TaskRun,
    request: Request,
    options: GenerationOptions,
    *,
    prompt: str,
    fields: Mapping[str, Any] | None = None,
    on_text: Callable[[str], object] | None = None,
) -> Result:
    """Return the result of one request, whose text is reported while it comes; ``on_text`` gets each piece first.

    An empty answer is requested once more if a retry can differ. An answer that ends by the options' stop condition is
    complete. Raises ``EmptyAnswer``, ``ContextOverflow`` before anything is sent, unless the backend refuses the prompt
    itself, and the failure of a request; text that was reported before stays.
    """
    answer = await ask_for_text(run, request, options, on_text=on_text)
    return text_result(run, answer, options, prompt=prompt, fields=fields)


async def ask_for_text(
    run: TaskRun,
    request: Request,
    options: GenerationOptions,
    *,
    shows_text: bool = True,
    on_text: Callable[[str], object] | None = None,
) -> Answer:
    """Return an answer with a visible character, as ``write_text`` does.

    ``shows_text``: not only reasoning is reported.
    """

    async def ask(request: Request) -> Answer:
        shows = shows_text and options.shows_deltas
        reporter = DeltaReporter(run, shows_text=shows, on_text=on_text) if run.shows_deltas else None
        return await run.ask(request, on_delta=reporter, stop_condition=options.stop_condition)

    require_fit(run.backend, request, run.name)
    answer, _ = await ask_for_visible_text(ask, request, options, subject=run.name)
    return answer


async def ask_for_visible_text(
    ask: Callable[[Request], Awaitable[Answer]], request: Request, options: GenerationOptions, *, subject: str
) -> tuple[Answer, Request]:
    """Return an answer with a visible character, and the request to which it is the answer.

    An empty answer that no limit ended is requested once more if a retry can differ. Raises ``EmptyAnswer`` about
    ``subject``, and what ``ask`` raises.
    """

    async def read(request: Request) -> Reading[tuple[Answer, Request]]:
        answer = await ask(request)
        return Reading((answer, request), EMPTY_ANSWER_MESSAGE if answer.is_empty else "")

    def retry(request: Request, last: Reading[tuple[Answer, Request]]) -> Request | None:
        return make_retry(request, options) if last.value[0].finished.reason is FinishReason.STOP else None

    *_, last = await ask_until(read, request, retry, attempts=_MAX_CALLS)
    if last.problem:
        # imported here, since it is rarely needed and every start would import it
        from llmcli.errors.incomplete_results import EmptyAnswer

        raise EmptyAnswer(subject, limit=last.value[0].finished.limit)
    return last.value


class DeltaReporter:
    """Reports the pieces of one answer, from its first visible character on (a ``DeltaSink``).

    ``shows_text`` False: only those of its reasoning. ``on_text`` gets the pieces of the text first.
    """

    def __init__(self, run: TaskRun, *, shows_text: bool, on_text: Callable[[str], object] | None = None) -> None:
        self._run = run
        self._shows_text = shows_text
        self._on_text = on_text
        self._held: list[str] | None = []

    def __call__(self, delta: TextDelta | ReasoningDelta) -> None:
        """Report a piece."""
        run, text = self._run, delta.text
        if isinstance(delta, ReasoningDelta):
            run.report(Delta(text, run.item, reasoning=True))
            return
        if self._held is not None:
            self._held.append(text)
            if not text.strip():
                return
            text, self._held = "".join(self._held), None
        if self._on_text is not None:
            self._on_text(text)
        if self._shows_text:
            run.report(Delta(text, run.item))

    def restart(self) -> bool:
        """Expect the answer from its beginning; return False if a part of its text has been reported."""
        if self._held is None and (self._shows_text or self._on_text is not None):
            return False
        self._held = []
        return True


def text_result(
    run: TaskRun,
    answer: Answer,
    options: GenerationOptions,
    *,
    prompt: str,
    fields: Mapping[str, Any] | None,
) -> Result:
    """Return the result with the text of an answer, marked if a limit cut it or private values are missing."""
    finished, incomplete = answer.finished, None
    cut = is_truncated(finished, options)
    if cut:
        incomplete = truncation_error(finished)
    elif finished.unrestored:
        from llmcli.errors.incomplete_results import ValuesNotRestored

        incomplete = ValuesNotRestored(run.name, finished.unrestored)
    return run.result(
        answer.text,
        fields,
        prompt=prompt,
        finish_reason=finished.reason,
        warnings=(*run.warnings, *unrestored_warnings(finished.unrestored)),
        cut=incomplete is not None,
        incomplete=incomplete,
    )


def require_fit(backend: Backend, request: Request, name: str) -> None:
    """Raise ``ContextOverflow`` if a prompt leaves no room for an answer, unless the backend refuses it itself."""
    info = backend.info()
    if not info.rejects_overflow:
        (tokens,), _ = backend.count([request])
        if tokens >= info.context:
            raise ContextOverflow(name, tokens=tokens, context=info.context)


class TextTask:
    """Answers each record with a text, which is a line, or the value of ``column`` in a table."""

    calls_per_request = _MAX_CALLS

    def __init__(self, backend: Backend, prompt: str, column: str) -> None:
        self.columns: Mapping[str, ColumnType] = {column: str}
        self.backend = backend
        self.prompt_name = prompt
        self._column = column

    def plan_setup(self) -> Sequence[Request]:
        """Return no requests: the first ones are about the first record."""
        return ()

    def estimate(self, record: Record) -> WorkEstimate | None:
        """Return the work for a record; None if its first requests tell it."""
        del record
        return None

    def blank_result(self, record: Record) -> Result:
        """Return the result of a record without text."""
        model = self.backend.info().model
        return Result(record.index, record.name, None, model=model, prompt=self.prompt_name, blank=True)

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the text."""
        return {self._column: result.text}

    def line(self, result: Result) -> str:
        """Return the text; the writer of lines replaces its line breaks."""
        return result.text or ""

    async def write(self, run: TaskRun, record: Record, request: Request, options: GenerationOptions) -> Result:
        """Return the answer to a request about a record. Raises as ``write_text``."""
        result = await write_text(run, request, options, prompt=self.prompt_name, fields=record.position)
        return replace(result, text=(result.text or "").strip())
