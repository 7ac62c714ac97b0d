"""The keys of labels and of the other actions."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.cli.console.key_reader import END_OF_INPUT
from llmcli.errors import UsageError

UNDO, SKIP, QUIT = "u", "s", END_OF_INPUT
_DIGITS = "123456789"


def assign_keys(labels: Sequence[str]) -> dict[str, str]:
    """Return the label of each key: digits for the first nine, and the first letter where it is free.

    Raises ``UsageError`` for a label that gets no key.
    """
    keys = dict(zip(_DIGITS, labels, strict=False))
    taken = {UNDO, SKIP, QUIT}
    for label in labels:
        letter = label[:1].lower()
        if letter and letter.isalpha() and letter not in taken:
            taken.add(letter)
            keys[letter] = label
    unreachable = [label for label in labels if label not in keys.values()]
    if unreachable:
        words = f"no key is left for the label {unreachable[0]}"
        raise UsageError(words, detail="Use nine labels at most, or further ones with first letters of their own.")
    return keys
