"""The engine: a model and the lanes that run requests on it.

``Engine`` implements the Backend protocol. Requests are rendered and tokenized in the thread that submits them; a lane's
thread evaluates and samples, one for interactive and one for bulk requests; events reach each job through a queue of its
own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from pathlib import Path

from llmcli.engine import architecture, machine, native, selftest
from llmcli.engine.beginnings import Beginnings
from llmcli.engine.chat import ChatTemplate, is_long
from llmcli.engine.compute_thread import InlineExecutor
from llmcli.engine.context import MAX_SEQUENCES, ContextConfig
from llmcli.engine.energy import EnergyMeter
from llmcli.engine.job import EngineJob
from llmcli.engine.lane import Lane, engine_closed
from llmcli.engine.model import Model, Weights
from llmcli.engine.output import AnswerStream
from llmcli.engine.planner import Planner
from llmcli.engine.prefix_hints import PrefixHints
from llmcli.engine.prefixes import PrefixStore
from llmcli.engine.sampling import Sampler, grammar_of
from llmcli.engine.scheduler import Scheduler
from llmcli.engine.sequence import Generation, Scoring, Sequence, Sink
from llmcli.engine.slots import Slots
from llmcli.engine.threads import Threads
from llmcli.engine.tokens import Tokenizer
from llmcli.errors import BadModelFile, ContextOverflow, InternalError, LlmError, UsageError
from llmcli.interrupt import run_interruptible
from llmcli.types import BackendInfo, EngineOptions, Finished, FinishReason, Priority, Request, Work

_POLL = 0.05
"""Seconds between looks at the interrupt while waiting."""
_BATCH = 512
_SESSION = re.compile("[0-9a-f]{32}")
_SHA256 = re.compile("[0-9a-f]{64}")


def _never() -> bool:
    return False


class Engine:
    """One model in this process. ``stop`` is asked for the reason why everything has to end, None while there is none.

    The constructor returns at once; whatever goes wrong while loading is raised by the first call that needs the
    model: ``BadModelFile``, ``OutOfMemory``, ``Unsupported``, ``InternalError``, ``UsageError``.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        model_id: str,
        options: EngineOptions,
        stop: Callable[[], Exception | None],
        *,
        weights: Weights | None = None,
        executor: InlineExecutor | None = None,
        on_loading: Callable[[float], None] = lambda _share: None,
    ) -> None:
        """``weights`` and ``executor`` are shared with other engines of this process; without them it has its own.

        ``on_loading`` is called in the engine's thread with the share of the model that is loaded (0 to 1).
        """
        self._name, self._model_id = name, model_id
        self._own_weights = weights is None
        self._weights = weights or Weights(path, options.gpu_layers)
        self._executor = executor or InlineExecutor()
        self._options = options
        self._stop = stop
        self._on_loading = on_loading
        self._wake = threading.Condition()
        self._lanes: dict[Priority, Lane] = {}
        self._users = 0  # threads that read the model's vocabulary
        self._closing = False
        self._closed = False
        self._loaded = threading.Event()
        self._failure: Exception | None = None
        most = options.threads or machine.cores().usable
        self._threads = Threads(most, fixed=options.threads is not None)  # looks at the load from here on
        self._energy = EnergyMeter()
        self._loader = threading.Thread(target=self._load, name="engine-load", daemon=True)
        self._loader.start()

    # ---- Backend ------------------------------------------------------------------------------------------------------

    def info(self, gone: Callable[[], bool] = _never) -> BackendInfo:
        """Return what the loaded model can do; ``gone`` as in ``count``."""
        if not self._ready(gone):
            raise _cancelled()
        return BackendInfo(
            model=self._name,
            model_id=self._model_id,
            context=self._context_limit,
            reasoning=self._template.reasoning_tags is not None,
            refuses=True,
        )

    def count(self, requests: SequenceOf[Request], gone: Callable[[], bool] = _never) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens; they are exact, but lower bounds of those that are far too long.

        ``gone``: nobody waits for them any more. Raises ``InternalError`` then, with the detail "cancelled".
        """
        if not self._ready(gone):
            raise _cancelled()
        counts = []
        with self._in_use():
            for request in requests:
                error = self._stop() or (_cancelled() if gone() else None)
                if error is not None:
                    raise error
                try:
                    counts.append(len(self._prompt(request)[0][0]))
                except ContextOverflow as overflow:
                    counts.append(overflow.tokens)
        return counts, True

    def open(self) -> EngineJob:
        """Open a job."""
        return EngineJob(self)

    def work(self) -> Work:
        """Return how the engine worked so far; the peak of memory is this process's."""
        if not self._loaded.is_set() or self._failure is not None:
            return Work()
        used = self._threads.used
        lanes = sorted(self._lanes.values(), key=lambda lane: lane.last_step)
        choices = [self._threads.reason]
        if lanes:
            last = lanes[-1].scheduler
            choices += [self._planner.reason(last.slots.settings, short=last.slots.short), last.guesses.reason]
        else:
            choices.append(self._planner.reason(self._config.settings))
        return Work(
            decode_threads=used.get(False),
            prompt_threads=used.get(True),
            width=max((lane.scheduler.widest for lane in lanes), default=0) or None,
            peak_memory=machine.peak_memory(),
            joules=self._energy.joules(),
            choices=tuple(filter(None, choices)),
        )

    @property
    def failed(self) -> bool:
        """The model could not be loaded; another engine may succeed, since failures are not kept elsewhere."""
        return self._failure is not None

    def close(self) -> None:
        """End the threads and free the model. Jobs that are open get an error.

        After the first work with a kind of model, what suits it here is measured in the background.
        """
        with self._wake:
            self._closing = True
            while self._users and self._stop() is None:
                self._wake.wait(_POLL)
            left_behind = self._users > 0  # a thread in a native call that cannot be ended (``run_interruptible``)
        self._loader.join()
        if self._closed:
            return
        self._closed = True
        for lane in self._lanes.values():
            lane.close()
        self.measure_if_due()
        if self._own_weights and not left_behind:
            self._weights.close()

    def measure_if_due(self) -> None:
        """Measure in a process of its own what suits the model here, if it has worked and nothing is known yet."""
        if not self._options.tune or not self._loaded.is_set() or self._failure is not None:
            return
        if any(lane.scheduler.widest for lane in list(self._lanes.values())) and self._planner.unmeasured:
            self._planner.measure_later()

    # ---- for jobs -----------------------------------------------------------------------------------------------------

    def submit(self, request: Request, sink: Sink) -> None:
        """Render, tokenize and queue a request whose events ``sink`` takes; what is wrong with it becomes the last.

        A request whose ``sink`` is gone is not begun: it ends as cancelled. Raises what the model's loading raised.
        """
        if not self._ready(lambda: sink.gone):
            sink.emit(Finished(request.id, FinishReason.CANCELLED))
            return
        try:
            with self._in_use():
                sequence = self._sequence(request, sink)
                self._lane(request.priority).submit(sequence)
        except LlmError as error:
            sink.emit(Finished(request.id, FinishReason.ERROR, error=error))
            return
        if sink.gone:  # whoever left may have called ``cancel`` before the sequence was there
            self.cancel(lambda each: each is sequence)

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """End sequences before the next step; an evaluation of hardly anything else ends at once."""
        for lane in list(self._lanes.values()):
            lane.cancel(should_end)

    @property
    def loading(self) -> float | None:
        """The share of the model that is loaded (0 to 1); None once it can be used, or cannot be loaded."""
        return None if self._loaded.is_set() else self._weights.share

    def stopped(self) -> Exception | None:
        """Return why everything has to end, or None."""
        return self._stop()

    def _ready(self, gone: Callable[[], bool] = _never) -> bool:
        """Wait for the model; False when ``gone`` says that nobody waits any more. Raises what the loading raised."""
        while not gone():
            loaded = self._loaded.wait(_POLL)
            if loaded and self._failure is None:
                return not gone()
            error = self._stop() or self._failure  # a stop that ended the loading is the cause
            if error is not None:
                raise error
        return False

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the model from being freed while another thread reads its vocabulary."""
        with self._wake:
            if self._closing:
                raise engine_closed()
            self._users += 1
        try:
            yield
        finally:
            with self._wake:
                self._users -= 1
                self._wake.notify_all()

    def _sequence(self, request: Request, sink: Sink) -> Sequence:
        if request.session is not None and not _SESSION.fullmatch(request.session):
            raise UsageError("a session's id is 32 hexadecimal digits")
        (tokens, *candidates), inside = self._prompt(request)
        sequence = self._of_kind(request, sink, tokens, candidates, inside=inside)
        try:
            if request.public_prefix and self._remembers:
                sequence.public_length = self._hints.public_length(request, tokens)
            if request.session and self._remembers and (self._model.recurrent or self._model.window):
                sequence.turn_length = self._hints.turn_length(request, tokens)
        except BaseException:
            sequence.release()
            raise
        return sequence

    def _prompt(self, request: Request) -> tuple[list[list[int]], bool]:
        """Return what ``ChatTemplate.of_request`` returns; of a long request in a way that a signal can end."""
        return run_interruptible(self._tokenize, request) if is_long(request) else self._tokenize(request)

    def _tokenize(self, request: Request) -> tuple[list[list[int]], bool]:
        with self._in_use():  # also when the caller does not wait for the end
            return self._template.of_request(request, self._context_limit)

    def _of_kind(
        self, request: Request, sink: Sink, tokens: list[int], candidates: list[list[int]], *, inside: bool
    ) -> Sequence:
        template, tokenizer = self._template, self._tokenizer
        if request.candidates:
            if not all(request.candidates):
                raise UsageError("an empty candidate cannot be scored")
            longest = max(map(len, candidates))
            if longest > self._context_limit:
                raise ContextOverflow(tokens=longest, context=self._context_limit)
            return Scoring(request, tokens, candidates, sink)
        if not tokens:
            raise UsageError("the prompt is empty")
        if len(tokens) >= self._context_limit:
            raise ContextOverflow(tokens=len(tokens), context=self._context_limit)
        raw = request.prompt is not None  # then the answer is what follows, with its white space and its tags
        return Generation(
            request,
            tokens,
            sink,
            sampler=Sampler(self._model, request.sampling, grammar_of(request)),
            stream=AnswerStream(
                request.stop,
                None if raw else template.reasoning_tags,
                inside=inside,
                lstrip=tokenizer.adds_space and not raw,
            ),
            tokenizer=tokenizer,
            context_limit=self._context_limit,
        )

    # ---- the model and its lanes --------------------------------------------------------------------------------------

    def _load(self) -> None:
        try:
            self._model = self._weights.load(lambda: not self._closing and self._stop() is None, self._on_loading)
            self._executor.run(lambda: self._prepare(self._model))
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits for the model, never swallowed)
            self._failure = error
        finally:
            self._loaded.set()

    def _lane(self, priority: Priority) -> Lane:
        """Return the lane of a priority, made at its first request."""
        with self._wake:
            lane = self._lanes.get(priority)
            if lane is None:
                lane = self._lanes[priority] = Lane(priority, self._executor, self._make_scheduler)
            return lane

    def _prepare(self, model: Model) -> None:
        if model.embeds_only:
            raise BadModelFile(str(model.path), detail=architecture.EMBEDS)
        options = self._options
        self._tokenizer = Tokenizer(model)
        self._template = ChatTemplate(model.chat_template(), self._tokenizer)
        self._hints = PrefixHints(self._template)
        if options.ctx is not None and model.context_length and options.ctx > model.context_length:
            raise UsageError(f"--ctx {options.ctx} is larger than the context of {self._name}, {model.context_length}")
        self._planner = Planner(model, options, self._threads.most)
        self._context_limit = options.ctx or model.budget.longest_context(self._planner.smallest_type)
        config = ContextConfig(cells=0, sequences=MAX_SEQUENCES, batch=_BATCH, threads=self._threads)
        config = dataclasses.replace(config, **dataclasses.asdict(self._planner.allowed[0]))
        if options.deterministic:
            selftest.check(model, config)
        self._config = config

    def _make_scheduler(self, should_abort: Callable[[], bool]) -> Scheduler:
        exact = self._options.deterministic
        slots = Slots(self._model, self._config, self._context_limit, should_abort, planner=self._planner, exact=exact)
        return Scheduler(slots, self._beginnings(slots))

    @property
    def _remembers(self) -> bool:
        """Beginnings of prompts are kept on disk: only of weights that are known by their hash."""
        options = self._options
        return options.cache is not None and options.prefix_bytes > 0 and bool(_SHA256.fullmatch(self._model_id))

    def _beginnings(self, slots: Slots) -> Beginnings | None:
        """Return what was evaluated by earlier commands."""
        options = self._options
        if options.cache is None or not self._remembers:
            return None
        directory = options.cache / "prefixes"
        fixed = (self._model_id, self._template.source, native.version(), native.system_info(), self._model.gpu_layers)
        return Beginnings(slots, lambda form: PrefixStore(directory, options.prefix_bytes, repr((*fixed, form))))

    def wake(self) -> None:
        """Tell the lanes that a consumer caught up."""
        for lane in list(self._lanes.values()):
            lane.wake()


def _cancelled() -> InternalError:
    return InternalError("engine", detail="cancelled")
