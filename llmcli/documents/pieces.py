"""Cutting text without losing a character."""

from __future__ import annotations

from collections.abc import Callable


def paragraphs(text: str) -> list[str]:
    """Cut after blank lines; joined, the pieces are ``text``."""
    raise NotImplementedError


def sentences(text: str) -> list[str]:
    """Cut after sentences and line ends; joined, the pieces are ``text``."""
    raise NotImplementedError


def chunk(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Cut into as few pieces that ``fits`` accepts as greedy filling gives; joined, they are ``text``."""
    raise NotImplementedError
