"""What a check of ``llm doctor`` finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FindingState(StrEnum):
    """A problem stops work; a warning is worth a look; what is untested was looked at only as far as the text says."""

    OK = "ok"
    UNTESTED = "untested"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: one line of ``text``, what to do ``next``, and ``data`` for ``--json``."""

    state: FindingState
    text: str
    next: str = ""
    data: dict[str, Any] = field(default_factory=dict)
