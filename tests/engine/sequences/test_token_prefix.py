"""Common prefixes of lists of tokens."""

from __future__ import annotations

from engine.tools import for_all
from hypothesis import strategies as st

from llmcli.engine.sequences.sequence import common_prefix_length, shared_prefix_length


def counted(lists) -> int:
    """Compare token by token."""
    length = 0
    while all(length < len(tokens) and tokens[length] == lists[0][length] for tokens in lists):
        length += 1
    return length


@for_all(st.lists(st.lists(st.integers(0, 1), max_size=12), min_size=2, max_size=2))
def test_the_common_prefix_is_the_longest(pair):
    """Comparing slices gives the same result as comparing token by token."""
    assert common_prefix_length(*pair) == counted(pair)


@for_all(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), min_size=1, max_size=4))
def test_each_list_keeps_a_token_of_its_own(lists):
    """The shared part ends before the last token of the shortest list."""
    assert shared_prefix_length(lists) == min(counted(lists), min(map(len, lists)) - 1)
