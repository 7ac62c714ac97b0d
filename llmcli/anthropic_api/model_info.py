"""Lists of models in Anthropic's format. Source: the Claude API reference, "List Models"."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any


def dump_model_info(name: str, created: int) -> dict[str, Any]:
    """Return one model; ``created`` in seconds since the epoch."""
    created_at = dt.datetime.fromtimestamp(created, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": created_at}


def dump_model_page(models: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Return all models as the only page of a list."""
    names = [name for name, _ in models]
    return {
        "data": [dump_model_info(*model) for model in models],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
