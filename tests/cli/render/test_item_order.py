"""The order of results."""

from __future__ import annotations

from llmcli.cli.render.renderer import ItemOrder
from llmcli.errors import EmptyInput
from llmcli.types import Delta, ItemFailed, Result


def test_text_of_the_current_item_is_released_at_once():
    """Text of a later item waits."""
    order = ItemOrder()
    assert list(order.add(Delta("b", 1))) == [] and list(order.add(Delta("a", 0))) == ["a"]
    assert order.current == 0


def test_an_outcome_releases_waiting_text():
    """Pieces come joined, then their outcome; an item is current while its outcome is handled."""
    order, first, second = ItemOrder(), Result(0, "a", ""), ItemFailed(1, "b", EmptyInput("b"))
    for event in (Delta("x", 1), Delta("y", 1), second, Delta("z", 2)):
        assert list(order.add(event)) == []
    released = [(each, order.current) for each in order.add(first)]
    assert released == [(first, 0), ("xy", 1), (second, 1), ("z", 2)] and order.current == 2
