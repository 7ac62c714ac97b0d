"""Windows hold every character once, fit a context, and begin where a word begins."""

from __future__ import annotations

import pytest

from llmcli.tasks.proofread import MIN_CONTEXT_TOKENS, cut_windows, window_sizes

TEXTS = {
    "words": "It is a text with words of several lengths. " * 50,
    "lines": "one\r\ntwo\n\n\nthree \t four\n" * 60,
    "Chinese": "\u4f60\u597d\u4e16\u754c" * 200,
    "a word without end": "x" * 1000,
    "accents": "\u00e9t\u00e9 \u00e0 la plage " * 60,
    "faces": "\U0001f600" * 300,
    "blanks": "a" + " " * 700 + "b",
    "one character": "a",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize(("window_bytes", "context_bytes"), [(100, 40), (64, 1), (7, 3)])
def test_windows_hold_every_character_once(text, window_bytes, context_bytes):
    """They follow each other, and neither they nor their contexts are too long."""
    windows = list(cut_windows(f"\n {text} \n", window_bytes, context_bytes))
    assert "".join(f"\n {text} \n"[each.start : each.end] for each in windows) == text.strip()
    for each in windows:
        assert 0 < len(f"\n {text} \n"[each.start : each.end].encode()) <= window_bytes
        assert len(f"\n {text} \n"[each.context_start : each.start].encode()) <= context_bytes
        assert each.context_start >= windows[0].start
    assert all(each.context_start < each.start for each in windows[1:] if context_bytes >= 4)


def test_no_word_is_divided():
    """A window ends before white space, and its context begins with a word."""
    text = TEXTS["words"]
    for each in list(cut_windows(text, 100, 40))[1:]:
        assert text[each.start] == " " and text[each.start - 1] != " "
        assert text[each.context_start - 1] == " " and text[each.context_start] != " "


def test_a_blank_text_has_no_window():
    """There is nothing to score."""
    assert list(cut_windows(" \n\t ")) == list(cut_windows("")) == []


@pytest.mark.parametrize("context", [MIN_CONTEXT_TOKENS, 512, 8192])
def test_windows_fit_the_context_at_one_token_for_each_byte(context):
    """So no text has to be counted before."""
    window_bytes, context_bytes = window_sizes(context)
    assert window_bytes + context_bytes < context and window_bytes > context_bytes > 0
