"""Measuring attention: a model of two layers that is nothing but attention of a given shape, timed in every setting.

The time that attention takes depends on its shape, not on the weights, so a stand-in with the heads of a model of
gigabytes answers within seconds. ``python -m llmcli.engine.standin DIRECTORY HEADS KV_HEADS SIZE LAYERS THREADS``
measures in the background with the lowest priority; ``start`` runs that, ``load`` reads what came of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from llmcli import private_files, processes
from llmcli.engine import machine, native
from llmcli.engine.compute_thread import run_in_thread
from llmcli.engine.context import Context, ContextConfig
from llmcli.engine.model import Model
from llmcli.engine.threads import INTERVAL, Load, Threads
from llmcli.engine.tuning import KERNELS, ROWS, Costs, Geometry, Profile
from llmcli.errors import InternalError

_LAYERS = 2
_WIDTH = 32
"""Elements of a layer's input: next to none, so that attention is all there is to time."""
_MOST = 1024
"""Elements of all heads together; of larger models fewer heads in the same proportion are measured."""
_VOCABULARY = 32
_PIECE = 512
_DEEP = 1024
_OWN = 128
"""Tokens of each sequence of a batch."""
_TRIES = 12
_ROUNDS = 2
_STALE = 120.0
"""Seconds after which a measurement that left its lock behind counts as dead."""
_PATIENCE = 60.0
_BLOCK = 32
_QUIET = 0.3
"""Cores that others may keep busy while it is measured."""


def path_of(directory: Path, geometry: Geometry, threads: int) -> Path:
    """Return the file that holds the profile of a geometry on this processor with this version of llama.cpp."""
    parts = (native.version(), native.system_info(), machine.processor(), threads, *astuple(_reduced(geometry)))
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    return directory / "tuning" / f"{key}.json"


def load(path: Path) -> Profile | None:
    """Read a profile; None where there is none, or no usable one."""
    try:
        return Profile.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):  # what damaged JSON can raise
        return None


def start(directory: Path, geometry: Geometry, threads: int) -> None:
    """Measure in a process of its own, which outlives this one by some seconds and keeps nothing of it open."""
    figures = map(str, (*astuple(geometry), threads))
    with contextlib.suppress(OSError):  # a full process table: the next job tries again
        subprocess.Popen(  # noqa: S603 (our own module)
            processes.command(__spec__.name, str(directory.absolute()), *figures),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/" if os.name == "posix" else None,
            env=processes.environment(os.environ),
            start_new_session=True,
        )


def kernels(geometry: Geometry) -> tuple[tuple[bool, str], ...]:
    """Return the (flash attention, cache type) that heads of this size can have: q8_0 wants whole blocks of 32."""
    return tuple(kernel for kernel in KERNELS if kernel[1] != "q8_0" or geometry.size % _BLOCK == 0)


def measure(
    geometry: Geometry, threads: int, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Profile:
    """Measure all kernels: a few seconds. ``progress`` is told how many of how many are done.

    Raises ``InternalError``, ``OutOfMemory`` and ``Unsupported`` as loading a model and making a context do.
    """
    return run_in_thread(lambda: _measure(geometry, threads, progress))


def _measure(geometry: Geometry, threads: int, progress: Callable[[int, int], None]) -> Profile:
    small = _reduced(geometry)
    fastest: dict[tuple[bool, str], _Times] = {}
    with _model(small) as model:
        possible = kernels(geometry)
        for done in range(_ROUNDS * len(possible)):  # in turn, so that a disturbance does not hit one of them alone
            progress(done, _ROUNDS * len(possible))
            flash, kv_type = kernel = possible[done % len(possible)]
            config = ContextConfig(
                cells=ROWS * (_OWN + 16) + _DEEP + 2 * _PIECE,
                sequences=ROWS + 1,
                batch=_PIECE,
                flash_attention=flash,
                kv_type=kv_type,
                threads=Threads(threads, fixed=True),
            )
            times = _time(model, config)
            fastest[kernel] = _Times(*map(min, astuple(times), astuple(fastest.get(kernel, times))))
        progress(_ROUNDS * len(possible), _ROUNDS * len(possible))
    copies = [max(0.0, times.copied - times.not_copied) / _PIECE / small.work for times in fastest.values()]
    return Profile(
        {kernel: _costs(times, small.work) for kernel, times in fastest.items()},
        statistics.median(copies),
        measured=True,
    )


def write(profile: Profile, path: Path) -> None:
    """Keep a profile, whole or not at all. Raises ``OSError``."""
    private_files.replace_file(path, json.dumps(profile.to_json()).encode())


def _in_background(directory: Path, geometry: Geometry, threads: int) -> None:
    """Measure unless somebody did or does, when the machine has nothing else to do; give up after a minute."""
    path = path_of(directory, geometry, threads)
    if load(path) is not None:
        return
    lock = path.with_suffix(".lock")
    private_files.make_directory(lock.parent)
    with contextlib.suppress(FileNotFoundError):
        if time.time() - lock.stat().st_mtime > _STALE:
            lock.unlink()
    try:
        os.close(private_files.open_file(lock, os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    try:
        os.nice(19)
        watch, until = Load(), time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            time.sleep(2 * INTERVAL)
            if (watch.others() or 0) > _QUIET:
                continue
            profile = measure(geometry, threads)
            if (watch.others() or 0) <= _QUIET:  # nobody came while it was measured
                write(profile, path)
                return
    finally:
        lock.unlink(missing_ok=True)


# ---- what is timed ----------------------------------------------------------------------------------------------------


class _Stopwatch:
    """Evaluates batches of a context and says how long one took."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self, *pieces: tuple[int, int, int]) -> float:
        """Evaluate (sequence, position, tokens) pieces in one batch; returns its seconds."""
        batch = self._context.batch
        batch.clear()
        for sequence, position, count in pieces:
            batch.add([i % _VOCABULARY for i in range(count)], position, sequence, [count - 1])
        started = time.perf_counter()
        if self._context.evaluate(abortable=False) != 0:
            raise InternalError("measurement", detail="the cache is full")
        return time.perf_counter() - started

    def decode(self, *places: tuple[int, int]) -> float:
        """Evaluate one token at each (sequence, position) again and again; returns the seconds of the fastest step."""
        return min(self._again(places) for _ in range(_TRIES))

    def _again(self, places: tuple[tuple[int, int], ...]) -> float:
        seconds = self.step(*((sequence, position, 1) for sequence, position in places))
        for sequence, position in places:
            self.cut(sequence, position)
        return seconds

    def cut(self, sequence: int, length: int) -> None:
        """Remove what a sequence has from ``length`` on."""
        native.lib().llama_memory_seq_rm(self._context.memory, sequence, length, -1)

    def share(self, length: int) -> None:
        """Let sequences 1 to ``ROWS`` begin with ``length`` tokens of sequence 0."""
        for sequence in range(1, ROWS + 1):
            native.lib().llama_memory_seq_cp(self._context.memory, 0, sequence, 0, length)

    def copying(self, source: int, target: int, other: int) -> float:
        """Return the seconds of a step of one token of ``other`` that copies a buffer first."""
        native.lib().llama_memory_seq_cp(self._context.memory, source, target, -1, -1)
        seconds = self.step((other, _OWN, 1))
        self.cut(other, _OWN)
        self.cut(target, 0)
        return seconds

    def clear(self) -> None:
        """Empty the cache."""
        native.lib().llama_memory_clear(self._context.memory, False)


@contextlib.contextmanager
def _stopwatch(model: Model, config: ContextConfig) -> Iterator[_Stopwatch]:
    context = Context(model, config, lambda: False)
    try:
        yield _Stopwatch(context)
    finally:
        context.close()


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds a token, except for the last two: seconds of a step that copies a buffer first, and of one that does not.

    Prompt pieces at the beginning and behind ``_DEEP`` tokens; a token alone behind ``_OWN`` and behind ``_DEEP +
    _PIECE`` tokens; a token of a batch in one buffer: with nothing before it, behind ``_PIECE`` that all share, behind
    ``_OWN`` of its own; the first and the last of these in separate buffers.
    """

    prompt: float
    prompt_deep: float
    single: float
    single_deep: float
    empty: float
    shared: float
    distinct: float
    alone: float
    own: float
    copied: float
    not_copied: float


def _time(model: Model, config: ContextConfig) -> _Times:
    rows = range(1, ROWS + 1)
    with _stopwatch(model, config) as one:
        one.step((0, 0, _PIECE))  # the first evaluation reserves buffers
        one.cut(0, 0)
        prompts = [one.step((0, depth, _PIECE)) / _PIECE for depth in range(0, _DEEP + 1, _PIECE)]
        single_deep = one.decode((0, _DEEP + _PIECE))
        one.share(_PIECE)
        one.cut(0, _PIECE)
        shared = one.decode(*((row, _PIECE) for row in rows)) / ROWS
        one.clear()
        empty = one.decode(*((row, 0) for row in rows)) / ROWS
        for row in rows:
            one.step((row, 0, _OWN))
        distinct = one.decode(*((row, _OWN) for row in rows)) / ROWS
        one.clear()
        one.step((0, 0, _OWN))
        single = one.decode((0, _OWN))
    with _stopwatch(model, replace(config, unified=False, cells=_PIECE)) as each:
        each.step((1, 0, _OWN))
        each.clear()
        alone = each.decode(*((row, 0) for row in rows)) / ROWS
        for row in rows:
            each.step((row, 0, _OWN))
        own = each.decode(*((row, _OWN) for row in rows)) / ROWS
        copied, not_copied = min(each.copying(1, 0, 2) for _ in range(_TRIES)), each.decode((2, _OWN))
    return _Times(prompts[0], prompts[-1], single, single_deep, empty, shared, distinct, alone, own, copied, not_copied)


def _costs(times: _Times, work: int) -> Costs:
    """Fit the costs of a unit of work to what was timed."""
    # one buffer: a token costs a + b * cells of the buffer + c * cells before it
    both = (times.shared - times.empty) / _PIECE  # b + c
    buffer = (times.distinct - times.empty - both * _OWN) / (ROWS * _OWN - _OWN)
    buffer = min(max(0.0, buffer), max(0.0, both))
    return Costs(
        prompt=_line((_PIECE / 2, times.prompt), (_DEEP + _PIECE / 2, times.prompt_deep), work),
        single=_line((_OWN, times.single), (_DEEP + _PIECE, times.single_deep), work),
        unified=(times.empty / work, buffer / work, max(0.0, both - buffer) / work),
        separate=_line((0, times.alone), (_OWN, times.own), work),
    )


def _line(low: tuple[float, float], high: tuple[float, float], work: int) -> tuple[float, float]:
    """Return cost at no cells, and of each cell, from two (cells, seconds)."""
    slope = max(0.0, (high[1] - low[1]) / (high[0] - low[0]))
    return max(0.0, low[1] - slope * low[0]) / work, slope / work


# ---- the stand-in ---------------------------------------------------------------------------------------------------


def _reduced(geometry: Geometry) -> Geometry:
    """Return the geometry that is measured: two layers, and no more heads than tell the difference."""
    group = geometry.heads // geometry.kv_heads
    kv_heads = max(1, min(geometry.kv_heads, _MOST // (group * geometry.size)))
    return Geometry(group * kv_heads, kv_heads, geometry.size, _LAYERS)


@contextlib.contextmanager
def _model(geometry: Geometry) -> Iterator[Model]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "attention.gguf"
        path.write_bytes(_gguf(geometry))
        model = Model(path, gpu_layers=0, keep_going=lambda: True)
        try:
            yield model
        finally:
            model.close()


def _gguf(geometry: Geometry) -> bytes:
    """Return a model of architecture llama with random weights (GGUF version 3, little-endian; ggml's docs/gguf.md)."""
    import numpy as np

    queries, keys = geometry.heads * geometry.size, geometry.kv_heads * geometry.size
    shapes = {"token_embd": (_WIDTH, _VOCABULARY), "output_norm": (_WIDTH,), "output": (_WIDTH, _VOCABULARY)}
    layer = {
        "attn_norm": (_WIDTH,),
        "attn_q": (_WIDTH, queries),
        "attn_k": (_WIDTH, keys),
        "attn_v": (_WIDTH, keys),
        "attn_output": (queries, _WIDTH),
        "ffn_norm": (_WIDTH,),
        "ffn_gate": (_WIDTH, _WIDTH),
        "ffn_up": (_WIDTH, _WIDTH),
        "ffn_down": (_WIDTH, _WIDTH),
    }
    shapes |= {f"blk.{i}.{name}": shape for i in range(geometry.layers) for name, shape in layer.items()}
    metadata: dict[str, str | int | float] = {
        "general.architecture": "llama",
        "llama.context_length": 1 << 16,
        "llama.embedding_length": _WIDTH,
        "llama.block_count": geometry.layers,
        "llama.feed_forward_length": _WIDTH,
        "llama.vocab_size": _VOCABULARY,
        "llama.attention.head_count": geometry.heads,
        "llama.attention.head_count_kv": geometry.kv_heads,
        "llama.attention.key_length": geometry.size,
        "llama.attention.value_length": geometry.size,
        "llama.rope.dimension_count": geometry.size,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "none",
    }
    head = [b"GGUF", _u32(3), _u64(len(shapes)), _u64(len(metadata)), *map(_entry, metadata, metadata.values())]
    random = np.random.default_rng(0)
    data, offset = [], 0
    for name, shape in shapes.items():
        head += [_string(f"{name}.weight"), _u32(len(shape)), *map(_u64, shape), _u32(0), _u64(offset)]
        values = random.standard_normal(shape[::-1]).astype("<f4") / 8
        data.append(values.tobytes())  # whole rows of 32 floats: aligned as it is
        offset += values.nbytes
    start = b"".join(head)
    return start + b"\0" * (-len(start) % 32) + b"".join(data)


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _string(text: str) -> bytes:
    return _u64(len(text)) + text.encode("ascii")


def _entry(key: str, value: str | float) -> bytes:
    import struct

    if isinstance(value, str):
        return _string(key) + _u32(8) + _string(value)
    return _string(key) + (_u32(4) + _u32(value) if isinstance(value, int) else _u32(6) + struct.pack("<f", value))


if __name__ == "__main__":
    _in_background(Path(sys.argv[1]), Geometry(*map(int, sys.argv[2:6])), int(sys.argv[6]))
