"""The engine: a model, a scheduler, and the thread in which both live.

``Engine`` implements the Backend protocol. Requests are rendered and tokenized in the thread that submits them; the
engine's thread loads the model, evaluates and samples; events reach each job through a queue of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from pathlib import Path

from llmcli.engine import architecture, machine, native, selftest
from llmcli.engine.beginnings import Beginnings
from llmcli.engine.chat import ChatTemplate, is_long
from llmcli.engine.context import MAX_SEQUENCES, ContextConfig
from llmcli.engine.energy import EnergyMeter
from llmcli.engine.job import EngineJob
from llmcli.engine.model import Model, Weights
from llmcli.engine.output import AnswerStream
from llmcli.engine.planner import Planner
from llmcli.engine.prefixes import PrefixStore
from llmcli.engine.sampling import Sampler, grammar_of
from llmcli.engine.scheduler import Scheduler
from llmcli.engine.sequence import Generation, Scoring, Sequence, Sink, common_prefix
from llmcli.engine.slots import Slots
from llmcli.engine.threads import Threads
from llmcli.engine.tokens import Tokenizer
from llmcli.engine.turns import Turns
from llmcli.errors import BadModelFile, ContextOverflow, InternalError, LlmError, UsageError
from llmcli.interrupt import run_interruptible
from llmcli.types import BackendInfo, EngineOptions, Finished, FinishReason, Message, Request, Role, Work

_POLL = 0.05
"""Seconds between looks at the interrupt while waiting."""
_GATHER = 0.002
"""Seconds for which the engine waits for more requests before it makes a context to fit them."""
_BATCH = 512
_PROBES = ("\ue000", "\U0010fffd")
"""Two messages whose texts differ from the first byte on, in case a tokenizer falls back on bytes."""
_SESSION = re.compile("[0-9a-f]{32}")
_SHA256 = re.compile("[0-9a-f]{64}")


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
        turns: Turns | None = None,
    ) -> None:
        """``weights`` and ``turns`` are shared with other engines of this process; without them it has its own."""
        self._name, self._model_id = name, model_id
        self._own_weights = weights is None
        self._weights = weights or Weights(path, options.gpu_layers)
        self._turns = turns or Turns()
        self._options = options
        self._stop = stop
        self._wake = threading.Condition()
        self._inbox: list[Sequence] = []
        self._cancelled: list[Callable[[Sequence], bool]] = []
        self._users = 0  # threads that read the model's vocabulary
        self._closing = False
        self._closed = False
        self._abort = False
        self._deadline: float | None = None
        self._public: tuple[tuple[tuple[Message, ...], bool], list[int]] | None = None  # messages, and their tokens
        self._loaded = threading.Event()
        self._failure: Exception | None = None
        most = options.threads or machine.cores().usable
        self._threads = Threads(most, fixed=options.threads is not None)  # looks at the load from here on
        self._energy = EnergyMeter()
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)
        self._thread.start()

    # ---- Backend ------------------------------------------------------------------------------------------------------

    def info(self) -> BackendInfo:
        """Return what the loaded model can do."""
        self._ready()
        return BackendInfo(
            model=self._name,
            model_id=self._model_id,
            context=self._context_limit,
            reasoning=self._template.reasoning_tags is not None,
            refuses=True,
        )

    def count(self, requests: SequenceOf[Request]) -> tuple[list[int], bool]:
        """Return the prompt lengths in tokens; they are exact, but lower bounds of those that are far too long."""
        self._ready()
        counts = []
        with self._in_use():
            for request in requests:
                error = self._stop()
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
        used, slots, guesses = self._threads.used, self._scheduler.slots, self._scheduler.guesses
        choices = (self._threads.reason, self._planner.reason(slots.settings, short=slots.short), guesses.reason)
        return Work(
            decode_threads=used.get(False),
            prompt_threads=used.get(True),
            width=self._scheduler.widest or None,
            peak_memory=machine.peak_memory(),
            joules=self._energy.joules(),
            choices=tuple(filter(None, choices)),
        )

    def close(self) -> None:
        """End the thread and free the model. Jobs that are open get an error.

        After the first work with a kind of model, what suits it here is measured in the background.
        """
        with self._wake:
            self._closing = self._abort = True
            self._wake.notify_all()
        while self._thread.is_alive():
            self._thread.join(_POLL)
            if self._users and self._stop() is not None:
                return  # a thread was left behind in a native call (``run_interruptible``)
        if not self._closed:
            self._closed = True
            self.measure_if_due()

    def measure_if_due(self) -> None:
        """Measure in a process of its own what suits the model here, if it has worked and nothing is known yet."""
        if not self._options.tune or not self._loaded.is_set() or self._failure is not None:
            return
        if self._scheduler.widest and self._planner.unmeasured:
            self._planner.measure_later()

    # ---- for jobs -----------------------------------------------------------------------------------------------------

    def submit(self, request: Request, sink: Sink) -> None:
        """Render, tokenize and queue a request whose events ``sink`` takes; what is wrong with it becomes the last."""
        self._ready()
        try:
            with self._in_use():
                sequence = self._sequence(request, sink)
                with self._wake:
                    self._inbox.append(sequence)
                    self._wake.notify_all()
        except LlmError as error:
            sink.emit(Finished(request.id, FinishReason.ERROR, error=error))

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """End sequences, those in the middle of an evaluation too."""
        with self._wake:
            self._cancelled.append(should_end)
            self._abort = True
            self._wake.notify_all()

    def stopped(self) -> Exception | None:
        """Return why everything has to end, or None."""
        return self._stop()

    def _ready(self) -> None:
        while not self._loaded.wait(_POLL):
            error = self._stop()
            if error is not None:
                raise error
        if self._failure is not None:  # a stop has ended the loading, and is the cause then
            raise self._stop() or self._failure

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the model from being freed while another thread reads its vocabulary."""
        with self._wake:
            if self._closing:
                raise _closed()
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
        if request.public_prefix and self._scheduler.remembers:
            sequence.public_length = self._public_length(request, tokens)
        if request.session and self._scheduler.remembers and (self._model.recurrent or self._model.window):
            sequence.turn_length = self._turn_length(request, tokens)
        return sequence

    def _prompt(self, request: Request) -> tuple[list[list[int]], bool]:
        """Return what ``ChatTemplate.of_request`` returns; of a long request in a way that a signal can end."""
        return run_interruptible(self._tokenize, request) if is_long(request) else self._tokenize(request)

    def _tokenize(self, request: Request) -> tuple[list[list[int]], bool]:
        with self._in_use():  # also when the caller does not wait for the end
            return self._template.of_request(request, self._context_limit)

    def _public_length(self, request: Request, tokens: list[int]) -> int:
        """Return how many tokens do not depend on what the last message says."""
        key = (request.messages[:-1], request.reasoning)
        known = self._public
        if known is None or known[0] != key:
            probes = [
                self._template.tokens(
                    (*key[0], dataclasses.replace(request.messages[-1], content=other)), reasoning=request.reasoning
                )[0]
                for other in _PROBES
            ]
            known = self._public = (key, probes[0][: common_prefix(*probes)])
        return common_prefix(known[1], tokens)

    def _turn_length(self, request: Request, tokens: list[int]) -> int:
        """Return with how many of ``tokens`` the next turn's prompt will begin, whatever is answered."""
        nexts = [
            self._template.tokens(
                (*request.messages, Message(Role.ASSISTANT, said), Message(Role.USER, said)),
                reasoning=request.reasoning,
                tools=request.tools,
            )[0]
            for said in _PROBES
        ]
        return min(common_prefix(tokens, each) for each in nexts)

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

    # ---- the thread ---------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            scheduler = self._load()
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits for the model, never swallowed)
            self._failure = error
            self._loaded.set()
            return
        self._scheduler = scheduler
        self._loaded.set()
        try:
            self._serve(scheduler)
        finally:
            with self._wake:
                self._closing = True
                while self._users:
                    self._wake.wait()
            for sequence in self._inbox:
                scheduler.add(sequence)
            scheduler.fail_all(_closed())
            self._free()

    def _load(self) -> Scheduler:
        self._model = self._weights.load(lambda: not self._closing and self._stop() is None)
        try:
            return self._turns.run(lambda: self._prepare(self._model))
        except BaseException:
            self._free()
            raise

    def _free(self) -> None:
        if self._own_weights:
            self._weights.close()

    def _prepare(self, model: Model) -> Scheduler:
        if model.embeds_only:
            raise BadModelFile(str(model.path), detail=architecture.EMBEDS)
        options = self._options
        self._tokenizer = Tokenizer(model)
        self._template = ChatTemplate(model.chat_template(), self._tokenizer)
        if options.ctx is not None and model.context_length and options.ctx > model.context_length:
            raise UsageError(f"--ctx {options.ctx} is larger than the context of {self._name}, {model.context_length}")
        self._context_limit = options.ctx or model.context_length or 4096
        self._planner = Planner(model, options, self._threads.most)
        config = ContextConfig(cells=0, sequences=MAX_SEQUENCES, batch=_BATCH, threads=self._threads)
        config = dataclasses.replace(config, **dataclasses.asdict(self._planner.allowed[0]))
        if options.deterministic:
            selftest.check(model, config)
        planner, exact = self._planner, options.deterministic
        slots = Slots(model, config, self._context_limit, self._should_abort, planner=planner, exact=exact)
        return Scheduler(slots, self._beginnings(slots))

    def _beginnings(self, slots: Slots) -> Beginnings | None:
        """Return what was evaluated by earlier commands: only of weights that are known by their hash."""
        options = self._options
        if options.cache is None or not options.prefix_bytes or not _SHA256.fullmatch(self._model_id):
            return None
        directory = options.cache / "prefixes"
        fixed = (self._model_id, self._template.source, native.version(), native.system_info(), self._model.gpu_layers)
        return Beginnings(slots, lambda form: PrefixStore(directory, options.prefix_bytes, repr((*fixed, form))))

    def _should_abort(self) -> bool:
        return self._abort or (self._deadline is not None and time.monotonic() >= self._deadline)

    def _serve(self, scheduler: Scheduler) -> None:
        while True:
            with self._wake:
                while not (self._inbox or self._cancelled or self._closing or scheduler.busy):
                    self._wake.wait()
                if not scheduler.busy:
                    self._gather()
                if self._closing:
                    return
                inbox, self._inbox = self._inbox, []
                cancelled, self._cancelled = self._cancelled, []
                self._abort = False
            for sequence in inbox:
                scheduler.add(sequence)
            for should_end in cancelled:
                scheduler.cancel(should_end)
            self._deadline = scheduler.next_deadline()
            try:
                moved = self._turns.run(scheduler.step)
                if not scheduler.busy:
                    self._turns.run(scheduler.rest)
            except Exception as error:  # noqa: BLE001 (every request that it concerns ends with it)
                scheduler.fail_all(error)
                continue
            if not moved:
                with self._wake:
                    self._wake.wait(_POLL)

    def _gather(self) -> None:
        """Wait until no more requests arrive, so that the context is made for all of them. The lock is held.

        Nobody who waits for an answer that fits the context that there is waits for others too.
        """
        if self._scheduler.slots.made and all(sequence.interactive for sequence in self._inbox):
            return
        known = -1
        while len(self._inbox) != known:
            known = len(self._inbox)
            self._wake.wait(_GATHER)

    def wake(self) -> None:
        """Tell the thread that a consumer caught up."""
        with self._wake:
            self._wake.notify_all()


def _closed() -> InternalError:
    return InternalError("engine", detail="closed")
