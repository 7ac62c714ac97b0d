"""Apple's string catalogs (.xcstrings): JSON with all languages, into which one more is written.

A text whose translation is missing or of the state "new" is translated, with the plural forms of the language. The
translation gets the state "needs_review". Source: "Localizing and varying text with a string catalog"
(developer.apple.com), and what Xcode 16 writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.formats.markup.message_markdown import protect_markdown
from llmcli.documents.formats.message_files.json_messages import parse_strings
from llmcli.documents.formats.message_files.plural_categories import plan_plural_forms
from llmcli.documents.json_values import dump_text, dump_value, object_members, parse_json
from llmcli.documents.protected_spans import find_message_syntax
from llmcli.documents.segments import Segment, has_letters, protected_texts
from llmcli.documents.text_cleaning import detect_newline, double_percent, write_translation
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, frozen, replace, slotted

_UNTRANSLATED = "new"
_TRANSLATED = "needs_review"
_MAX_DEPTH = 50
_CONTROL = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_INDENT = re.compile(r"\{[ \t]*(?:\r\n|\r|\n)(?P<indent>[ \t]+)\"")


@frozen
class _Layout:
    """The layout of a catalog: its line ends ("" for one line), one level of its indent, and what separates a key."""

    newline: str
    indent: str
    colon: str

    def line(self, depth: int) -> str:
        """Return what begins a line inside of ``depth`` objects."""
        return self.newline + self.indent * depth


@slotted
class _CatalogEntry:
    """A key of a catalog: its value, the offset of that, and where its last member ends (-1 without members).

    ``localizations`` are the places of its values by language; ``inner``: the offsets between the braces around them.
    """

    key: str
    value: Mapping[str, Any]
    start: int
    end: int
    members_end: int = -1
    localizations: dict[str, tuple[int, int]] = field(default_factory=dict)
    inner: tuple[int, int] | None = None

    @property
    def is_translatable(self) -> bool:
        """Whether the program uses it, and wants it to be translated."""
        return self.value.get("extractionState") != "stale" and self.value.get("shouldTranslate") is not False

    def localization(self, language: str) -> dict[str, Any]:
        """Return what the catalog has in a language."""
        known = self.value.get("localizations")
        value = known.get(language) if isinstance(known, dict) else None
        return value if isinstance(value, dict) else {}


@frozen
class _Hole:
    """The state and the value of a text in a new localization: the text to translate, its path, and the depth there."""

    text: str
    path: tuple[str, ...]
    note: str
    depth: int


class StringCatalogFormat(DocumentFormat):
    """Apple's string catalogs."""

    name = "xcstrings"
    can_interleave = False
    holds_both_languages = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the texts that may be translated; those that are include their translation."""
        source, entries = _read_catalog(text)
        if target.lower() == source.lower():
            return []
        layout = _detect_layout(text)
        return [
            segment
            for entry in entries
            if entry.is_translatable
            for segment in _entry_segments(entry, source, target, layout)
        ]

    def check(self, text: str) -> str:
        """Parse the JSON again."""
        try:
            _read_catalog(text)
        except BadDocument as error:
            return f"line {error.line}: {error.detail}"
        return ""

    def merge_earlier(self, earlier: str, text: str) -> str:
        """Return ``text`` with the localizations that ``earlier`` has for the same key with the same source.

        If both have the same keys, the result is ``earlier``, byte for byte.
        """
        source, ours = _read_catalog(text)
        theirs = {entry.key: entry for entry in _read_catalog(earlier)[1]}
        same = [
            entry
            for entry in ours
            if entry.key in theirs and entry.localization(source) == theirs[entry.key].localization(source)
        ]
        if len(same) == len(ours) == len(theirs):
            return earlier
        layout, parts, at = _detect_layout(text), list[str](), 0
        for entry in same:
            known = theirs[entry.key].localizations
            missing = [language for language in known if language not in entry.localizations]
            if missing:
                start, end, before, after = _place(entry, missing[0], layout)
                between = [f",{layout.line(4)}{dump_text(each)}{layout.colon}" for each in missing]
                values = [earlier[slice(*known[each])] for each in missing]
                more = [piece for pair in zip(between[1:], values[1:], strict=True) for piece in pair]
                parts += [text[at:start], before, values[0], *more, after]
                at = end
        return "".join([*parts, text[at:]])


def _read_catalog(text: str) -> tuple[str, list[_CatalogEntry]]:
    """Return the source language and the entries. Raises ``BadDocument``."""
    at = int(text.startswith("\ufeff"))
    if not text[at:].strip(" \t\r\n"):
        return "", []
    parse_strings(text)  # raises with the line
    try:
        return _read_entries(text, at + len(text[at:]) - len(text[at:].lstrip(" \t\r\n")))
    except RecursionError as error:
        raise BadDocument(line=1, detail="nested too deeply") from error


def _read_entries(text: str, at: int) -> tuple[str, list[_CatalogEntry]]:
    top = {name: (start, end) for name, start, end in object_members(text, at)} if text[at] == "{" else {}
    if "strings" not in top or text[top["strings"][0]] != "{":
        raise BadDocument(line=1, detail="no string catalog: it has no strings")
    language = parse_json(text[slice(*top["sourceLanguage"])])[0] if "sourceLanguage" in top else "en"
    entries = []
    for key, start, end in object_members(text, top["strings"][0]):
        value = parse_json(text[start:end])[0]
        if isinstance(value, dict) and isinstance(value.get("localizations", {}), dict):
            entry = _CatalogEntry(key, value, start, end)
            for name, first, last in object_members(text, start):
                entry.members_end = last
                if name == "localizations":
                    entry.inner = first + 1, last - 1
                    entry.localizations = {each: (a, b) for each, a, b in object_members(text, first)}
            entries.append(entry)
    return str(language), entries


def _detect_layout(text: str) -> _Layout:
    found = _INDENT.search(text)
    colon = " : " if re.search(r"\"strings\"\s+:", text) else ": "
    return _Layout(detect_newline(text), found["indent"], colon) if found else _Layout("", "", colon)


def _place(entry: _CatalogEntry, language: str, layout: _Layout) -> tuple[int, int, str, str]:
    """Return the region of a localization, and what is written before and after it there."""
    key = f"{layout.line(4)}{dump_text(language)}{layout.colon}"
    if language in entry.localizations:
        return (*entry.localizations[language], "", "")
    if entry.localizations and entry.inner:
        before = [place for name, place in entry.localizations.items() if name < language]
        if before:
            end = max(end for _, end in before)
            return end, end, f",{key}", ""
        return entry.inner[0], entry.inner[0], key, ","
    if entry.inner:
        return (*entry.inner, key, layout.line(3))
    opening = f'{layout.line(3)}"localizations"{layout.colon}{{{key}'
    closing = f"{layout.line(3)}}}"
    if entry.members_end >= 0:
        return entry.members_end, entry.members_end, f",{opening}", closing
    return entry.start + 1, entry.end - 1, opening, closing + layout.line(2)


def _entry_segments(entry: _CatalogEntry, source: str, target: str, layout: _Layout) -> list[Segment]:
    """Return the segments of a key, which write its localization together."""
    original = entry.localization(source) or {"stringUnit": {"value": entry.key}}
    known = dict(_string_units(entry.localization(target), ()))
    is_translated = bool(known) and not any(unit.get("state") == _UNTRANSLATED for unit in known.values())
    start, end, before, after = _place(entry, target, layout)
    found: list[Segment] = []
    for part in [*_render(original, target, layout, 5, (), str(entry.value.get("comment", ""))), after]:
        segment = _hole_segment(part, entry, layout, before) if isinstance(part, _Hole) else None
        if segment is None:
            before += (
                part if isinstance(part, str) else _write_unit(dump_text(part.text), part.depth, _TRANSLATED, layout)
            )
            continue
        if is_translated:
            unit = known.get(segment.path[1:]) or next(iter(known.values()))
            segment = replace(segment, existing_translation=str(unit.get("value", "")) or segment.text)
        place = (end, end) if found else (start, end)
        found.append(replace(segment, start=place[0], end=place[1]))
        before = ""
    if found:  # what follows the last text
        last = found[-1]
        number, spare = last.fallback or (0, "")
        encode = partial(_append, encode=last.encode, after=before)
        found[-1] = replace(last, encode=encode, fallback=(number, spare + before))
    return found


def _append(translation: str, *, encode: Callable[[str], str], after: str) -> str:
    return encode(translation) + after


def _string_units(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the texts of a localization with their paths."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key == "stringUnit" and isinstance(inner, dict):
            yield path, inner
        else:
            yield from _string_units(inner, (*path, key))


def _render(
    value: Mapping[str, Any], language: str, layout: _Layout, depth: int, path: tuple[str, ...], note: str
) -> Iterator[str | _Hole]:
    """Yield the pieces of a localization with the structure of ``value``: JSON, and holes for the texts."""
    if depth > _MAX_DEPTH:
        raise BadDocument(line=1, detail="nested too deeply")
    separator = "{"
    for key, inner in value.items():
        yield f"{separator}{layout.line(depth)}{dump_text(key)}{layout.colon}"
        separator = ","
        if key == "stringUnit" and isinstance(inner, dict):
            yield "{"
            yield _Hole(str(inner.get("value", "")), path, note, depth + 1)
            yield f"{layout.line(depth)}}}"
        elif key == "plural" and isinstance(inner, dict):
            yield from _render_plural(inner, language, layout, depth + 1, (*path, key), note)
        elif isinstance(inner, dict) and inner:
            yield from _render(inner, language, layout, depth + 1, (*path, key), note)
        else:
            yield dump_value(inner)
    yield f"{layout.line(depth - 1)}}}"


def _render_plural(
    forms: Mapping[str, Any], language: str, layout: _Layout, depth: int, path: tuple[str, ...], note: str
) -> Iterator[str | _Hole]:
    """Yield the pieces of the plural forms that the language needs, in the order of Xcode."""
    texts = {form: [str(unit.get("value")) for _, unit in _string_units(inner, ())] for form, inner in forms.items()}
    marks = {form: [sorted(protected_texts(text, find_message_syntax(text)[0])) for text in words]
             for form, words in texts.items()}  # fmt: skip
    needed = plan_plural_forms(list(forms), language, one_fits_all=marks.get("one") == marks.get("other"))
    separator = "{"
    for form in sorted(needed, key=lambda form: form.category):
        yield f"{separator}{layout.line(depth)}{dump_text(form.category)}{layout.colon}"
        separator = ","
        inner, both = forms[form.source], "\n".join(filter(None, (note, form.note)))
        yield from _render(
            inner if isinstance(inner, dict) else {}, language, layout, depth + 1, (*path, form.category), both
        )
    yield f"{layout.line(depth - 1)}}}"


def _hole_segment(hole: _Hole, entry: _CatalogEntry, layout: _Layout, before: str) -> Segment | None:
    core = hole.text.strip()
    syntax, has_printf = find_message_syntax(core)
    spans = protect_markdown(core, syntax)
    if not has_letters(core, spans):
        return None
    first = len(hole.text) - len(hole.text.lstrip())
    encode = partial(
        _encode,
        source=core,
        wanted=protected_texts(core, spans),
        edges=(hole.text[:first], hole.text[first + len(core) :]),
        has_printf=has_printf,
        before=before,
        write=partial(_write_unit, depth=hole.depth, state=_TRANSLATED, layout=layout),
    )
    spare = before + _write_unit(dump_text(hole.text), hole.depth, _UNTRANSLATED, layout)
    path = (entry.key, *hole.path)
    return Segment(
        entry.start, entry.start, core, encode, tuple(spans), "message", path, hole.note, fallback=(entry.start, spare)
    )


def _write_unit(value: str, depth: int, state: str, layout: _Layout) -> str:
    line = layout.line(depth)
    return f'{line}"state"{layout.colon}"{state}",{line}"value"{layout.colon}{value}'


def _encode(
    translation: str,
    *,
    source: str,
    wanted: tuple[str, ...],
    edges: tuple[str, str],
    has_printf: bool,
    before: str,
    write: Callable[[str], str],
) -> str:
    words = write_translation(translation, source, wanted, double_percent if has_printf else str)
    value = dump_text(edges[0] + words + edges[1])
    return before + write(_CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", value))


FORMAT = StringCatalogFormat()
