"""XLIFF 1.2 and 2: one segment a unit (1.2) or segment (2), beside its translation.

What is translated has no target, an empty one, or a state that asks for a translation (new, needs-translation,
initial). The state of a new translation says that it needs a review. Sources: XLIFF 1.2 and XLIFF 2.1 (OASIS).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat, find_problem
from llmcli.documents.formats.xml_files.xml_content import ContentSyntax, XmlContent, read_content
from llmcli.documents.formats.xml_files.xml_elements import (
    TOKEN,
    XmlAttribute,
    XmlElement,
    escape_attribute,
    find_elements,
    parse_attributes,
    plain_content,
)
from llmcli.documents.segments import Edit, Segment
from llmcli.documents.text_lines import blanks_before
from llmcli.fast_dataclass import frozen

_STATES_TO_TRANSLATE = frozenset({"new", "needs-translation", "initial"})
_UNREVIEWED_STATES = {1: "needs-review-translation", 2: "translated"}
_CODE_ELEMENTS = frozenset({"bpt", "ept", "ph", "it", "sub"})
"""Elements of XLIFF 1.2 whose content is code of the original document."""
_EMPTY_NOTES = frozenset({"No comment provided by engineer."})


def _is_code(name: str, attributes: dict[str, XmlAttribute]) -> bool:
    if name == "mrk":
        values = {key: attribute.value for key, attribute in attributes.items()}
        return values.get("mtype") == "protected" or values.get("translate") == "no"
    return name in _CODE_ELEMENTS


_SYNTAX = ContentSyntax(is_opaque=_is_code)


@frozen
class _Unit:
    """A source text and its place: ``holder`` is the element with both texts (trans-unit, segment)."""

    version: int
    unit: XmlElement
    holder: XmlElement
    source: XmlElement
    target: XmlElement | None

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the text in all versions of its document."""
        names = [*self.unit.lineage()]
        file = next((each for each in names if each.local_name == "file"), self.unit)
        own = self.holder.get("id") if self.holder is not self.unit else ""
        return (file.get("original") or file.get("id"), self.unit.get("id"), own)

    @property
    def state(self) -> str:
        if self.version > 1:
            return self.holder.get("state")
        return self.target.get("state") if self.target else ""


class XliffFormat(DocumentFormat):
    """XLIFF 1.2 and 2."""

    name = "xliff"
    can_interleave = False
    holds_both_languages = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the texts that may be translated; those that are include their translation."""
        found: list[Segment] = []
        context = None
        for unit in _find_units(text):
            if context is None or context.unit is not unit.unit:
                context = _read_context(text, unit, target)
            segment = _unit_segment(text, unit, target, context)
            found += [segment] if segment else []
        return found

    def check(self, text: str) -> str:
        """Parse the XML again, and find its units."""
        return find_problem(_find_units(text))

    def merge_earlier(self, earlier: str, text: str) -> str:
        """Return ``text`` with the targets that ``earlier`` has for the same unit with the same source.

        If both have the same units, the result is ``earlier``, byte for byte.
        """
        theirs = {unit.key: unit for unit in _find_units(earlier)}
        ours = list(_find_units(text))
        same = [
            unit
            for unit in ours
            if unit.key in theirs and _content(text, unit.source) == _content(earlier, theirs[unit.key].source)
        ]
        if len(same) == len(ours) == len(theirs):
            return earlier
        edits: list[Edit] = []
        for unit in same:
            known = theirs[unit.key]
            if known.target is not None and known.state not in _STATES_TO_TRANSLATE:
                edits.append(_target_edit(text, unit, earlier[known.target.start : known.target.end]))
                if unit.version > 1 and known.state:
                    edits.append(_attribute_edit(unit.holder, "state", known.state))
        parts, at = [], 0
        for edit in sorted(edits, key=lambda edit: edit.start):
            parts += [text[at : edit.start], edit.text]
            at = edit.end
        return "".join([*parts, text[at:]])

    def replace_language(self, text: str, segments: Sequence[Segment], source: str, target: str) -> str:
        """Return the document with its source language declared, if it is not."""
        del segments, target
        if not source:
            return text
        parts, at = [], 0
        level, attribute = "file", "source-language"
        for match in TOKEN.finditer(text):
            name = (match["open"] or "").rpartition(":")[2]
            if name not in {"xliff", "file"}:
                continue
            attributes = parse_attributes(match)
            if name == "xliff" and "version" in attributes and attributes["version"].value.startswith("2"):
                level, attribute = "xliff", "srcLang"
            if name == level and attribute not in attributes:
                end = match.end() - 1
                parts += [text[at:end], f' {attribute}="{escape_attribute(source)}"']
                at = end
        return "".join([*parts, text[at:]])


def _find_units(text: str) -> Iterator[_Unit]:
    """Yield the texts that may be translated, in order."""
    for unit in find_elements(text, "xliff", {"trans-unit", "unit"}):
        if not _may_be_translated(unit):
            continue
        if unit.local_name == "trans-unit":
            source = unit.child("seg-source") or unit.child("source")
            if source is not None:
                yield _Unit(1, unit, unit, source, unit.child("target"))
            continue
        for holder in unit.children:
            source = holder.child("source")
            if holder.local_name == "segment" and source is not None:
                yield _Unit(2, unit, holder, source, holder.child("target"))


def _may_be_translated(unit: XmlElement) -> bool:
    said = next((value for each in unit.lineage() if (value := each.get("translate"))), "yes")
    return said != "no"


@frozen
class _UnitContext:
    """What all segments of a unit share.

    ``edits`` declare the target language; ``is_other_language``: the document's targets are in another one.
    """

    unit: XmlElement
    path: tuple[str, ...]
    note: str
    edits: tuple[Edit, ...]
    is_other_language: bool


def _read_context(text: str, unit: _Unit, language: str) -> _UnitContext:
    level, name = ("xliff", "trgLang") if unit.version > 1 else ("file", "target-language")
    holder = next((each for each in unit.unit.lineage() if each.local_name == level), None)
    declared = holder.get(name).replace("_", "-").lower() if holder else ""
    is_other = bool(declared and language) and declared.partition("-")[0] != language.lower().partition("-")[0]
    edits = (_attribute_edit(holder, name, language),) if holder and language and (is_other or not declared) else ()
    return _UnitContext(unit.unit, _path(unit.unit), "\n".join(_notes(text, unit.unit)), edits, is_other)


def _content(text: str, element: XmlElement) -> str:
    return text[element.content_start : element.content_end]


def _unit_segment(text: str, unit: _Unit, language: str, context: _UnitContext) -> Segment | None:
    content = read_content(text, unit.source.content_start, unit.source.content_end, _SYNTAX)
    if not content.has_words:
        return None
    edits, existing = context.edits, ""
    if unit.target is not None and not context.is_other_language and unit.state not in _STATES_TO_TRANSLATE:
        existing = read_content(text, unit.target.content_start, unit.target.content_end, _SYNTAX).text.strip()
    if unit.version > 1:
        edits = (*edits, _attribute_edit(unit.holder, "state", _UNREVIEWED_STATES[2]))
        stale = unit.holder.attributes.get("subState")
        edits += (Edit(stale.blanks_start, stale.end + 1, ""),) if stale else ()
    place = _target_edit(text, unit, "")
    around = (
        text[unit.source.content_start : content.start],
        text[content.end : unit.source.content_end],
    )
    encode = partial(
        _encode, content=content, around=around, before=place.text, tags=_target_tags(text, unit, language)
    )
    return Segment(
        place.start,
        place.end,
        content.text,
        encode,
        content.spans,
        "message",
        path=context.path,
        note=context.note,
        existing_translation=existing or None,
        extra_edits=edits,
    )


def _encode(
    translation: str, *, content: XmlContent, around: tuple[str, str], before: str, tags: tuple[str, str]
) -> str:
    return before + tags[0] + around[0] + content.write(translation) + around[1] + tags[1]


def _target_edit(text: str, unit: _Unit, written: str) -> Edit:
    """Return the edit that writes a target: in the place of the present one, else behind the source in its layout."""
    if unit.target is not None:
        return Edit(unit.target.start, unit.target.end, written)
    return Edit(unit.source.end, unit.source.end, blanks_before(text, unit.source.start) + written)


def _target_tags(text: str, unit: _Unit, language: str) -> tuple[str, str]:
    """Return the tags of a new target: those of the present one with another state."""
    name = f"{unit.source.prefix}target"
    state = f' state="{_UNREVIEWED_STATES[1]}"' if unit.version == 1 else ""
    if unit.target is None:
        return f"<{name}{state}>", f"</{name}>"
    parts, at = [], unit.target.start
    for key, attribute in unit.target.attributes.items():
        if key in {"state", "state-qualifier"}:
            parts.append(text[at : attribute.blanks_start])
            at = attribute.end + 1
        elif key == "xml:lang" and language:
            parts += [text[at : attribute.start], escape_attribute(language)]
            at = attribute.end
    parts.append(text[at : unit.target.attributes_end].rstrip())
    return f"{''.join(parts)}{state}>", f"</{unit.target.name}>"


def _attribute_edit(element: XmlElement, name: str, value: str) -> Edit:
    """Return the edit that sets an attribute."""
    known = element.attributes.get(name)
    if known is not None:
        return Edit(known.start, known.end, escape_attribute(value))
    return Edit(element.attributes_end, element.attributes_end, f' {name}="{escape_attribute(value)}"')


def _path(unit: XmlElement) -> tuple[str, ...]:
    """Return the names of the unit and its groups that mean something to people."""
    named = [each.get("resname") or each.get("name") or each.get("id") for each in unit.lineage()
             if each.local_name in {"trans-unit", "unit", "group"}]  # fmt: skip
    return tuple(name for name in reversed(named) if re.match(r"[A-Za-z]", name))


def _notes(text: str, unit: XmlElement) -> Iterator[str]:
    """Yield the notes for translators of a unit."""
    notes = unit.child("notes") or unit
    for note in notes.children:
        about = note.get("annotates") or note.get("appliesTo") or "source"
        if note.local_name == "note" and about != "target":
            words = plain_content(text, note)
            if words and words not in _EMPTY_NOTES:
                yield words


FORMAT = XliffFormat()
