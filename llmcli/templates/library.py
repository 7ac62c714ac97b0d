"""Finding prompt files: the user's directory before the built-in ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmcli.templates.schema import Prompt


@dataclass(frozen=True)
class PromptSummary:
    """One line of ``llm prompts list``. ``own``: the file is the user's. ``description`` is empty when it is broken."""

    name: str
    description: str
    origin: Path
    own: bool


@dataclass(frozen=True)
class Problem:
    """Something wrong with a prompt file; ``line`` counts from 1, None where no line can be named."""

    name: str
    origin: Path
    line: int | None
    message: str


class Library:
    """The prompt files of one user."""

    def __init__(self, user: Path, builtin: Path | None = None) -> None:
        """``user`` need not exist; ``builtin`` None: where this installation keeps them."""
        raise NotImplementedError

    def names(self, prefix: str = "") -> list[str]:
        """Return all names that start with ``prefix``, sorted; no file is opened (completion asks this)."""
        raise NotImplementedError

    def list(self, prefix: str = "") -> list[PromptSummary]:
        """Return a summary of each prompt whose name starts with ``prefix``, sorted by name."""
        raise NotImplementedError

    def get(self, name: str) -> Prompt:
        """Return a prompt.

        Raises ``MissingError`` (kind "prompt", with suggestions), ``ConfigError`` when the file is bad: all its
        problems at once, and ``UsageError`` when ``name`` cannot be a name.
        """
        raise NotImplementedError

    def path(self, name: str) -> Path:
        """Return the file of a prompt, unparsed (``llm prompts show`` and ``edit``). Raises as ``get`` does."""
        raise NotImplementedError

    def check(self, name: str | None = None) -> list[Problem]:
        """Return what is wrong with one prompt, or with all: what ``get`` would raise, and breaches of contract."""
        raise NotImplementedError

    def new(self, name: str, source: str | None = None) -> Path:
        """Copy the prompt ``source`` (default: ``name`` itself) to a file of the user's own called ``name``.

        Raises ``MissingError`` for the source, ``CannotCreate`` (``exists`` where the user has such a file already).
        """
        raise NotImplementedError
