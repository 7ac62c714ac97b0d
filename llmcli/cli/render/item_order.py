"""The order of results: events of a later item are kept until all items before it have ended."""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.types import Delta, ItemFailed, Result


class _PendingItem:
    """The state of one item: text received before it can be shown, and its outcome."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.outcome: Result | ItemFailed | None = None


class ItemOrder:
    """Releases texts and outcomes in the order of their items; ``current`` is the item that is shown."""

    def __init__(self) -> None:
        self._pending: dict[int, _PendingItem] = {}
        self.current = 0

    def add(self, event: Delta | Result | ItemFailed) -> Iterator[str | Result | ItemFailed]:
        """Add an event and yield what can be shown now: text of the current item, and outcomes.

        An item is current until its yielded outcome has been handled.
        """
        added = self._pending.setdefault(event.item, _PendingItem())
        if isinstance(event, Delta):
            added.pieces.append(event.text)
        else:
            added.outcome = event
        while (item := self._pending.get(self.current)) is not None:
            text, item.pieces = "".join(item.pieces), []
            if text:
                yield text
            if item.outcome is None:
                return
            yield item.outcome
            del self._pending[self.current]
            self.current += 1
