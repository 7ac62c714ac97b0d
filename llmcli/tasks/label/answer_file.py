"""The answers of a person, on disk before the next question: one JSON line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcli.errors import UsageError
from llmcli.files.synced_lines import SyncedLines

VERSION = 1


class AnswerFile:
    """Labels by row number, appended to ``path`` and synced. A skipped row has the label None.

    The first line is the ``identity`` of the question: JSON values such as the input's hash and the labels. A last line
    that was cut off by a crash is removed. Another process cannot open the file at the same time.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Open or create the file.

        Raises ``UsageError`` if it belongs to other rows or labels or is in use, ``BadDocument`` if it is damaged, and
        ``CannotCreate``.
        """
        self.path = path
        self._order: list[tuple[int, str | None]] = []
        head = {"version": VERSION, **identity}
        self._lines = SyncedLines(path, "llm label")
        try:
            self._load(json.loads(json.dumps(head)))
        except BaseException:
            self.close()
            raise

    def _load(self, head: Mapping[str, Any]) -> None:
        lines = self._lines.read()
        if not lines:
            self._lines.append(head)
            return
        first, *events = lines
        for number, event in enumerate(events, 2):
            try:
                self._apply(event)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                raise self._lines.damage(number, "it is no answer") from error
        if first != head:
            words = f"{self.path} has answers for other rows or labels"
            raise UsageError(words, detail="Use the same input and labels, or remove it to begin again.")

    def _apply(self, event: Mapping[str, Any]) -> None:
        if event.get("undo"):
            self._order.pop()
        else:
            self._order.append((int(event["row"]), None if event["label"] is None else str(event["label"])))

    @property
    def labels(self) -> dict[int, str]:
        """The labels by row number, in the order of the answers."""
        return {row: label for row, label in self._order if label is not None}

    @property
    def skipped(self) -> set[int]:
        """The rows that were skipped."""
        return {row for row, label in self._order if label is None}

    def add(self, row: int, label: str | None) -> None:
        """Store an answer; None skips the row. Raises ``CannotCreate`` when it cannot be written."""
        event = {"row": row, "label": label}
        self._lines.append(event)
        self._apply(event)

    def undo(self) -> int | None:
        """Take back the last answer, or skip, and return its row; None if there is none."""
        if not self._order:
            return None
        row = self._order[-1][0]
        self._lines.append({"undo": True})
        self._order.pop()
        return row

    def close(self) -> None:
        """Close the file; what it has stays."""
        self._lines.close()
