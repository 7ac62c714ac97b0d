"""The pictures of a chat in the documentation show what a chat writes now."""

from __future__ import annotations

import importlib
from xml.etree import ElementTree as ET

import pytest
from terminal import ROOT

REDRAW = "Draw them again: python docs/make_chat_svg.py"


def texts(svg):
    """Return the texts of a picture; how rich draws them may change with its version."""
    return [each.text for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_pictures_show_a_chat(chat_server, monkeypatch, columns):
    """On dark and light terminals of three widths."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    pictures = importlib.import_module("make_chat_svg")
    rows = dict(pictures.SIZES)[columns]
    raw = pictures.converse(chat_server, columns, rows)
    for name, theme in pictures.THEMES.items():
        kept = (ROOT / "docs" / "images" / f"chat-{columns}-{name}.svg").read_text(encoding="utf-8")
        assert texts(kept) == texts(pictures.draw(raw, columns, rows, theme)), REDRAW
