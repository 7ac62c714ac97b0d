"""The models that llm knows by name; ``catalogue.yaml`` beside this module is the data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

STARTER = "smollm2-135m"
_FILE = Path(__file__).with_name("catalogue.yaml")


@dataclass(frozen=True, slots=True)
class Pin:
    """Exactly one file: its path in the repository, commit, size in bytes and SHA-256 in hexadecimal digits."""

    file: str
    revision: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class HubSource:
    """The repository of the entry on the Hub."""


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A wheel on the Python package index: ``requirement`` is NAME==VERSION, ``member`` the path inside it."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model known by name. ``memory`` in GiB is advice; ``pin`` is None where size and hash come from the Hub."""

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


def catalogue_names() -> list[str]:
    """Return the names in the catalogue's order; a line scan, since completion has no time for a YAML parser."""
    return re.findall(r"^([a-z0-9][a-z0-9.-]*):", _FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)


@cache
def load_catalogue() -> Mapping[str, CatalogueEntry]:
    """Return all entries by name, in the catalogue's order."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = yaml.load(_FILE.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (a safe loader, the quicker one)
    return {name: _entry(name, fields) for name, fields in data.items()}


def _entry(name: str, fields: dict[str, Any]) -> CatalogueEntry:
    pinned = fields.pop("pinned", None)
    sources = tuple(_source(source) for source in fields.pop("sources", ["hub"]))
    for key in ("quantizations", "tasks"):
        fields[key] = tuple(fields[key])
    return CatalogueEntry(name=name, pin=None if pinned is None else Pin(**pinned), sources=sources, **fields)


def _source(source: str | dict[str, str]) -> HubSource | WheelSource:
    return HubSource() if isinstance(source, str) else WheelSource(source["wheel"], source["member"])
