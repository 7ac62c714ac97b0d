"""The engine: a model and the scheduler threads that run requests on it.

``Engine`` implements the Backend protocol. The submitting thread renders and tokenizes a request. A scheduler thread
evaluates and samples; interactive and bulk requests have one thread each, and so have those that ask for hidden states,
which take another kind of context, and those that generate nothing, whose results do not depend on other requests.
Events reach each job through its own queue.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from pathlib import Path

from llmcli.config.engine_options import EngineOptions, adapted_model_id
from llmcli.engine.engine_setup import StateSource, set_up_engine
from llmcli.engine.llama import hardware
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.engine.llama.hardware import EnergyMeter
from llmcli.engine.llama.model import Model, SharedModel
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.llama.weights_file import WeightsSource
from llmcli.engine.model_drafter import DraftModel
from llmcli.engine.schedule.scheduler_thread import SchedulerThread, engine_closed_error
from llmcli.engine.schedule.speculative_decoder import CANNOT_TAKE_BACK
from llmcli.engine.sequence_builder import check_session
from llmcli.engine.sequences.sequence import EventSink, Sequence
from llmcli.engine.text.chat_template import is_long_request
from llmcli.errors import ContextOverflow, InternalError, LlmError, Unsupported, UsageError
from llmcli.interrupt import run_interruptible
from llmcli.job_queue import MAX_QUEUED_EVENTS, BaseJob
from llmcli.state_layers import load_layers
from llmcli.types import BackendInfo, BackendStats, Event, Finished, FinishReason, Priority, Request

_POLL_S = 0.05
"""Seconds between checks of the interrupt while waiting."""


def _never_cancelled() -> bool:
    return False


class Engine:
    """One model in this process. ``stop`` returns the reason why all work has to end, None if there is none.

    The constructor returns at once; the first call that needs the model raises an error of loading: ``BadModelFile``,
    ``OutOfMemory``, ``Unsupported``, ``InternalError``, ``UsageError``, ``DerivedWeightsMissing``.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        model_id: str,
        options: EngineOptions,
        stop: Callable[[], Exception | None],
        *,
        shared_model: SharedModel | None = None,
        draft_model: SharedModel | None = None,
        executor: InlineExecutor | None = None,
        keeps_documents: bool = False,
        on_loading: Callable[[float], None] = lambda _fraction: None,
    ) -> None:
        """``path``: the file of the model, also where ``options`` choose a copy of it in another type.

        ``shared_model``, ``draft_model`` and ``executor`` are shared with other engines; by default it has its own.
        ``keeps_documents``: it serves several commands, so it keeps the evaluated documents of a request for the next
        ones. ``on_loading`` is called in the engine's thread with the loaded fraction of the model (0 to 1).
        """
        self._name, self._model_id = name, model_id
        self._owns_model = shared_model is None
        source = WeightsSource.from_options(path, name, model_id, options)
        self._shared_model = shared_model or SharedModel(source, options.gpu_layers, options.adapters)
        self._owns_draft_model = draft_model is None
        self._draft_model = draft_model
        if options.draft is not None and draft_model is None:
            self._draft_model = SharedModel(WeightsSource(options.draft), options.gpu_layers)
        self._executor = executor or InlineExecutor()
        self._keeps_documents = keeps_documents
        self._options = options
        self._stop = stop
        self._on_loading = on_loading
        self._condition = threading.Condition()
        self._scheduler_threads: dict[
            tuple[Priority, StateSource | None, bool], SchedulerThread
        ] = {}  # by kind of requests
        self._model_users = 0  # threads that read the model's vocabulary
        self._closing = False
        self._closed = False
        self._loaded = threading.Event()
        self._load_error: Exception | None = None
        most = options.threads or hardware.detect_cores().max_threads
        self._thread_policy = ThreadPolicy(most, fixed=options.threads is not None)  # starts sampling the load
        self._energy_meter = EnergyMeter()
        self._loader = threading.Thread(target=self._load_model, name="engine-load", daemon=True)
        self._loader.start()

    # ---- Backend -----------------------------------------------------------------------------------------------------

    def info(self, is_cancelled: Callable[[], bool] = _never_cancelled) -> BackendInfo:
        """Return what the loaded model can do; ``is_cancelled`` as in ``count``."""
        if not self._wait_until_loaded(is_cancelled):
            raise _cancelled_error()
        model_id, cache = adapted_model_id(self._model_id, self._options.adapters), self._options.cache
        return BackendInfo(
            model=self._name,
            model_id=model_id,
            context=self._setup.context_limit,
            reasoning=self._setup.template.reasoning_tags is not None,
            rejects_overflow=True,
            token_scores=True,
            is_engine=True,
            parameters=self._setup.model.header.n_params,
            layers=self._setup.model.header.readable_layers,
            measured_layers=None if cache is None else load_layers(cache, model_id),
            weights=self._options.weights,
        )

    def count(
        self, requests: SequenceOf[Request], is_cancelled: Callable[[], bool] = _never_cancelled
    ) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens: exact, except that far too long prompts get a lower bound.

        Once ``is_cancelled`` returns True, raises ``InternalError`` with the detail "cancelled".
        """
        if not self._wait_until_loaded(is_cancelled):
            raise _cancelled_error()
        counts = []
        with self._hold_model():
            for request in requests:
                error = self._stop() or (_cancelled_error() if is_cancelled() else None)
                if error is not None:
                    raise error
                try:
                    counts.append(len(self._tokenize_prompt(request)[0][0]))
                except ContextOverflow as overflow:
                    counts.append(overflow.tokens)
        return counts, True

    def open(self) -> EngineJob:
        """Open a job."""
        return EngineJob(self)

    def stats(self) -> BackendStats:
        """Return how the engine worked so far; the peak memory is that of this process."""
        if not self._loaded.is_set() or self._load_error is not None:
            return BackendStats()
        used = self._thread_policy.last_used
        threads = sorted(self._scheduler_threads.values(), key=lambda thread: thread.last_step_at)
        last = threads[-1] if threads else None
        return BackendStats(
            decode_threads=used.get(False),
            prompt_threads=used.get(True),
            width=max((thread.scheduler.max_batch_sequences for thread in threads), default=0) or None,
            peak_memory=hardware.peak_memory(),
            joules=self._energy_meter.read_joules(),
            choices=tuple(filter(None, self._explain_choices(last))),
            weights=self._options.weights,
            draft_off=last.scheduler.speculative_decoder.draft_model_off_reason if last else "",
        )

    def _explain_choices(self, last: SchedulerThread | None) -> list[str]:
        """Return a sentence for each choice; ``last``: the thread of the last step."""
        if last is None:
            cache = [self._setup.planner.explain(self._setup.config.settings)]
        else:
            scheduler = last.scheduler
            cache = [scheduler.kv_cache.explain_settings(), *scheduler.speculative_decoder.explanations]
        return [self._thread_policy.explanation, *cache, f"weights: {self._options.weights}"]

    @property
    def load_failed(self) -> bool:
        """Whether the model could not be loaded; a new engine may succeed, since failures are not remembered."""
        return self._load_error is not None

    def close(self) -> None:
        """End the threads and free the model. Open jobs get an error.

        After enough work, the best weights and settings for the model are measured in the background.
        """
        with self._condition:
            self._closing = True
            while self._model_users and self._stop() is None:
                self._condition.wait(_POLL_S)
            # a thread in a native call that cannot be ended (see ``run_interruptible``)
            left_behind = self._model_users > 0
        self._loader.join()
        if self._closed:
            return
        self._closed = True
        for thread in self._scheduler_threads.values():
            thread.close()
        if self._loaded.is_set() and self._load_error is None and self._setup.document_prefix_cache is not None:
            self._setup.document_prefix_cache.close()
        self.measure_if_due()
        if self._owns_draft_model and self._draft_model is not None:
            self._draft_model.close()
        if self._owns_model and not left_behind:
            self._shared_model.close()

    def measure_if_due(self) -> None:
        """Measure the model in a separate process, if the work so far shows that it pays and nothing is known yet."""
        if self._loaded.is_set() and self._load_error is None and self._setup.tuning is not None:
            threads = list(self._scheduler_threads.values())
            self._setup.tuning.start_if_due(sum(thread.scheduler.kv_cache.evaluated_tokens for thread in threads))

    # ---- for jobs ----------------------------------------------------------------------------------------------------

    def submit(self, request: Request, sink: EventSink) -> None:
        """Render, tokenize and queue a request whose events go to ``sink``; an error in it becomes the last event.

        A request whose consumer has left ends as cancelled without starting. Raises the error of loading the model.
        """
        if not self._wait_until_loaded(lambda: sink.consumer_gone):
            sink.emit(Finished(request.id, FinishReason.CANCELLED))
            return
        try:
            with self._hold_model():
                sequence = self._make_sequence(request, sink)
                # a consumer that left meanwhile had nothing to cancel; its request must not be evaluated before the
                # next step
                sequence.cancelled = sink.consumer_gone
                self._scheduler_thread_for(sequence).submit(sequence)
        except LlmError as error:
            sink.emit(Finished(request.id, FinishReason.ERROR, error=error))
            return
        if sink.consumer_gone:  # ``cancel`` may have been called before the sequence existed
            self.cancel(lambda each: each is sequence)

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """Cancel sequences before the next step; an evaluation that serves hardly any other sequence ends at once."""
        for thread in list(self._scheduler_threads.values()):
            thread.cancel(should_end)

    @property
    def loading_progress(self) -> float | None:
        """The loaded fraction of the model (0 to 1); None once it is usable, or if it cannot be loaded."""
        return None if self._loaded.is_set() else self._shared_model.loaded_fraction

    def check_interrupt(self) -> None:
        """Raise the reason why all work has to end, if there is one."""
        error = self._stop()
        if error is not None:
            raise error

    def _wait_until_loaded(self, is_cancelled: Callable[[], bool]) -> bool:
        """Wait for the model; False once ``is_cancelled`` returns True. Raises the error of loading the model."""
        while not is_cancelled():
            loaded = self._loaded.wait(_POLL_S)
            if loaded and self._load_error is None:
                return not is_cancelled()
            error = self._stop() or self._load_error  # if a stop ended the loading, it is the cause
            if error is not None:
                raise error
        return False

    @contextlib.contextmanager
    def _hold_model(self) -> Iterator[None]:
        """Prevent the model from being freed while another thread reads its vocabulary."""
        with self._condition:
            if self._closing:
                raise engine_closed_error()
            self._model_users += 1
        try:
            yield
        finally:
            with self._condition:
                self._model_users -= 1
                self._condition.notify_all()

    def _make_sequence(self, request: Request, sink: EventSink) -> Sequence:
        check_session(request.session)
        if request.embeds:
            raise Unsupported("embeddings", detail="models on this machine give hidden states")
        token_lists, inside = self._tokenize_prompt(request)
        return self._setup.sequence_builder.build(request, sink, token_lists, inside=inside)

    def _tokenize_prompt(self, request: Request) -> tuple[list[list[int]], bool]:
        """Return what ``ChatTemplate.tokenize_request`` returns; a signal can interrupt this for a long request."""
        return (
            run_interruptible(self._render_and_tokenize, request)
            if is_long_request(request)
            else self._render_and_tokenize(request)
        )

    def _render_and_tokenize(self, request: Request) -> tuple[list[list[int]], bool]:
        with self._hold_model():  # also if the caller does not wait for the end
            return self._setup.template.tokenize_request(request, self._setup.context_limit)

    # ---- the model and its scheduler threads -------------------------------------------------------------------------

    def _load_model(self) -> None:
        try:
            model = self._shared_model.load(self._may_load, self._on_loading)
            draft = self._load_draft_model(model)
            self._executor.run(lambda: self._set_up(model, draft))
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits for the model, never swallowed)
            self._load_error = error
        finally:
            self._loaded.set()

    def _may_load(self) -> bool:
        return not self._closing and self._stop() is None

    def _load_draft_model(self, model: Model) -> DraftModel | None:
        """Load the draft model, unless ``model`` cannot take back the tokens that it would refuse.

        Raises as ``SharedModel.load``, and ``UsageError`` for the model itself.
        """
        path = self._options.draft
        if path is None or self._draft_model is None:
            return None
        if model.recurrent:
            return DraftModel(path.name, None, CANNOT_TAKE_BACK)
        if path.exists() and path.samefile(model.path):
            raise UsageError(f"{path.name} cannot draft for itself", detail="Choose a smaller model of the same family")
        import numpy  # noqa: F401, ICN001 (it takes 70 ms to import, which the first draft would be late by)

        return DraftModel(path.name, self._draft_model.load(self._may_load))

    def _set_up(self, model: Model, draft: DraftModel | None) -> None:
        self._setup = set_up_engine(
            model,
            self._name,
            self._model_id,
            self._options,
            self._thread_policy,
            draft_model=draft,
            keeps_documents=self._keeps_documents,
        )

    def _scheduler_thread_for(self, sequence: Sequence) -> SchedulerThread:
        """Return the scheduler thread of a kind of requests, created at the first one.

        What is scored in a saved conversation, or about a document, shares the states of requests that generate.
        """
        request = sequence.request
        shares_states = request.session is not None or request.document_chars > 0
        scores = not sequence.tokens_left and not shares_states
        states = None
        if request.hidden_states:
            states = StateSource(request.state_layers, ends_early=request.needs_only_states)
        kind = request.priority, states, scores
        with self._condition:
            thread = self._scheduler_threads.get(kind)
            if thread is None:
                make = functools.partial(self._setup.make_scheduler, states=states, scores=scores)
                thread = SchedulerThread(request.priority, self._executor, make)
                self._scheduler_threads[kind] = thread
            return thread

    def wake(self) -> None:
        """Tell the scheduler threads that a consumer has caught up."""
        for thread in list(self._scheduler_threads.values()):
            thread.wake()


def _cancelled_error() -> InternalError:
    return InternalError("engine", detail="cancelled")


class EngineJob(BaseJob[Event]):
    """A job on an engine, and the sink of its sequences."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, queue.SimpleQueue())
        self._engine = engine

    @property
    def full(self) -> bool:
        """Whether the consumer is behind."""
        return self._items.qsize() > MAX_QUEUED_EVENTS

    def emit(self, event: Event) -> None:
        """Queue an event; called in the engine's thread."""
        self._items.put(event)

    def cancel(self, request_id: str) -> None:
        """Cancel a request."""
        self._engine.cancel(lambda sequence: sequence.sink is self and sequence.request.id == request_id)

    def _start(self, request: Request) -> None:
        self._engine.submit(request, self)

    def _abandon(self) -> None:
        if self._open_ids:
            self._engine.cancel(lambda sequence: sequence.sink is self)

    def _accept_item(self, item: Event) -> Event:
        if self._items.qsize() == MAX_QUEUED_EVENTS and not isinstance(item, Finished):
            self._engine.wake()
        return item
