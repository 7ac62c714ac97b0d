"""Pseudo-localisation: text that anybody can read and that shows what a translation would break.

Letters get accents, so that what is not translated stands out and encodings are tried; texts grow by 30%, as German
does, so that what is too narrow shows.
"""

from __future__ import annotations

_PLAIN = "aceghijklnorstuwyzACDEGHIJKLNORSTUWYZ"
_ACCENTED = "\u00e4\u00e7\u00e9\u011f\u0125\u00ef\u0135\u0137\u013c\u00f1\u00f6\u0159\u0161\u0163\u00fc\u0175\u00fd\u017e\u00c4\u00c7\u010e\u00c9\u011e\u0124\u00cf\u0134\u0136\u013b\u00d1\u00d6\u0158\u0160\u0162\u00dc\u0174\u00dd\u017d"
_TABLE = str.maketrans(_PLAIN, _ACCENTED)
_VOWELS = frozenset("\u00e4\u00e9\u00ef\u00f6\u00fc")
_GROWTH = 0.3
_CHUNK = 1 << 16
"""Characters that are changed in one native call: of megabytes it would hold back signals."""


def accents(text: str) -> str:
    """Return ``text`` with accents on its letters, and vowels repeated until it is 30% longer."""
    changed = "".join(text[at : at + _CHUNK].translate(_TABLE) for at in range(0, len(text), _CHUNK))
    places = [i for i, c in enumerate(changed) if c in _VOWELS] or [i for i, c in enumerate(changed) if c.isalpha()]
    if not places:
        return changed
    each, more = divmod(round(_GROWTH * len(text.strip())), len(places))
    times = {place: 1 + each + (index < more) for index, place in enumerate(places)}
    return "".join(character * times.get(index, 1) for index, character in enumerate(changed))


def identity(text: str) -> str:
    """Return ``text``."""
    return text
