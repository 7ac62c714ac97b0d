"""Pseudo-localization: readable text that shows what a translation would break.

Letters get accents, so that untranslated text stands out and encodings are tested. Texts grow by 30%, as in German, so
that narrow layouts show.
"""

from __future__ import annotations

_PLAIN = "aceghijklnorstuwyzACDEGHIJKLNORSTUWYZ"
_ACCENTED = "\u00e4\u00e7\u00e9\u011f\u0125\u00ef\u0135\u0137\u013c\u00f1\u00f6\u0159\u0161\u0163\u00fc\u0175\u00fd\u017e\u00c4\u00c7\u010e\u00c9\u011e\u0124\u00cf\u0134\u0136\u013b\u00d1\u00d6\u0158\u0160\u0162\u00dc\u0174\u00dd\u017d"
_TABLE = str.maketrans(_PLAIN, _ACCENTED)
_VOWELS = frozenset("\u00e4\u00e9\u00ef\u00f6\u00fc")
_GROWTH_SHARE = 0.3
_CHUNK_CHARS = 1 << 16
"""Number of characters that are changed in one native call: megabytes at once would delay signals."""


def add_accents(text: str) -> str:
    """Return ``text`` with accents on its letters, and vowels repeated until it is 30% longer."""
    changed = "".join(text[at : at + _CHUNK_CHARS].translate(_TABLE) for at in range(0, len(text), _CHUNK_CHARS))
    places = [i for i, c in enumerate(changed) if c in _VOWELS] or [i for i, c in enumerate(changed) if c.isalpha()]
    if not places:
        return changed
    each, more = divmod(round(_GROWTH_SHARE * len(text.strip())), len(places))
    times = {place: 1 + each + (index < more) for index, place in enumerate(places)}
    return "".join(character * times.get(index, 1) for index, character in enumerate(changed))


def keep_text(text: str) -> str:
    """Return ``text`` unchanged."""
    return text
