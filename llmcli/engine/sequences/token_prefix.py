"""Common prefixes of lists of tokens."""

from __future__ import annotations


def common_prefix_length(a: list[int], b: list[int]) -> int:
    """Return the length of the common prefix of two lists of tokens (slices are compared in C)."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def shared_prefix_length(lists: list[list[int]]) -> int:
    """Return the length of the common prefix of all lists, leaving each at least one more token."""
    shared = min(common_prefix_length(lists[0], other) for other in lists)
    return min(shared, *(len(tokens) - 1 for tokens in lists))
