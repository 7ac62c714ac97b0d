"""Qt Linguist's .ts files: the messages, with their context and comments as notes, and the language's numerus forms.

What is unfinished is translated; a translation then counts as finished, as in PO files. Source: "TS File Format" and
"Translation Rules for Plurals" (doc.qt.io).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from llmcli.documents.formats.document_format import DocumentFormat, find_problem
from llmcli.documents.formats.message_files.po import format_examples, numbers_by_form, plural_rule
from llmcli.documents.formats.xml_files.xml_content import ContentSyntax, XmlContent, read_content
from llmcli.documents.formats.xml_files.xml_elements import XmlElement, escape_attribute, find_elements, plain_content
from llmcli.documents.protected_spans import MESSAGE_KINDS
from llmcli.documents.segments import Edit, Segment
from llmcli.documents.text_lines import blanks_before
from llmcli.fast_dataclass import frozen

_NOTE_ELEMENTS = ("comment", "extracomment", "translatorcomment")
_GONE = frozenset({"vanished", "obsolete"})
_SYNTAX = ContentSyntax(kinds=MESSAGE_KINDS - {"printf"} | {"percent", "mnemonic"})
_ONE_FORM = "nplurals=1; plural=0;"
_RULES = {
    **dict.fromkeys(("bi", "fa", "fj", "gn", "hu", "na", "om", "tr", "tt", "za"), _ONE_FORM),
    "ga": "nplurals=3; plural=(n==1 ? 0 : n==2 ? 1 : 2);",
    "mk": "nplurals=3; plural=(n%100==1 ? 0 : n%100==2 ? 1 : 2);",
    "cy": "nplurals=5; plural=(n==0 ? 0 : n==1 ? 1 : n>=2 && n<=5 ? 2 : n==6 ? 3 : 4);",
}
"""The rules of Qt Linguist where they differ from those of gettext."""


@frozen
class _Message:
    """A message with its translation element; ``context`` is the name of the class or file that it belongs to."""

    context: str
    element: XmlElement
    source: XmlElement
    translation: XmlElement

    def key(self, text: str) -> tuple[str, ...]:
        """Return what identifies the message in all versions of its file."""
        comment = self.element.child("comment")
        words = [text[each.content_start : each.content_end] for each in (self.source, comment) if each]
        return (self.context, self.element.get("id"), *words)


class QtLinguistFormat(DocumentFormat):
    """Qt Linguist's .ts files."""

    name = "qt"
    can_interleave = False
    holds_both_languages = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the messages; those that are finished include their translation."""
        return [segment for message in _find_messages(text) for segment in _message_segments(text, message, target)]

    def check(self, text: str) -> str:
        """Parse the XML again."""
        return find_problem(_find_messages(text))

    def merge_earlier(self, earlier: str, text: str) -> str:
        """Return ``text`` with the finished translations that ``earlier`` has for the same messages.

        If both have the same messages, the result is ``earlier``, byte for byte.
        """
        theirs = {message.key(earlier): message.translation for message in _find_messages(earlier)}
        ours = list(_find_messages(text))
        if {message.key(text) for message in ours} == set(theirs):
            return earlier
        parts, at = [], 0
        for message in ours:
            known = theirs.get(message.key(text))
            if known is not None and not known.get("type"):
                parts += [text[at : message.translation.start], earlier[known.start : known.end]]
                at = message.translation.end
        return "".join([*parts, text[at:]])


def _find_messages(text: str) -> Iterator[_Message]:
    """Yield the messages that the program uses, in order."""
    context = ""
    for element in find_elements(text, "TS", {"name", "message"}):
        if element.local_name == "name":
            context = plain_content(text, element)
            continue
        source, translation = element.child("source"), element.child("translation")
        if source is None or translation is None or translation.get("type") in _GONE or translation.get("variants"):
            continue
        yield _Message(context, element, source, translation)


def _message_segments(text: str, message: _Message, language: str) -> list[Segment]:
    """Return the segments of a message: one, or one for each numerus form of the target language."""
    content = read_content(text, message.source.content_start, message.source.content_end, _SYNTAX)
    if not content.has_words:
        return []
    element, translation = message.element, message.translation
    edits, is_other_language = _language_edits(element, language)
    forms = [each for each in translation.children if each.local_name == "numerusform"]
    rule = _RULES.get(language.lower().partition("-")[0]) or plural_rule(language)
    numbers = numbers_by_form(rule) or ((1,), (0, 2))
    is_numerus = element.get("numerus") == "yes"
    is_finished = not translation.get("type") and not is_other_language
    count = len(forms) if forms and (is_finished or not edits) else len(numbers)
    written = _written_forms(text, translation, forms, count if is_numerus else 0)
    notes = [plain_content(text, each) for each in element.children if each.local_name in _NOTE_ELEMENTS]
    blanks = text[message.source.content_start : content.start], text[content.end : message.source.content_end]
    found = []
    for index, (opening, closing) in enumerate(written):
        before, after = opening + blanks[0], blanks[1] + closing
        holder = forms[index] if index < len(forms) else translation
        words = read_content(text, holder.content_start, holder.content_end, _SYNTAX).text if is_finished else ""
        about = (
            f"plural form for the numbers {format_examples(numbers[index])}"
            if is_numerus and count == len(numbers)
            else ""
        )
        place = translation.end if index else translation.start
        found.append(
            Segment(
                place,
                translation.end,
                content.text,
                partial(_encode, content=content, before=before, after=after),
                content.spans,
                "message",
                (message.context,) if message.context else (),
                "\n".join(filter(None, [*notes, about])),
                existing_translation=words.strip() or None,
                extra_edits=edits,
                fallback=(translation.start, before + content.source + after) if is_numerus else None,
            )
        )
    return found


def _written_forms(text: str, translation: XmlElement, forms: list[XmlElement], count: int) -> list[tuple[str, str]]:
    """Return what stands before and after each form of a finished translation; ``count`` 0: it has no forms."""
    kind = translation.attributes.get("type")
    opening = text[translation.start : kind.blanks_start if kind else translation.attributes_end].rstrip()
    opening += (text[kind.end + 1 : translation.attributes_end].rstrip() if kind else "") + ">"
    closing = f"</{translation.name}>"
    if not count:
        return [(opening, closing)]
    outer = blanks_before(text, translation.start)
    inner = blanks_before(text, forms[0].start) if forms else (outer + "    " if outer else "")
    last = blanks_before(text, translation.content_end) if forms else outer
    written = [(f"{inner}<numerusform>", "</numerusform>") for _ in range(count)]
    written[0] = opening + written[0][0], written[0][1]
    written[-1] = written[-1][0], written[-1][1] + last + closing
    return written


def _encode(translation: str, *, content: XmlContent, before: str, after: str) -> str:
    return before + content.write(translation) + after


def _language_edits(element: XmlElement, language: str) -> tuple[tuple[Edit, ...], bool]:
    """Return the edits that declare the target language, and whether the file's translations are in another one."""
    root = [*element.lineage()][-1]
    declared = root.get("language").replace("_", "-").lower()
    is_other = bool(declared and language) and declared.partition("-")[0] != language.lower().partition("-")[0]
    if not language or (declared and not is_other):
        return (), False
    name = escape_attribute(language.replace("-", "_"))
    known = root.attributes.get("language")
    if known:
        return (Edit(known.start, known.end, name),), is_other
    return (Edit(root.attributes_end, root.attributes_end, f' language="{name}"'),), is_other


FORMAT = QtLinguistFormat()
