"""Evaluated documents that later requests begin with, in files without names: a worker keeps them while it runs.

The KV cache holds the prefixes of a few ended requests. A question about documents ranks two dozen passages, and the
next question ranks many of them again. Reading the state of a passage takes a hundredth of the time of evaluating it.
In memory the states would exceed what the process may take (``footprint.process_limit_bytes``), so they are in files
in the cache directory, which the system keeps in memory as long as it has room.
"""

from __future__ import annotations

import resource
import threading
from pathlib import Path

from llmcli.engine.llama.context import Context
from llmcli.engine.llama.state_files import NativeStateFile, StateFile
from llmcli.engine.sequences.sequence import common_prefix_length
from llmcli.fast_dataclass import slotted
from llmcli.files import private_files

MIN_KEPT_TOKENS = 16
"""Tokens that a state must have beyond those in the KV cache."""
_DISK_BYTES_PER_S = 400e6
"""Bytes a second at which a state is written or read in the worst case."""
_MIN_USED_SHARE = 0.25
"""The share of a state's tokens that a sequence must begin with: all of it is read."""
_MAX_STATES, _DESCRIPTOR_SHARE = 1024, 4
"""States at most, and the part of the process's file descriptors that they may take: one each."""


@slotted
class CachedDocumentPrefix:
    """The state of ``tokens``; ``job``: the number of the last job that used it."""

    tokens: list[int]
    state_format: str
    file: StateFile | NativeStateFile
    size: int
    job: int

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class DocumentPrefixCache:
    """At most ``max_bytes`` of states in files in ``directory``; the least recently used ones are evicted.

    Thread-safe.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_states = _file_limit()
        self._states: list[CachedDocumentPrefix] = []  # least recently used first
        self._job = 0
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._states)

    @property
    def total_bytes(self) -> int:
        """The bytes of all states."""
        return sum(state.size for state in self._states)

    def find_longest(
        self, tokens: list[int], max_length: int, state_format: str, *, whole: bool
    ) -> tuple[int, CachedDocumentPrefix | None]:
        """Return how many of the first ``max_length`` of ``tokens`` a state can stand for, and that state.

        ``whole``: no part of a state can be used.
        """
        best, found = 0, None
        with self._lock:
            for state in self._states:
                size = len(state.tokens)
                if state.state_format != state_format or size > len(tokens):
                    continue
                common = min(common_prefix_length(state.tokens, tokens), max_length)
                usable = common if common == size or not whole else 0
                if usable > best and usable >= _MIN_USED_SHARE * size:
                    best, found = usable, state
        return best, found

    def restore(self, state: CachedDocumentPrefix, context: Context, slot: int) -> bool:
        """Restore a state to an empty sequence; False (and an empty sequence) if it does not fit, or was evicted."""
        with self._lock:
            if state not in self._states:
                return False
            self._states.remove(state)
            self._states.append(state)
            state.job = self._job
            return context.restore_state(slot, state.file)

    def keep(self, context: Context, slot: int, tokens: list[int], state_format: str, compute_s: float) -> None:
        """Keep the state of a sequence, which took ``compute_s`` seconds, unless reading it takes as long.

        If there is no room without evicting a state that the present job uses, it is not kept: a job that goes through
        more documents than fit would evict each one before the next job comes to it.
        """
        size = context.state_size(slot)
        if size / _DISK_BYTES_PER_S > compute_s:
            return
        with self._lock:
            known = any(state.tokens == tokens and state.state_format == state_format for state in self._states)
            if known or not self._make_room(size):
                return
            try:
                private_files.make_directory(self._directory)
            except OSError:  # only the time saved by reuse is lost
                return
            file = context.save_state_file(slot, self._directory)
            if file is not None:
                self._states.append(CachedDocumentPrefix(tokens, state_format, file, size, self._job))

    def _make_room(self, size: int) -> bool:
        """Evict states that the present job does not use until one of ``size`` bytes fits; return whether it does."""
        old = [state for state in self._states if state.job != self._job]
        while self.total_bytes + size > self._max_bytes or len(self._states) >= self._max_states:
            if not old:
                return False
            evicted = old.pop(0)
            self._states.remove(evicted)
            evicted.file.close()
        return True

    def end_job(self) -> None:
        """Record that nothing runs: what was used so far may be evicted again."""
        self._job += 1

    def close(self) -> None:
        """Remove all states."""
        with self._lock:
            for state in self._states:
                state.file.close()
            self._states.clear()


def _file_limit() -> int:
    """Return how many files the states may be in."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_STATES if limit == resource.RLIM_INFINITY else min(_MAX_STATES, limit // _DESCRIPTOR_SHARE)
