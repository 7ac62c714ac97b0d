"""Active control sequences never reach a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.cli.console.sanitize import Sanitizer, single_line, strip_controls

ALPHABET = st.text(
    alphabet=st.sampled_from("ab\n\t\x1b[]P;?0m1Hz\x07\x9b\x9d\x9c\\\x7f\r\x00\u202e\u2066\U000e0041\u200dé😀/ ")
)


@pytest.mark.parametrize(
    ("dirty", "harmless"),
    [
        ("a\x1b[31mb\x1b[0m", "ab"),
        ("a\x1b[2J\x1b[Hb", "ab"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]52;c;aGk=\x1b\\b", "ab"),
        ("a\x1bPq...\x1b\\b", "ab"),
        ("a\x1b(0b", "ab"),
        ("a\x1bcb", "ab"),
        ("a\x9b31mb", "ab"),
        ("a\x9d0;title\x9cb", "ab"),
        ("a\x08\x07\x00\x7f\rb", "ab"),
        ("a\u202eb\u2066c", "abc"),
        ("a\U000e0001b\U000e0041\U000e007fc", "abc"),
        ("\u0e01\u200b\u0e02 \u0645\u200c\u06cc 👩\u200d💻", "\u0e01\u200b\u0e02 \u0645\u200c\u06cc 👩\u200d💻"),
        ("tab\tand\nnewline", "tab\tand\nnewline"),
        ("👩\u200d👧 na\u00efve", "👩\u200d👧 na\u00efve"),
        ("a\x1b]0;never ended\nb", "a\nb"),
        ("a\x1b[31\nb", "a\nb"),
    ],
)
def test_active_sequences_are_removed_completely(dirty, harmless):
    """A sequence is removed with its parameters; tabs and newlines stay; an unfinished one removes at most a line."""
    assert strip_controls(dirty) == harmless


@given(st.lists(ALPHABET))
def test_splits_do_not_matter(chunks):
    """Any way to split a text gives the same result."""
    sanitizer = Sanitizer()
    assert "".join(sanitizer.feed(chunk) for chunk in chunks) == strip_controls("".join(chunks))


@given(st.text())
def test_nothing_active_is_left(text):
    """The result has no control character except tab and newline."""
    assert not any((ord(char) < 32 and char not in "\t\n") or 0x7F <= ord(char) < 0xA0 for char in strip_controls(text))


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cf", "Cs"))))
def test_plain_text_passes_unchanged(text):
    """Text without controls does not change."""
    assert strip_controls(text) == text


def test_a_name_is_one_line():
    """A name with line breaks cannot fake another message."""
    assert single_line("a\nllm: fine\x1b[1m") == "a llm: fine"
