"""The findings of the checks of ``llm doctor``."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from llmcli.fast_dataclass import field, frozen


class FindingState(StrEnum):
    """A problem stops work; a warning deserves attention; untested was checked only as far as the text says."""

    OK = "ok"
    UNTESTED = "untested"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Finding:
    """What one check found: one line of ``text``, the ``next`` step, and ``data`` for ``--json``."""

    state: FindingState
    text: str
    next: str = ""
    data: dict[str, Any] = field(default_factory=dict)
