"""The plural forms of languages by CLDR's categories (zero, one, two, few, many, other), and their sources.

Source: Unicode CLDR 47, cardinal plural rules. Languages without an entry have "one" and "other", as English has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial

from llmcli.documents.segments import Edit, Segment, protected_texts
from llmcli.fast_dataclass import frozen, replace

CATEGORIES = ("zero", "one", "two", "few", "many", "other")
_ONE_AND_OTHER = "one 1; other 0, 2, 3, 4"
_MILLIONS = "many 1000000, 2000000"
_BY_LANGUAGES = {
    "ii ja jv kde kea km ko lo ms my nqo ses sg su th to vi wo yo yue zh bm bo dz hnj id ig lkt osa sah": "other 0, 1, 2, 3, 4",
    "ak am as bn csw doi fa ff gu guw hi hy kab kn kok ln mg nso pa pcm si tg ti wa zu bho": "one 0, 1; other 2, 3, 4, 5",
    "ceb fil tl": "one 0, 1, 2, 3, 5; other 4, 6, 9, 14",
    "is mk": "one 1, 21, 31, 41; other 0, 2, 3, 4",
    "he iu naq sat se sma smi smj smn sms": "one 1; two 2; other 0, 3, 4, 5",
    "ca es gl it lld pt-pt scn vec": f"one 1; {_MILLIONS}; other 0, 2, 3, 4",
    "fr pt": f"one 0, 1; {_MILLIONS}; other 2, 3, 4, 5",
    "blo cv ksh lag": "zero 0; one 1; other 2, 3, 4",
    "lv prg": "zero 0, 10, 11, 12; one 1, 21, 31, 41; other 2, 3, 4, 5",
    "bs hr sh sr": "one 1, 21, 31, 41; few 2, 3, 4, 22; other 0, 5, 6, 7",
    "shi": "one 0, 1; few 2, 3, 4, 5; other 11, 12, 13",
    "mo ro": "one 1; few 0, 2, 3, 4; other 20, 21, 22",
    "lt": "one 1, 21, 31, 41; few 2, 3, 4, 5; many 1.5, 2.5; other 0, 10, 11, 12",
    "be ru uk": "one 1, 21, 31, 41; few 2, 3, 4, 22; many 0, 5, 6, 7; other 1.5, 2.5",
    "cs sk": "one 1; few 2, 3, 4; many 1.5, 2.5; other 0, 5, 6, 7",
    "pl": "one 1; few 2, 3, 4, 22; many 0, 5, 6, 7; other 1.5, 2.5",
    "dsb hsb sl": "one 1, 101; two 2, 102; few 3, 4, 103; other 0, 5, 6, 7",
    "gd": "one 1, 11; two 2, 12; few 3, 4, 5, 6; other 0, 20, 21, 22",
    "gv": "one 1, 11, 21, 31; two 2, 12, 22, 32; few 0, 20, 40, 60; many 1.5, 2.5; other 3, 4, 5, 6",
    "ga": "one 1; two 2; few 3, 4, 5, 6; many 7, 8, 9, 10; other 0, 11, 12, 13",
    "sgs": "one 1, 21, 31, 41; two 2; few 3, 4, 5, 6; many 1.5, 2.5; other 0, 10, 11, 12",
    "br": f"one 1, 21, 31, 41; two 2, 22, 32, 42; few 3, 4, 9, 23; {_MILLIONS}; other 0, 5, 6, 7",
    "mt": "one 1; two 2; few 0, 3, 4, 5; many 11, 12, 13, 14; other 20, 21, 22",
    "ar ars": "zero 0; one 1; two 2; few 3, 4, 5, 6; many 11, 12, 13, 14; other 100, 101, 102",
    "cy": "zero 0; one 1; two 2; few 3; many 6; other 4, 5, 7, 8",
    "kw": "zero 0; one 1; two 2, 22, 42, 62; few 3, 23, 43, 63; many 21, 41, 61, 81; other 4, 5, 6, 7",
}  # fmt: skip
"""The categories of languages, each with the first numbers that it stands for."""
_RULES = {language: rule for languages, rule in _BY_LANGUAGES.items() for language in languages.split()}


@cache
def plural_categories(language: str) -> dict[str, str]:
    """Return the categories of a BCP 47 code in the order of CLDR, each with examples of its numbers."""
    code = language.lower().replace("_", "-")
    rule = _RULES.get(code) or _RULES.get(code.partition("-")[0], _ONE_AND_OTHER)
    pairs = (each.partition(" ") for each in rule.split("; "))
    return {category: numbers for category, _, numbers in pairs}


@frozen
class PluralForm:
    """A form that the target language needs.

    ``category`` of CLDR; ``source``: the category of the document whose text it translates; ``is_new``: the document
    has no such form yet. ``note`` is for the translator.
    """

    category: str
    source: str
    is_new: bool
    note: str


def plan_plural_forms(
    present: Sequence[str], language: str, *, one_fits_all: bool = True, keeps_all: bool = False
) -> list[PluralForm]:
    """Return the forms that ``language`` needs of a message with the forms ``present``, new ones right before "other".

    A form that is present stays, unless the language lacks its category and not ``keeps_all``; "zero" always stays.
    Without ``one_fits_all`` the text for "one" names no number, so that it translates only a category of the number 1
    alone.
    """
    needed = plural_categories(language)
    forms: list[PluralForm] = []
    for category in [*(each for each in present if each != "other"), *needed]:
        if category in {form.category for form in forms}:
            continue
        if category not in needed and category != "zero" and category in CATEGORIES and not keeps_all:
            continue
        is_own = category in present and category != "one"
        singular = "one" in present and category == "one" and (one_fits_all or needed.get("one", "1") == "1")
        source = category if is_own else "one" if singular else "other"
        if source not in present:
            continue
        numbers = needed.get(category, "")
        note = f"plural form for the numbers {numbers}, ..." if numbers and not numbers.isdigit() else ""
        note = note or (f"form for the number {numbers}" if numbers else "")
        forms.append(PluralForm(category, source, category not in present, note))
    return forms


@frozen
class PluralItem:
    """A form in a document: its segment (None without words), and the text of the segment's region as it is.

    The path of the segment ends with its category. ``start`` and ``end``: what is removed with it. ``insertion``: the
    offset where forms before it are inserted, each between the two texts that ``around`` returns for its category.
    """

    segment: Segment | None
    written: str
    start: int
    end: int
    insertion: int
    around: Callable[[str], tuple[str, str]]


def plural_segments(items: Mapping[str, PluralItem], language: str, *, keeps_all: bool = False) -> list[Segment]:
    """Return the segments of a message by the categories of its forms, in order, with those that ``language`` adds.

    Either all forms of a message are translated, or those that fail have the text of the source. Forms that the
    language lacks are removed, unless ``keeps_all``.
    """
    last = items.get("other")
    if last is None or last.segment is None or not language:
        return _in_order(item.segment for item in items.values() if item.segment)
    singular = items.get("one")
    one_fits_all = bool(singular and singular.segment and _marks(singular.segment) == _marks(last.segment))
    forms = plan_plural_forms(list(items), language, one_fits_all=one_fits_all, keeps_all=keeps_all)
    needed = {form.category for form in forms}
    surplus = tuple(
        Edit(item.start, item.end, "")
        for category, item in items.items()
        if category in CATEGORIES and category not in needed
    )
    found = []
    for form in forms:
        segment = items[form.source].segment
        if segment is None:
            continue
        before, after = last.around(form.category) if form.is_new else ("", "")
        own = items[form.source if form.is_new else form.category]
        if own.segment is None:
            continue
        start, end = (last.insertion, last.insertion) if form.is_new else (own.segment.start, own.segment.end)
        found.append(
            replace(
                segment,
                start=start,
                end=end,
                encode=partial(_encode_between, encode=segment.encode, before=before, after=after),
                note="\n".join(filter(None, (segment.note, form.note))),
                path=(*segment.path[:-1], segment.path[-1].removesuffix(form.source) + form.category),
                extra_edits=(*segment.extra_edits, *surplus),
                fallback=(last.insertion, before + own.written + after),
            )
        )
    return _in_order(found)


def _in_order(segments: Iterable[Segment]) -> list[Segment]:
    return sorted(segments, key=lambda segment: (segment.start, segment.end))


def _marks(segment: Segment) -> tuple[str, ...]:
    return tuple(sorted(protected_texts(segment.text, segment.protected)))


def _encode_between(translation: str, *, encode: Callable[[str], str], before: str, after: str) -> str:
    return before + encode(translation) + after
