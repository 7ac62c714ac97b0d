import pytest

from llmcli.documents.formats.markup.html_format import INLINE_ELEMENTS, HiddenElements, is_hidden
from llmcli.documents.formats.markup.html_tokenizer import parse_attributes, tokenize_html


def visible_texts(text):
    """Return the texts that are visible in a pass through a page."""
    hidden, seen = HiddenElements(text), []
    for token in tokenize_html(text):
        was_open = hidden.is_open
        if was_open and not hidden.skip(token):
            continue
        if token.kind == "text":
            seen.append(text[token.start : token.end])
        elif token.kind == "open" and is_hidden(text, token, parse_attributes(text, token)):
            hidden.open(token, inline=token.name in INLINE_ELEMENTS)
        elif not was_open:
            hidden.resume(token)
    return seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a<pre>b</pre>c", ["a", "c"]),
        ("<div class='x notranslate'>a<div>b</div>c</div>d", ["d"]),
        ("<p translate=no>a<div>b</div>", ["b"]),
        ("<div translate=no>a<b translate=yes>b</b>c</div>d", ["b", "d"]),
        ("<div translate=no>a<b translate=yes>b<b>c</b></b>d</div>", ["b", "c"]),
        ("<span translate=no>a<b translate=yes>b</b></span>c", ["c"]),
    ],
)
def test_hidden_texts_are_skipped(text, seen):
    """An element hides its content, also nested namesakes, except parts with translate="yes"; code stays hidden."""
    assert visible_texts(text) == seen


def test_a_hidden_inline_element_is_reported():
    """The pass knows where it began, since it becomes a protected text there."""
    hidden = HiddenElements("a <code>b</code>")
    _, opening, _, closing = tokenize_html("a <code>b</code>")
    hidden.open(opening, inline=True)
    assert (hidden.is_open, hidden.is_inline, hidden.start) == (True, True, 2)
    assert not hidden.skip(closing) and not hidden.is_open
