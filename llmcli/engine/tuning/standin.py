"""Measures attention: a model of two layers that consists of attention of a given shape, timed in every setting.

The time that attention takes depends on its shape, not on the weights, so a stand-in with the heads of a model of
gigabytes answers within seconds. ``python -m llmcli.engine.tuning.standin DIRECTORY HEADS KV_HEADS SIZE LAYERS
THREADS`` measures in the background with the lowest priority; ``start_in_background`` runs that, ``load_profile`` reads
the result.
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

from llmcli import child_processes
from llmcli.engine.llama import bindings, hardware
from llmcli.engine.llama.compute_thread import run_in_thread
from llmcli.engine.llama.context import Context, ContextConfig
from llmcli.engine.llama.gguf_writer import gguf_bytes
from llmcli.engine.llama.model import Model
from llmcli.engine.llama.threads import LOAD_INTERVAL_S, SystemLoad, ThreadPolicy
from llmcli.engine.tuning.cost_profile import (
    ATTENTION_KERNELS,
    BATCH_ROWS,
    AttentionCosts,
    AttentionGeometry,
    CostProfile,
)
from llmcli.errors import InternalError
from llmcli.files import private_files

_LAYERS = 2
_WIDTH = 32
"""Elements of a layer's input: very few, so that nearly only attention is timed."""
_MOST = 1024
"""The most elements of all heads together; for larger models fewer heads in the same proportion are measured."""
_VOCABULARY = 32
_PIECE = 512
_DEEP = 1024
_OWN = 128
"""Tokens of each sequence of a batch."""
_TRIES = 12
_ROUNDS = 2
_STALE = 120.0
"""Seconds after which the lock of a measurement counts as stale."""
_PATIENCE = 60.0
_BLOCK = 32
_QUIET = 0.3
"""Cores that other processes may keep busy during a measurement."""


def profile_path(directory: Path, geometry: AttentionGeometry, threads: int) -> Path:
    """Return the file for the profile of a geometry on this processor with this version of llama.cpp."""
    parts = (
        bindings.version(),
        bindings.system_info(),
        hardware.processor_name(),
        threads,
        *astuple(_reduced_geometry(geometry)),
    )
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    return directory / "tuning" / f"{key}.json"


def load_profile(path: Path) -> CostProfile | None:
    """Read a profile; None if there is none, or if it is unusable."""
    try:
        return CostProfile.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):  # errors of damaged JSON
        return None


def start_in_background(directory: Path, geometry: AttentionGeometry, threads: int) -> None:
    """Measure in a separate process, which may outlive this one by seconds and keeps none of its files open."""
    arguments = map(str, (*astuple(geometry), threads))
    with contextlib.suppress(OSError):  # a full process table: the next job tries again
        subprocess.Popen(  # noqa: S603 (our own module)
            child_processes.module_command(__spec__.name, str(directory.absolute()), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/" if os.name == "posix" else None,
            env=child_processes.child_env(os.environ),
            start_new_session=True,
        )


def supported_kernels(geometry: AttentionGeometry) -> tuple[tuple[bool, str], ...]:
    """Return the (flash attention, cache type) pairs that heads of this size support: q8_0 needs whole blocks of 32."""
    return tuple(kernel for kernel in ATTENTION_KERNELS if kernel[1] != "q8_0" or geometry.size % _BLOCK == 0)


def measure(
    geometry: AttentionGeometry, threads: int, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> CostProfile:
    """Measure all kernels, in a few seconds. ``progress`` is called with the number done and the total.

    Raises ``InternalError``, ``OutOfMemory`` and ``Unsupported`` as loading a model and creating a context do.
    """
    return run_in_thread(lambda: _measure(geometry, threads, progress))


def _measure(geometry: AttentionGeometry, threads: int, progress: Callable[[int, int], None]) -> CostProfile:
    small = _reduced_geometry(geometry)
    fastest: dict[tuple[bool, str], _Times] = {}
    with _temporary_model(small) as model:
        possible = supported_kernels(geometry)
        for done in range(
            _ROUNDS * len(possible)
        ):  # alternating, so that a disturbance does not affect only one of them
            progress(done, _ROUNDS * len(possible))
            flash, kv_type = kernel = possible[done % len(possible)]
            config = ContextConfig(
                cells=BATCH_ROWS * (_OWN + 16) + _DEEP + 2 * _PIECE,
                sequences=BATCH_ROWS + 1,
                batch=_PIECE,
                flash_attention=flash,
                kv_type=kv_type,
                threads=ThreadPolicy(threads, fixed=True),
            )
            times = _time_kernel(model, config)
            fastest[kernel] = _Times(*map(min, astuple(times), astuple(fastest.get(kernel, times))))
        progress(_ROUNDS * len(possible), _ROUNDS * len(possible))
    copies = [max(0.0, times.copied - times.not_copied) / _PIECE / small.cost_units for times in fastest.values()]
    return CostProfile(
        {kernel: _fit_costs(times, small.cost_units) for kernel, times in fastest.items()},
        statistics.median(copies),
        measured=True,
    )


def save_profile(profile: CostProfile, path: Path) -> None:
    """Write a profile atomically. Raises ``OSError``."""
    private_files.replace_file(path, json.dumps(profile.to_json()).encode())


def _in_background(directory: Path, geometry: AttentionGeometry, threads: int) -> None:
    """Measure once the machine is idle, unless another process does or did; give up after a minute."""
    path = profile_path(directory, geometry, threads)
    if load_profile(path) is not None:
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
        load, until = SystemLoad(), time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            time.sleep(2 * LOAD_INTERVAL_S)
            if (load.busy_cores() or 0) > _QUIET:
                continue
            profile = measure(geometry, threads)
            if (load.busy_cores() or 0) <= _QUIET:  # the measurement was undisturbed
                save_profile(profile, path)
                return
    finally:
        lock.unlink(missing_ok=True)


# ---- timing -----------------------------------------------------------------------------------------------------------


class _Stopwatch:
    """Evaluates batches of a context and measures their duration."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self, *chunks: tuple[int, int, int]) -> float:
        """Evaluate (sequence, position, tokens) chunks in one batch; return the seconds."""
        batch = self._context.batch
        batch.clear()
        for sequence, position, count in chunks:
            batch.add([i % _VOCABULARY for i in range(count)], position, sequence, [count - 1])
        started = time.perf_counter()
        if self._context.evaluate(abortable=False) != 0:
            raise InternalError("measurement", detail="the cache is full")
        return time.perf_counter() - started

    def decode(self, *rows: tuple[int, int]) -> float:
        """Evaluate one token at each (sequence, position) repeatedly; return the seconds of the fastest step."""
        return min(self._time_step(rows) for _ in range(_TRIES))

    def _time_step(self, rows: tuple[tuple[int, int], ...]) -> float:
        seconds = self.step(*((sequence, position, 1) for sequence, position in rows))
        for sequence, position in rows:
            self.truncate(sequence, position)
        return seconds

    def truncate(self, sequence: int, length: int) -> None:
        """Remove the tokens of a sequence from ``length`` on."""
        bindings.lib().llama_memory_seq_rm(self._context.memory, sequence, length, -1)

    def share(self, length: int) -> None:
        """Share the first ``length`` tokens of sequence 0 with sequences 1 to ``BATCH_ROWS``."""
        for sequence in range(1, BATCH_ROWS + 1):
            bindings.lib().llama_memory_seq_cp(self._context.memory, 0, sequence, 0, length)

    def time_copy(self, source: int, target: int, other: int) -> float:
        """Return the seconds of a step of one token of ``other`` that copies a buffer first."""
        bindings.lib().llama_memory_seq_cp(self._context.memory, source, target, -1, -1)
        seconds = self.step((other, _OWN, 1))
        self.truncate(other, _OWN)
        self.truncate(target, 0)
        return seconds

    def clear(self) -> None:
        """Empty the cache."""
        bindings.lib().llama_memory_clear(self._context.memory, False)


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

    Chunks of a prompt at the start and after ``_DEEP`` tokens; a single token after ``_OWN`` and after ``_DEEP +
    _PIECE`` tokens; a token of a batch in one buffer: with no tokens before it, after ``_PIECE`` tokens shared by all,
    after ``_OWN`` of its own; the first and the last of these in separate buffers.
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


def _time_kernel(model: Model, config: ContextConfig) -> _Times:
    rows = range(1, BATCH_ROWS + 1)
    with _stopwatch(model, config) as one:
        one.step((0, 0, _PIECE))  # the first evaluation reserves buffers
        one.truncate(0, 0)
        prompts = [one.step((0, depth, _PIECE)) / _PIECE for depth in range(0, _DEEP + 1, _PIECE)]
        single_deep = one.decode((0, _DEEP + _PIECE))
        one.share(_PIECE)
        one.truncate(0, _PIECE)
        shared = one.decode(*((row, _PIECE) for row in rows)) / BATCH_ROWS
        one.clear()
        empty = one.decode(*((row, 0) for row in rows)) / BATCH_ROWS
        for row in rows:
            one.step((row, 0, _OWN))
        distinct = one.decode(*((row, _OWN) for row in rows)) / BATCH_ROWS
        one.clear()
        one.step((0, 0, _OWN))
        single = one.decode((0, _OWN))
    with _stopwatch(model, replace(config, unified=False, cells=_PIECE)) as each:
        each.step((1, 0, _OWN))
        each.clear()
        alone = each.decode(*((row, 0) for row in rows)) / BATCH_ROWS
        for row in rows:
            each.step((row, 0, _OWN))
        own = each.decode(*((row, _OWN) for row in rows)) / BATCH_ROWS
        copied, not_copied = min(each.time_copy(1, 0, 2) for _ in range(_TRIES)), each.decode((2, _OWN))
    return _Times(prompts[0], prompts[-1], single, single_deep, empty, shared, distinct, alone, own, copied, not_copied)


def _fit_costs(times: _Times, work: int) -> AttentionCosts:
    """Fit the costs of a unit of work to the times."""
    # one buffer: a token costs a + b * cells of the buffer + c * cells before it
    both = (times.shared - times.empty) / _PIECE  # b + c
    buffer = (times.distinct - times.empty - both * _OWN) / (BATCH_ROWS * _OWN - _OWN)
    buffer = min(max(0.0, buffer), max(0.0, both))
    return AttentionCosts(
        prompt=_fit_line((_PIECE / 2, times.prompt), (_DEEP + _PIECE / 2, times.prompt_deep), work),
        single=_fit_line((_OWN, times.single), (_DEEP + _PIECE, times.single_deep), work),
        unified=(times.empty / work, buffer / work, max(0.0, both - buffer) / work),
        separate=_fit_line((0, times.alone), (_OWN, times.own), work),
    )


def _fit_line(low: tuple[float, float], high: tuple[float, float], work: int) -> tuple[float, float]:
    """Return the cost at no cells, and that of each cell, from two (cells, seconds)."""
    slope = max(0.0, (high[1] - low[1]) / (high[0] - low[0]))
    return max(0.0, low[1] - slope * low[0]) / work, slope / work


# ---- the stand-in ---------------------------------------------------------------------------------------------------


def _reduced_geometry(geometry: AttentionGeometry) -> AttentionGeometry:
    """Return the geometry to measure: two layers, and fewer heads if there are many."""
    group = geometry.heads // geometry.kv_heads
    kv_heads = max(1, min(geometry.kv_heads, _MOST // (group * geometry.size)))
    return AttentionGeometry(group * kv_heads, kv_heads, geometry.size, _LAYERS)


@contextlib.contextmanager
def _temporary_model(geometry: AttentionGeometry) -> Iterator[Model]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "attention.gguf"
        path.write_bytes(_gguf(geometry))
        model = Model(path, gpu_layers=0, keep_going=lambda: True)
        try:
            yield model
        finally:
            model.close()


def _gguf(geometry: AttentionGeometry) -> bytes:
    """Return a model of architecture llama with random weights, as a GGUF file."""
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
    random = np.random.default_rng(0)
    tensors = {
        f"{name}.weight": (shape, (random.standard_normal(shape[::-1]).astype("<f4") / 8).tobytes())
        for name, shape in shapes.items()
    }
    return gguf_bytes(metadata, tensors)


if __name__ == "__main__":
    _in_background(Path(sys.argv[1]), AttentionGeometry(*map(int, sys.argv[2:6])), int(sys.argv[6]))
