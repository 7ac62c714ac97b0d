"""Values of several passages become one."""

from __future__ import annotations

from llmcli.tasks.extract.answer_values import ExtractedValue
from llmcli.tasks.extract.value_merging import drop_equal, iter_found, merge_objects, to_plain


def found(value, probability=None):
    return ExtractedValue(value, None, probability)


def test_the_likeliest_of_a_value_and_all_items_of_lists_are_kept():
    """Null counts only if no passage has the value."""
    trees = [
        {"name": found("A", 0.2), "n": None, "tags": [found("x"), found("y")], "seller": {"id": None}},
        {"name": found("B", 0.9), "n": None, "tags": [found("X"), found("z")], "seller": {"id": found(1)}},
        {"name": None, "n": None, "tags": [], "seller": {"id": None}},
    ]
    merged = merge_objects(trees)
    assert to_plain(merged) == {"name": "B", "n": None, "tags": ["x", "y", "z"], "seller": {"id": 1}}
    assert [path for path, _ in iter_found(merged)] == ["name", "tags[0]", "tags[1]", "tags[2]", "seller.id"]
    assert merge_objects([]) is None


def test_equal_objects_are_counted():
    """Objects without any value are no objects."""
    kept, equal = drop_equal([{"a": found("x")}, {"a": None}, {"a": found("X")}])
    assert (to_plain(kept), equal) == ([{"a": "x"}], 1)
