"""The engine: a model and the scheduler threads that run requests on it.

``Engine`` implements the Backend protocol. Requests are rendered and tokenized in the thread that submits them; a
scheduler thread evaluates and samples, one for interactive and one for bulk requests; events reach each job through a
queue of its own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from pathlib import Path

from llmcli.engine.engine_job import EngineJob
from llmcli.engine.engine_setup import set_up_engine
from llmcli.engine.llama import hardware
from llmcli.engine.llama.compute_thread import InlineExecutor
from llmcli.engine.llama.model import Model, SharedModel
from llmcli.engine.llama.threads import ThreadPolicy
from llmcli.engine.schedule.scheduler_thread import SchedulerThread, engine_closed_error
from llmcli.engine.sequence_builder import check_session
from llmcli.engine.sequences.sequence import EventSink, Sequence
from llmcli.engine.text.chat_template import is_long_request
from llmcli.engine.tuning.energy_counters import EnergyMeter
from llmcli.errors import ContextOverflow, InternalError, LlmError
from llmcli.interrupt import run_interruptible
from llmcli.types import BackendInfo, BackendStats, EngineOptions, Finished, FinishReason, Priority, Request

_POLL_S = 0.05
"""Seconds between checks of the interrupt while waiting."""


def _never_cancelled() -> bool:
    return False


class Engine:
    """One model in this process. ``stop`` is asked for the reason why everything has to end, None while there is none.

    The constructor returns at once; an error of loading is raised by the first call that needs the model:
    ``BadModelFile``, ``OutOfMemory``, ``Unsupported``, ``InternalError``, ``UsageError``.
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
        executor: InlineExecutor | None = None,
        on_loading: Callable[[float], None] = lambda _fraction: None,
    ) -> None:
        """``shared_model`` and ``executor`` are shared with other engines of this process; by default it has its own.

        ``on_loading`` is called in the engine's thread with the loaded fraction of the model (0 to 1).
        """
        self._name, self._model_id = name, model_id
        self._owns_model = shared_model is None
        self._shared_model = shared_model or SharedModel(path, options.gpu_layers)
        self._executor = executor or InlineExecutor()
        self._options = options
        self._stop = stop
        self._on_loading = on_loading
        self._condition = threading.Condition()
        self._scheduler_threads: dict[Priority, SchedulerThread] = {}
        self._model_users = 0  # threads that read the model's vocabulary
        self._closing = False
        self._closed = False
        self._loaded = threading.Event()
        self._load_error: Exception | None = None
        most = options.threads or hardware.detect_cores().max_threads
        self._thread_policy = ThreadPolicy(most, fixed=options.threads is not None)  # samples the load from now on
        self._energy_meter = EnergyMeter()
        self._loader = threading.Thread(target=self._load_model, name="engine-load", daemon=True)
        self._loader.start()

    # ---- Backend ------------------------------------------------------------------------------------------------------

    def info(self, is_cancelled: Callable[[], bool] = _never_cancelled) -> BackendInfo:
        """Return what the loaded model can do; ``is_cancelled`` as in ``count``."""
        if not self._wait_until_loaded(is_cancelled):
            raise _cancelled_error()
        return BackendInfo(
            model=self._name,
            model_id=self._model_id,
            context=self._setup.context_limit,
            reasoning=self._setup.template.reasoning_tags is not None,
            rejects_overflow=True,
        )

    def count(
        self, requests: SequenceOf[Request], is_cancelled: Callable[[], bool] = _never_cancelled
    ) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens; they are exact, but lower bounds of those that are far too long.

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
        """Return how the engine worked so far; the peak of memory is this process's."""
        if not self._loaded.is_set() or self._load_error is not None:
            return BackendStats()
        used = self._thread_policy.last_used
        threads = sorted(self._scheduler_threads.values(), key=lambda thread: thread.last_step_at)
        choices = [self._thread_policy.explanation]
        if threads:
            last = threads[-1].scheduler
            choices += [
                self._setup.planner.explain(last.kv_cache.settings, memory_limited=last.kv_cache.memory_limited),
                last.speculative_decoder.explanation,
            ]
        else:
            choices.append(self._setup.planner.explain(self._setup.config.settings))
        return BackendStats(
            decode_threads=used.get(False),
            prompt_threads=used.get(True),
            width=max((thread.scheduler.max_batch_sequences for thread in threads), default=0) or None,
            peak_memory=hardware.peak_memory(),
            joules=self._energy_meter.read_joules(),
            choices=tuple(filter(None, choices)),
        )

    @property
    def load_failed(self) -> bool:
        """The model could not be loaded; a new engine may succeed, since no failure is remembered."""
        return self._load_error is not None

    def close(self) -> None:
        """End the threads and free the model. Jobs that are open get an error.

        After the first work with a model's geometry, the best settings for it here are measured in the background.
        """
        with self._condition:
            self._closing = True
            while self._model_users and self._stop() is None:
                self._condition.wait(_POLL_S)
            left_behind = self._model_users > 0  # a thread in a native call that cannot be ended: ``run_interruptible``
        self._loader.join()
        if self._closed:
            return
        self._closed = True
        for thread in self._scheduler_threads.values():
            thread.close()
        self.measure_if_due()
        if self._owns_model and not left_behind:
            self._shared_model.close()

    def measure_if_due(self) -> None:
        """Measure the best settings in a process of its own, if the model has worked and none are known yet."""
        if not self._options.tune or not self._loaded.is_set() or self._load_error is not None:
            return
        has_worked = any(thread.scheduler.max_batch_sequences for thread in list(self._scheduler_threads.values()))
        if has_worked and self._setup.planner.needs_measurement:
            self._setup.planner.start_measurement()

    # ---- for jobs -----------------------------------------------------------------------------------------------------

    def submit(self, request: Request, sink: EventSink) -> None:
        """Render, tokenize and queue a request whose events go to ``sink``; an error in it becomes the last event.

        A request whose consumer has left is not started: it ends as cancelled. Raises what loading the model raised.
        """
        if not self._wait_until_loaded(lambda: sink.consumer_gone):
            sink.emit(Finished(request.id, FinishReason.CANCELLED))
            return
        try:
            with self._hold_model():
                sequence = self._make_sequence(request, sink)
                self._scheduler_thread(request.priority).submit(sequence)
        except LlmError as error:
            sink.emit(Finished(request.id, FinishReason.ERROR, error=error))
            return
        if sink.consumer_gone:  # ``cancel`` may have been called before the sequence was there
            self.cancel(lambda each: each is sequence)

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """End sequences before the next step; an evaluation that serves hardly any other sequence ends at once."""
        for thread in list(self._scheduler_threads.values()):
            thread.cancel(should_end)

    @property
    def loading_progress(self) -> float | None:
        """The loaded fraction of the model (0 to 1); None once it can be used, or cannot be loaded."""
        return None if self._loaded.is_set() else self._shared_model.loaded_fraction

    def stop_reason(self) -> Exception | None:
        """Return why everything has to end, or None."""
        return self._stop()

    def _wait_until_loaded(self, is_cancelled: Callable[[], bool] = _never_cancelled) -> bool:
        """Wait for the model; False once ``is_cancelled`` returns True. Raises what loading the model raised."""
        while not is_cancelled():
            loaded = self._loaded.wait(_POLL_S)
            if loaded and self._load_error is None:
                return not is_cancelled()
            error = self._stop() or self._load_error  # a stop that ended the loading is the cause
            if error is not None:
                raise error
        return False

    @contextlib.contextmanager
    def _hold_model(self) -> Iterator[None]:
        """Keep the model from being freed while another thread reads its vocabulary."""
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
        token_lists, inside = self._tokenize_prompt(request)
        return self._setup.sequence_builder.build(request, sink, token_lists, inside=inside)

    def _tokenize_prompt(self, request: Request) -> tuple[list[list[int]], bool]:
        """Return what ``ChatTemplate.tokenize_request`` returns; for a long request in a way that a signal can end."""
        return (
            run_interruptible(self._render_and_tokenize, request)
            if is_long_request(request)
            else self._render_and_tokenize(request)
        )

    def _render_and_tokenize(self, request: Request) -> tuple[list[list[int]], bool]:
        with self._hold_model():  # also when the caller does not wait for the end
            return self._setup.template.tokenize_request(request, self._setup.context_limit)

    # ---- the model and its scheduler threads ------------------------------------------------------------------------------

    def _load_model(self) -> None:
        try:
            model = self._shared_model.load(lambda: not self._closing and self._stop() is None, self._on_loading)
            self._executor.run(lambda: self._set_up(model))
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits for the model, never swallowed)
            self._load_error = error
        finally:
            self._loaded.set()

    def _set_up(self, model: Model) -> None:
        self._setup = set_up_engine(model, self._name, self._model_id, self._options, self._thread_policy)

    def _scheduler_thread(self, priority: Priority) -> SchedulerThread:
        """Return the scheduler thread of a priority, created at its first request."""
        with self._condition:
            thread = self._scheduler_threads.get(priority)
            if thread is None:
                thread = SchedulerThread(priority, self._executor, self._setup.make_scheduler)
                self._scheduler_threads[priority] = thread
            return thread

    def wake(self) -> None:
        """Tell the scheduler threads that a consumer caught up."""
        for thread in list(self._scheduler_threads.values()):
            thread.wake()


def _cancelled_error() -> InternalError:
    return InternalError("engine", detail="cancelled")
