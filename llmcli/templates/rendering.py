"""Rendering of one template."""

from __future__ import annotations

from collections.abc import Mapping


class Template:
    """One compiled template."""

    def __init__(self, source: str) -> None:
        self.source = source

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text."""
        raise NotImplementedError
