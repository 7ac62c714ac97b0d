"""Model files with a broken header: seeded changes of good ones, of bytes and of values."""

from __future__ import annotations

import functools
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
_ALIGNMENT = 32
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of each scalar type
_STRING, _ARRAY = 8, 9
_EXTREMES = (0, 1, 2, 3, 7, 31, 33, 255, 256, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


@dataclass(frozen=True)
class Entry:
    """A metadata entry; ``value`` has its bytes as in the file."""

    key: bytes
    kind: int
    value: bytes


@dataclass(frozen=True)
class Place:
    """A tensor as the header describes it."""

    name: bytes
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class Layout:
    """A parsed GGUF file; ``counts`` are written instead of the true numbers of tensors and entries."""

    entries: tuple[Entry, ...]
    tensors: tuple[Place, ...]
    data: bytes
    counts: tuple[int, int] | None = None

    @classmethod
    def of(cls, content: bytes) -> Layout:
        """Parse a good file."""
        n_tensors, n_entries = struct.unpack_from("<QQ", content, 8)
        at = 24
        entries, tensors = [], []
        for _ in range(n_entries):
            key, at = _text(content, at)
            (kind,) = struct.unpack_from("<I", content, at)
            end = _end_of_value(content, at + 4, kind)
            entries.append(Entry(key, kind, content[at + 4 : end]))
            at = end
        for _ in range(n_tensors):
            name, at = _text(content, at)
            (n_dims,) = struct.unpack_from("<I", content, at)
            *shape, kind, offset = struct.unpack_from(f"<{n_dims}QIQ", content, at + 4)
            tensors.append(Place(name, tuple(shape), kind, offset))
            at += 4 + 8 * n_dims + 12
        return cls(tuple(entries), tuple(tensors), content[-(-at // _ALIGNMENT) * _ALIGNMENT :])

    def header(self) -> bytes:
        """Return the bytes before the tensors' data, without the padding."""
        counts = self.counts or (len(self.tensors), len(self.entries))
        parts = [b"GGUF" + struct.pack("<IQQ", 3, *counts)]
        parts += [_packed(e.key) + struct.pack("<I", e.kind) + e.value for e in self.entries]
        for t in self.tensors:
            parts.append(_packed(t.name) + struct.pack(f"<I{len(t.shape)}Q", len(t.shape), *t.shape))
            parts.append(struct.pack("<IQ", t.kind, t.offset))
        return b"".join(parts)

    def build(self) -> bytes:
        """Return the file."""
        header = self.header()
        return header + b"\0" * (-len(header) % _ALIGNMENT) + self.data

    def with_entry(self, index: int, entry: Entry) -> Layout:
        return replace(self, entries=(*self.entries[:index], entry, *self.entries[index + 1 :]))

    def with_tensor(self, index: int, tensor: Place) -> Layout:
        return replace(self, tensors=(*self.tensors[:index], tensor, *self.tensors[index + 1 :]))


def _text(content: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", content, at)
    return content[at + 8 : at + 8 + length], at + 8 + length


def _packed(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _end_of_value(content: bytes, at: int, kind: int) -> int:
    if kind == _STRING:
        return _text(content, at)[1]
    if kind != _ARRAY:
        return at + _WIDTHS[kind]
    inner, length = struct.unpack_from("<IQ", content, at)
    at += 12
    for _ in range(length):
        at = _end_of_value(content, at, inner)
    return at


# ---- what is done to them --------------------------------------------------------------------------------------------


def _flip(draw: random.Random, layout: Layout) -> bytes:
    """Change random bytes in the header."""
    content = bytearray(layout.build())
    end = len(layout.header())
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(4, end)] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
    return bytes(content)


def _truncate(draw: random.Random, layout: Layout) -> bytes:
    """Remove the end, in the header or in the data."""
    content = layout.build()
    return content[: draw.choice([draw.randrange(len(layout.header())), draw.randrange(len(content))])]


def _number(draw: random.Random, layout: Layout) -> bytes:
    """Change a number of the metadata: zero, huge, negative, off by one."""
    index = draw.choice([i for i, e in enumerate(layout.entries) if e.kind in _WIDTHS])
    entry = layout.entries[index]
    width = _WIDTHS[entry.kind]
    now = int.from_bytes(entry.value, "little")
    fresh = draw.choice([*_EXTREMES, now + 1, max(0, now - 1), now * 2, now // 2, now * 3]) % (1 << 8 * width)
    return layout.with_entry(index, replace(entry, value=fresh.to_bytes(width, "little"))).build()


def _swap(draw: random.Random, layout: Layout) -> bytes:
    """Exchange the values of two entries."""
    one, other = draw.sample(range(len(layout.entries)), 2)
    a, b = layout.entries[one], layout.entries[other]
    swapped = layout.with_entry(one, replace(b, key=a.key)).with_entry(other, replace(a, key=b.key))
    return swapped.build()


def _retype(draw: random.Random, layout: Layout) -> bytes:
    """Give an entry a value of another type: a number, a text, an array."""
    index = draw.randrange(len(layout.entries))
    values = [
        (4, struct.pack("<I", draw.choice([0, 1, 2**31]))),
        (5, struct.pack("<i", -1)),
        (6, struct.pack("<f", draw.choice([0.0, -1.0, float("nan"), float("inf")]))),
        (7, b"\1"),
        (8, _packed(draw.choice([b"", b"x", b"llama", b"\xff\xfe"]))),
        (9, struct.pack("<IQ", 4, 0)),
        (9, struct.pack("<IQI", 5, 1, 2**32 - 1)),
        (9, struct.pack("<IQ", 8, 1) + _packed(b"x")),
        (10, struct.pack("<Q", draw.choice([0, 2**40]))),
    ]
    kind, value = draw.choice(values)
    return layout.with_entry(index, replace(layout.entries[index], kind=kind, value=value)).build()


def _count(draw: random.Random, layout: Layout) -> bytes:
    """Change a count: tensors, entries, elements of an array."""
    counts = [len(layout.tensors), len(layout.entries)]
    which = draw.randrange(3)
    if which < 2:
        counts[which] = draw.choice([0, counts[which] - 1, counts[which] + 1, 2**31, 2**40, 2**63])
        return replace(layout, counts=tuple(counts)).build()
    index = draw.choice([i for i, e in enumerate(layout.entries) if e.kind == _ARRAY])
    entry = layout.entries[index]
    inner, length = struct.unpack_from("<IQ", entry.value)
    fresh = draw.choice([0, length - 1, length + 1, 2**32, 2**61])
    return layout.with_entry(index, replace(entry, value=struct.pack("<IQ", inner, fresh) + entry.value[12:])).build()


def _shorten(draw: random.Random, layout: Layout) -> bytes:
    """Shorten an array of the metadata: the vocabulary, its scores, its types, its merges."""
    index = draw.choice([i for i, e in enumerate(layout.entries) if e.kind == _ARRAY])
    entry = layout.entries[index]
    inner, length = struct.unpack_from("<IQ", entry.value)
    keep = draw.choice([0, 1, length // 2, max(0, length - 1)])
    at = 12
    for _ in range(keep):
        at = _end_of_value(entry.value, at, inner)
    return layout.with_entry(index, replace(entry, value=struct.pack("<IQ", inner, keep) + entry.value[12:at])).build()


def _element(draw: random.Random, layout: Layout) -> bytes:
    """Change an element of an array: a number of any size, a text that is empty, long or invalid."""
    index = draw.choice([i for i, e in enumerate(layout.entries) if e.kind == _ARRAY])
    entry = layout.entries[index]
    inner, length = struct.unpack_from("<IQ", entry.value)
    which = draw.randrange(length)
    start = 12
    for _ in range(which):
        start = _end_of_value(entry.value, start, inner)
    end = _end_of_value(entry.value, start, inner)
    if inner == _STRING:
        fresh = _packed(draw.choice([b"", b"\xff", b"a" * 5000, b"<|im_end|>", b"a b c", b"<0x"]))
    else:
        width = _WIDTHS[inner]
        fresh = (draw.choice(_EXTREMES) % (1 << 8 * width)).to_bytes(width, "little")
    return layout.with_entry(index, replace(entry, value=entry.value[:start] + fresh + entry.value[end:])).build()


def _drop(draw: random.Random, layout: Layout) -> bytes:
    """Remove an entry or a tensor."""
    if draw.random() < 0.5:
        index = draw.randrange(len(layout.entries))
        return replace(layout, entries=layout.entries[:index] + layout.entries[index + 1 :]).build()
    index = draw.randrange(len(layout.tensors))
    return replace(layout, tensors=layout.tensors[:index] + layout.tensors[index + 1 :]).build()


def _offset(draw: random.Random, layout: Layout) -> bytes:
    """A tensor has a wrong offset: on another one, unaligned, beyond the file."""
    index = draw.randrange(len(layout.tensors))
    tensor = layout.tensors[index]
    fresh = draw.choice([0, 1, tensor.offset + 32, tensor.offset + 1, len(layout.data), 2**40, 2**63, 2**64 - 32])
    return layout.with_tensor(index, replace(tensor, offset=fresh)).build()


def _shape(draw: random.Random, layout: Layout) -> bytes:
    """Change the shape of a tensor: dimensions swapped, smaller, larger, more or fewer."""
    index = draw.randrange(len(layout.tensors))
    tensor = layout.tensors[index]
    shape = list(tensor.shape)
    which = draw.randrange(len(shape))
    shape[which] = draw.choice([0, 1, 32, shape[which] // 2, shape[which] + 32, shape[which] * 2, 2**31, 2**62])
    fresh = draw.choice([tuple(shape), tensor.shape[::-1], (*tensor.shape, 2), (*tensor.shape, 1), tensor.shape[:1]])
    return layout.with_tensor(index, replace(tensor, shape=fresh)).build()


def _tensor_type(draw: random.Random, layout: Layout) -> bytes:
    """Change the type of a tensor."""
    index = draw.randrange(len(layout.tensors))
    kind = draw.choice([0, 1, 2, 8, 9, 10, 15, 24, 26, 28, 30, 4, 36, 99])
    return layout.with_tensor(index, replace(layout.tensors[index], kind=kind)).build()


def _rename(draw: random.Random, layout: Layout) -> bytes:
    """Exchange the names of two tensors."""
    one, other = draw.sample(range(len(layout.tensors)), 2)
    a, b = layout.tensors[one], layout.tensors[other]
    return layout.with_tensor(one, replace(a, name=b.name)).with_tensor(other, replace(b, name=a.name)).build()


KINDS: tuple[Callable[[random.Random, Layout], bytes], ...] = (
    _flip, _truncate, _number, _number, _swap, _retype, _count, _shorten, _element, _drop, _offset, _shape,
    _tensor_type, _rename,
)  # fmt: skip


@functools.lru_cache(16)
def _parse(content: bytes) -> Layout:
    """Return the layout of a good file, of which many mutations are made."""
    return Layout.of(content)


def mutated(content: bytes, seed: int) -> tuple[str, bytes]:
    """Return a description of the mutation, and the mutated file of ``content``; the same for the same seed."""
    draw = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    return kind.__name__.strip("_"), kind(draw, _parse(content))


def run_trials(code: str, path: Path, arguments: Mapping[int, str]) -> dict[int, str]:
    """Return the result of each seed's file in native code: an error's name, "answers", or the signal that killed it.

    ``code`` prints each seed and then its result. It writes the files to ``path``, and gets an argument for each seed.
    """
    outcomes: dict[int, str] = {}
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "GGML_NO_BACKTRACE": "1"}
    while left := [text for seed, text in arguments.items() if seed not in outcomes]:
        command = [sys.executable, "-c", code, str(path), *left]
        child = subprocess.run(command, env=environ, capture_output=True, check=False, text=True)
        lines = [line.split() for line in child.stdout.splitlines()]
        outcomes |= {int(line[0]): line[1] for line in lines if len(line) > 1}
        if child.returncode:
            assert child.returncode < 0 and len(lines[-1]) == 1, child.stderr[-2000:]
            outcomes[int(lines[-1][0])] = str(-child.returncode)
    return outcomes
