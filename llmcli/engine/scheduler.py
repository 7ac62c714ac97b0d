"""Continuous batching: every step packs one token of each running sequence and pieces of prompts into one batch.

``Scheduler`` decides what runs; ``slots.Slots`` holds the context and knows who sits where. A step never leaves a
sequence half-updated: what was not evaluated is simply still pending.
"""

from __future__ import annotations

import bisect
import collections
import math
import time
from collections.abc import Callable

from llmcli.engine.beginnings import Beginnings
from llmcli.engine.evaluation import Evaluation
from llmcli.engine.guesses import Guesses
from llmcli.engine.queue_reports import QueueReports
from llmcli.engine.sequence import Branch, Scoring, Sequence, common_prefix
from llmcli.engine.slots import Slots
from llmcli.engine.token_budget import TokenBudget
from llmcli.errors import ContextOverflow, OutOfMemory
from llmcli.types import FinishReason

WORTH_WAITING = 32
"""A sequence waits for another to evaluate their common beginning when that saves at least this many tokens."""
_ABORTABLE_TOKENS = 16
_ABORTABLE_SECONDS = 0.05


class Scheduler:
    """Runs sequences on one context. Used by one thread; ``should_abort`` is read inside an evaluation."""

    def __init__(self, slots: Slots, beginnings: Beginnings | None = None) -> None:
        self._slots = slots
        self._beginnings = beginnings
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._order: dict[int, int] = {}
        self._submitted = 0
        self._last_step = 0.0
        self._budget = TokenBudget()
        self._queue_reports = QueueReports()
        self.widest = 0
        """Most sequences of one batch so far."""
        self.guesses = Guesses(slots)
        self._crowded = False  # the cache was full: nobody joins before somebody leaves
        self.evaluation: Evaluation | None = None
        """The evaluation that runs now."""

    @property
    def slots(self) -> Slots:
        """The context and who sits in it."""
        return self._slots

    @property
    def busy(self) -> bool:
        """There is something to run."""
        return bool(self._waiting or self._running)

    @property
    def can_move(self) -> bool:
        """There is something to run whose consumer is not behind."""
        return any(not sequence.sink.full for sequence in (*self._running, *self._waiting))

    @property
    def can_roll_back(self) -> bool:
        """An aborted evaluation costs no more than itself."""
        return self._slots.can_trim

    def add(self, sequence: Sequence) -> None:
        """Take a sequence; it runs when there is room, interactive ones first."""
        self._submitted += 1
        self._queue_reports.expect(sequence)
        self._enqueue(sequence, self._submitted)

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """Mark what has to end; it does so before the next evaluation."""
        for sequence in (*self._waiting, *self._running):
            if should_end(sequence):
                sequence.cancelled = True

    def fail_all(self, error: Exception) -> None:
        """End everything with ``error`` and forget the context."""
        for sequence in (*self._waiting, *self._running):
            sequence.finish(FinishReason.ERROR, error)
        self._waiting.clear()
        self._running.clear()
        self._order.clear()
        self._slots.close()

    def step(self, longest_s: float = math.inf) -> bool:
        """Evaluate one batch of at most about ``longest_s`` seconds.

        Returns False when nothing could be done because every consumer is behind.
        """
        self._end_what_must()
        if not self.busy:
            return True
        try:
            self._slots.ensure(self._waiting, self._running)
        except OutOfMemory as error:
            if self._running:
                raise
            self._waiting[0].finish(FinishReason.ERROR, error)  # shorter ones may fit
            self._retire()
            return True
        self._set_aside()
        self._queue_reports.tell(self._waiting)
        self._admit()
        if all(sequence.sink.full for sequence in self._running):
            return False
        self._slots.close_ranks(self._running)  # what it moves is there after the next evaluation, which comes now
        entries = self._pack(longest_s)
        if not entries:
            return False
        started = time.monotonic()
        slow = self._last_step > _ABORTABLE_SECONDS or self._slots.context.batch.size >= _ABORTABLE_TOKENS
        code = self._evaluate(entries, abortable=slow)
        self._last_step = time.monotonic() - started
        if code == 0:
            self._account(entries)
            self._consume(entries)
        elif code == 1:
            if not self.guesses.give_up(sequence for sequence, *_ in entries):
                self._make_room()
        else:
            self._roll_back(entries)
        return True

    def _evaluate(self, entries: list[tuple[Sequence, int, int, list[int]]], *, abortable: bool) -> int:
        """Evaluate the batch; other threads may look meanwhile at whose it is."""
        shares = [(sequence, count) for sequence, count, *_ in entries]
        self.evaluation = Evaluation(shares, self._running, can_roll_back=self.can_roll_back)
        try:
            return self._slots.context.evaluate(abortable=abortable)
        finally:
            self.evaluation = None

    def on_idle(self) -> None:
        """Nothing is left to run: there is time to put on disk what the next command will want."""
        if self._beginnings is not None and self._budget.token_s is not None:
            self._beginnings.remember_sessions(self._budget.token_s)
        self._slots.begin_idle()

    def release_memory(self) -> None:
        """Nothing has run for a while: give the context's memory back."""
        self._slots.release_memory()

    # ---- who runs ---------------------------------------------------------------------------------------------------

    def _enqueue(self, sequence: Sequence, order: int) -> None:
        self._order[id(sequence)] = order
        bisect.insort(self._waiting, sequence, key=lambda s: (not s.interactive, self._order[id(s)]))

    def _end_what_must(self) -> None:
        now = time.monotonic()
        for sequence in (*self._waiting, *self._running):
            deadline = sequence.request.deadline
            if sequence.cancelled:
                sequence.finish(FinishReason.CANCELLED)
            elif deadline is not None and now >= deadline:
                sequence.finish(FinishReason.TIMEOUT)
        self._retire()

    def _retire(self) -> None:
        """Take what ended out of both lists; its tokens stay in the memory for those who begin alike."""
        for sequence in [s for s in self._waiting if s.ended]:
            self._waiting.remove(sequence)
            del self._order[id(sequence)]
        for sequence in [s for s in self._running if s.ended or s.pending == 0]:
            self._running.remove(sequence)
            self._crowded = False
            del self._order[id(sequence)]
            owner = sequence if isinstance(sequence, Scoring) and not sequence.ended else None
            self._slots.keep(sequence, owner, useful=self._useful(sequence))

    def _useful(self, sequence: Sequence) -> bool:
        """Say whether what an ended sequence leaves in the memory is worth its place."""
        if isinstance(sequence, Branch):
            return False
        shared_buffer = not self._slots.elastic and self._slots.can_cut
        if shared_buffer or not self._waiting:
            return True
        # an id that is kept parts those that run (``Slots.close_ranks``), and what cannot be cut would take the place of
        # the beginning that those who wait have in common: only what they want, and nobody else has
        nearest = self._waiting[: self._slots.width]
        return any(
            common_prefix(sequence.tokens, other.tokens) - self._slots.reusable(other, self._running) >= WORTH_WAITING
            for other in nearest
        )

    def _set_aside(self) -> None:
        """Let sequences whose consumer is behind give their places to those that could run."""
        stalled = [s for s in self._running if s.sink.full]
        full = self._crowded or len(self._running) >= self._slots.width
        if not (stalled and full and any(not s.sink.full for s in self._waiting)):
            return
        for sequence in stalled:
            self._put_back(sequence)
        self._crowded = False

    def _put_back(self, sequence: Sequence) -> None:
        """Let a sequence wait again; what was evaluated of it stays in the memory while there is room."""
        self._running.remove(sequence)
        self._slots.keep(sequence, None, useful=True)
        sequence.restart()
        self._enqueue(sequence, self._order[id(sequence)])

    def _give_way(self, sequence: Sequence) -> bool:
        """Every place is taken: an interactive sequence gets that of the youngest bulk one."""
        bulk = [other for other in self._running if not other.interactive]
        if not (sequence.interactive and bulk):
            return False
        self._put_back(max(bulk, key=lambda other: self._order[id(other)]))
        return True

    def _admit(self) -> None:
        if self._crowded and self._running:
            return
        for sequence in self._next():
            if len(self._running) >= self._slots.width and not self._give_way(sequence):
                return
            if self._worth_waiting(sequence):
                continue
            if self._enough_to_read(sequence):
                continue
            if not self._slots.has_room(sequence, self._running):
                return  # nor does a smaller one go before it
            if self._beginnings is not None:
                self._beginnings.recall(sequence, self._running)
            if not self._slots.seat(sequence, self._running):
                continue
            self._waiting.remove(sequence)
            sequence.freeze_at = self._freeze_point(sequence)
            self._running.append(sequence)
            sequence.report()

    def _enough_to_read(self, sequence: Sequence) -> bool:
        """Say whether one that generates nothing would only lengthen the buffer for those that are read now."""
        at_once = self._slots.read_at_once
        if sequence.longest or at_once is None:
            return False
        return sum(other.pending for other in self._running if not other.decoding) >= at_once

    def _next(self) -> list[Sequence]:
        """Return those that may run next: interactive ones first, and every client's in turn."""
        ready = [sequence for sequence in self._waiting if not sequence.sink.full]
        if len({id(sequence.sink) for sequence in ready}) > 1:
            taken = collections.Counter(id(sequence.sink) for sequence in self._running)
            ranks = {}
            for sequence in ready:
                ranks[id(sequence)] = (not sequence.interactive, taken[id(sequence.sink)])
                taken[id(sequence.sink)] += 1
            ready.sort(key=lambda sequence: ranks[id(sequence)])  # of equals the older first
        return ready[: self._slots.width]

    def _worth_waiting(self, sequence: Sequence) -> bool:
        """Say whether a running sequence is about to evaluate what this one could take over."""
        now = None
        for other in self._running:
            if other.sink.full:
                continue
            goal = other.prompt_length if self._slots.can_cut else other.freeze_at or 0
            if other.done >= goal:
                continue
            common = min(common_prefix(other.tokens, sequence.tokens), sequence.outputs_from)
            later = min(common, goal) if self._slots.can_cut else (goal if goal <= common else 0)
            if later < WORTH_WAITING:
                continue
            if now is None:
                now = self._slots.reusable(sequence, self._running)
            if later - now >= WORTH_WAITING:
                return True
        return False

    def _freeze_point(self, sequence: Sequence) -> int | None:
        """Where a state that cannot be cut should be kept: at the end of what others will share with it.

        These are the next waiting ones, or else the next turn of a saved conversation.
        """
        if self._slots.can_cut:
            return None
        others = self._waiting[: self._slots.width]
        shared = max((common_prefix(sequence.tokens, other.tokens) for other in others), default=0)
        shared = min(shared, sequence.outputs_from)
        if shared - sequence.done >= WORTH_WAITING:
            return shared
        return sequence.turn_length if sequence.turn_length > sequence.done else None

    # ---- what is evaluated -------------------------------------------------------------------------------------------

    def _pack(self, longest_s: float) -> list[tuple[Sequence, int, int, list[int]]]:
        """Fill the batch; returns (sequence, tokens of it, its batch index, batch indices of its outputs)."""
        context = self._slots.context
        batch = context.batch
        batch.clear()
        runnable = [s for s in self._running if not s.sink.full]
        runnable.sort(key=lambda s: (not s.decoding, not s.interactive))
        self.guesses.make(runnable)
        counts = self._shares(runnable, batch.capacity, longest_s)
        entries = []
        for sequence in sorted(counts, key=lambda s: s.slot or 0):
            count = counts[sequence]
            outputs = range(max(0, sequence.outputs_from - sequence.done), count)
            tokens = [*sequence.tokens[sequence.done : sequence.done + count], *sequence.draft]
            start = batch.add(tokens, sequence.done, sequence.slot or 0, outputs)
            entries.append((sequence, count, start, [start + offset for offset in outputs]))
        return entries

    def _shares(self, runnable: list[Sequence], capacity: int, longest_s: float) -> dict[Sequence, int]:
        """Return how many tokens of each sequence the next batch takes; the first of ``runnable`` are served first."""
        piece = self._budget.tokens(runnable, longest_s, capacity)
        room, outputs = capacity, self._slots.context.max_outputs
        counts = {}
        for sequence in runnable:
            count = min(sequence.pending + len(sequence.draft), room)
            first_output = max(0, sequence.outputs_from - sequence.done)
            if not sequence.decoding:
                count = min(count, piece)
                for stop in (sequence.freeze_at, sequence.save_at):
                    if stop is not None and stop > sequence.done:
                        count = min(count, stop - sequence.done)
                count = min(count, first_output + outputs)
                piece -= count
            if count <= 0:
                continue
            sequence.draft = sequence.draft[: max(0, count - sequence.pending)]
            counts[sequence] = count
            room -= count
            outputs -= max(0, count - first_output)
        return counts

    def _account(self, entries: list[tuple[Sequence, int, int, list[int]]]) -> None:
        """Note what the last step cost."""
        each = self._last_step / self._slots.context.batch.size
        for sequence, count, _, _ in entries:
            sequence.spent += each * count
        prompts = sum(count for sequence, count, _, _ in entries if not sequence.decoding)
        if prompts > len(entries):
            self._budget.record(each)
        self.widest = max(self.widest, len(entries))
        if (
            not prompts and self._slots.portable and not any(sequence.draft for sequence, *_ in entries)
        ):  # else what runs would begin again in another context
            self._slots.wide.record(len(entries), self._last_step, len(self._waiting))

    def _consume(self, entries: list[tuple[Sequence, int, int, list[int]]]) -> None:
        for sequence, count, _, outputs in entries:
            sequence.done += count
            sequence.lost_step = False
            sequence.report()
            if sequence.done == sequence.freeze_at:
                self._slots.freeze(sequence)
                sequence.freeze_at = None
            if sequence.done == sequence.save_at:
                if self._beginnings is not None:
                    self._beginnings.remember(sequence)
                sequence.save_at = None
            if outputs:
                order = self._order[id(sequence)]
                for branch in sequence.consume(self._slots.context.handle, outputs):
                    self._enqueue(branch, order)
            if sequence.draft:
                self.guesses.settle(sequence)
        self._retire()

    def _make_room(self) -> None:
        """The cache is full: forget, grow, or let the youngest sequence wait."""
        if self._slots.forget_one() or self._slots.grow(self._running):
            return
        if len(self._running) > 1:
            youngest = max(self._running, key=lambda s: (not s.interactive, self._order[id(s)]))
            self._running.remove(youngest)
            self._slots.vacate(youngest)
            self._crowded = True
            self._enqueue(youngest, self._order[id(youngest)])
            return
        if self._slots.forget_one(needed=True):
            return
        only = self._running[0]
        limit = self._slots.context_limit
        error = ContextOverflow(tokens=len(only.tokens), context=limit)
        only.finish(FinishReason.ERROR, error if len(only.tokens) > limit else OutOfMemory("the KV cache"))
        self._retire()

    def _roll_back(self, entries: list[tuple[Sequence, int, int, list[int]]]) -> None:
        """An evaluation was aborted in the middle: undo what it did to each sequence of the batch.

        Where the memory cannot be cut everything in it is lost, sequences outside the batch too: llama.cpp exchanges
        the places of states first (``llama_memory_recurrent::find_slot``), and the graph that moves them did not run.
        """
        for sequence, *_ in entries:
            sequence.lost_step = True
        if all(self._slots.truncate(sequence) for sequence, _, _, _ in entries):
            return
        self._slots.clear(self._running)
        for sequence in self._running:
            self._enqueue(sequence, self._order[id(sequence)])
        self._running.clear()
