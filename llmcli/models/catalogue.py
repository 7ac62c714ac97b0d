"""The models that llm knows by name, from ``catalogue.yaml`` beside this module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from llmcli.fast_dataclass import field, frozen
from llmcli.models.gguf.tensor_types import nominal_bits

_CATALOGUE_FILE = Path(__file__).with_name("catalogue.yaml")
_MIXED_QUANTIZATION_FACTOR = 1.1  # a quantization keeps some tensors with more bits than its label says


@frozen
class Pin:
    """Exactly one file: its path in the repository, commit, size in bytes and SHA-256 in hexadecimal digits."""

    file: str
    revision: str
    size: int
    sha256: str


@frozen
class HubSource:
    """The repository of the entry on the Hub."""


@frozen
class WheelSource:
    """A wheel on the Python package index: ``requirement`` is NAME==VERSION, ``member`` the path inside it."""

    requirement: str
    member: str


@frozen
class CatalogueEntry:
    """A model known by name. ``memory`` in GiB is advice; ``pin`` is None if size and hash come from the Hub.

    As its makers document it: ``parameters`` in billions, of which ``active`` are read for a token (None: all), the
    ``context`` in tokens and the shape of the ``attention`` (layers, kv_heads, head); 0 and {} if unknown. ``codes``
    are BCP 47 tags of its documented languages. ``strong``: those of its ``tasks`` in which it is good for its size.
    """

    name: str
    about: str
    repo: str
    quantizations: tuple[str, ...]
    licence: str
    languages: str
    tasks: tuple[str, ...]
    memory: int
    pin: Pin | None
    sources: tuple[HubSource | WheelSource, ...]
    parameters: float = 0
    active: float | None = None
    context: int = 0
    attention: Mapping[str, int] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the preferred quantization: exact for a pinned file, otherwise approximate; 0 if unknown."""
        if self.pin is not None:
            return self.pin.size
        bits = nominal_bits(self.quantizations[0]) or 0
        return int(self.parameters * 1e9 * bits / 8 * _MIXED_QUANTIZATION_FACTOR)


def catalogue_names() -> list[str]:
    """Return the names in the catalogue's order; scans lines, since completion has no time for a YAML parser."""
    return re.findall(r"^([a-z0-9][a-z0-9.-]*):", _CATALOGUE_FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)


@cache
def load_catalogue() -> Mapping[str, CatalogueEntry]:
    """Return all entries by name, in the catalogue's order."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = yaml.load(_CATALOGUE_FILE.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (a safe loader, the quicker one)
    return {name: _parse_entry(name, fields) for name, fields in data.items()}


def _parse_entry(name: str, fields: dict[str, Any]) -> CatalogueEntry:
    pinned = fields.pop("pinned", None)
    sources = tuple(_parse_source(source) for source in fields.pop("sources", ["hub"]))
    for key in ("quantizations", "tasks", "strong", "codes"):
        fields[key] = tuple(fields.get(key, ()))
    return CatalogueEntry(name=name, pin=None if pinned is None else Pin(**pinned), sources=sources, **fields)


def _parse_source(source: str | dict[str, str]) -> HubSource | WheelSource:
    return HubSource() if isinstance(source, str) else WheelSource(source["wheel"], source["member"])
