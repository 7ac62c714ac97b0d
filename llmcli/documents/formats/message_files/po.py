"""gettext PO and POT files: one segment a message, or one for each plural form of the target language.

A translation also updates the file: the fuzzy flag and the previous strings are removed, the header declares the
language and its plural forms, and forms that the language does not have are removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.formats.markup.message_markdown import protect_markdown
from llmcli.documents.formats.message_files import po_parser
from llmcli.documents.formats.message_files.po_parser import PoEntry, PoString
from llmcli.documents.protected_spans import MESSAGE_KINDS, find_spans
from llmcli.documents.segments import Edit, Segment, has_letters, protected_texts
from llmcli.documents.text_cleaning import detect_newline, double_percent, write_translation
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen, replace

_WRAP_CHARS = 76
_FLAG_SYNTAXES: dict[str, set[str]] = {
    "python-format": {"c-format"}, "c-format": {"c-format"}, "objc-format": {"c-format"}, "php-format": {"c-format"},
    "javascript-format": {"c-format"}, "perl-format": {"c-format"}, "lua-format": {"c-format"},
    "java-printf-format": {"c-format"}, "awk-format": {"c-format"}, "gcc-internal-format": {"c-format"},
    "tcl-format": {"c-format"}, "c++-format": {"brace"}, "rust-format": {"brace"}, "ruby-format": {"ruby", "c-format"},
    "python-brace-format": {"brace"}, "perl-brace-format": {"brace"}, "csharp-format": {"brace"},
    "java-format": {"brace"}, "qt-format": {"percent"}, "qt-plural-format": {"percent"}, "kde-format": {"percent"},
    "kde-kuit-format": {"percent"}, "sh-format": {"dollar"}, "boost-format": {"c-format", "percent"},
}  # fmt: skip
_ALWAYS_PROTECTED = frozenset({"control", "tag", "url", "email", "entities"})
_DOUBLED_BRACE_FLAGS = ("python-brace-format", "csharp-format", "rust-format", "c++-format")
"""Formats in which a literal brace is doubled."""
_HEADER_LINE = re.compile(r"(?P<name>[A-Za-z-]+):[ \t]*(?P<value>.*)\Z")
_ONE_FORM = "nplurals=1; plural=0;"
_SINGULAR_ONE = "nplurals=2; plural=(n != 1);"
_SINGULAR_ZERO_ONE = "nplurals=2; plural=(n > 1);"
_EAST_SLAVIC = "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);"
_RULES: dict[str, str] = {
    "ja zh ko vi th id ms lo my jv su km ka_ bo dz ii kde lkt sah wo yo ig": _ONE_FORM,
    "fr pt-br tr_ oc br_ fil tl ln mg mi ti wa ak am bh guw nso pa_ hy kab": _SINGULAR_ZERO_ONE,
    "ru uk be": _EAST_SLAVIC,
    "sr hr bs sh": _EAST_SLAVIC,
    "pl": "nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);",
    "cs sk": "nplurals=3; plural=(n==1 ? 0 : n>=2 && n<=4 ? 1 : 2);",
    "lt": "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && (n%100<10 || n%100>=20) ? 1 : 2);",
    "lv": "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n != 0 ? 1 : 2);",
    "ro mo": "nplurals=3; plural=(n==1 ? 0 : (n==0 || (n%100 > 0 && n%100 < 20)) ? 1 : 2);",
    "sl": "nplurals=4; plural=(n%100==1 ? 0 : n%100==2 ? 1 : n%100==3 || n%100==4 ? 2 : 3);",
    "hsb dsb": "nplurals=4; plural=(n%100==1 ? 0 : n%100==2 ? 1 : n%100==3 || n%100==4 ? 2 : 3);",
    "ga": "nplurals=5; plural=(n==1 ? 0 : n==2 ? 1 : n<7 ? 2 : n<11 ? 3 : 4);",
    "gd": "nplurals=4; plural=(n==1 || n==11 ? 0 : n==2 || n==12 ? 1 : n>2 && n<20 ? 2 : 3);",
    "cy": "nplurals=4; plural=(n==1 ? 0 : n==2 ? 1 : n!=8 && n!=11 ? 2 : 3);",
    "mt": "nplurals=4; plural=(n==1 ? 0 : n==0 || (n%100>1 && n%100<11) ? 1 : n%100>10 && n%100<20 ? 2 : 3);",
    "ar": "nplurals=6; plural=(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5);",
    "is": "nplurals=2; plural=(n%10!=1 || n%100==11);",
    "mk": "nplurals=2; plural=(n%10==1 && n%100!=11 ? 0 : 1);",
}
"""The plural forms of languages as gettext writes them. Source: the gettext manual, "Plural forms", and CLDR."""
_BY_LANGUAGE = {language.rstrip("_"): rule for languages, rule in _RULES.items() for language in languages.split()
                if not language.endswith("_")}  # fmt: skip
_MAX_EXAMPLES = 5
_MAX_NUMBER = 201
"""Numbers that are tried to find those of each form."""


@frozen
class _CatalogInfo:
    """The properties of a file that apply to all its messages."""

    newline: str
    plural_rule: str
    is_other_language: bool  # its translations are in another language
    header_edits: tuple[Edit, ...]


class PoFormat(DocumentFormat):
    """gettext PO and POT files."""

    name = "po"
    can_interleave = False
    holds_both_languages = True

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the messages; those that are translated and not fuzzy include their translation."""
        found = list(po_parser.parse_entries(text))
        file = _read_catalog_info(text, found, target)
        return [segment for entry in found if entry.value("msgid") for segment in _entry_segments(entry, file)]

    def check(self, text: str) -> str:
        """Parse with polib, and report what msgfmt refuses: wrong numbers of plural forms, mismatched line ends."""
        import polib

        try:
            found = list(po_parser.parse_entries(text))
            polib.pofile("\n".join([_prepare_for_polib(line) for line in re.split("\r\n|\r|\n", text)]) + "\n")
        except BadDocument as error:
            return f"line {error.line}: {error.detail}"
        except OSError as error:
            return str(error)
        header = _header_values(found)
        forms = numbers_by_form(header["plural-forms"]) if "plural-forms" in header else None
        for entry in found:
            if entry.value("msgid") and (wrong := _entry_problem(entry, len(forms) if forms else 0)):
                return f"line {entry.line}: {wrong}"
        return ""

    def merge_earlier(self, earlier: str, text: str) -> str:
        """Merge as msgmerge does."""
        return merge_catalogs(earlier, text)


def _prepare_for_polib(line: str) -> str:
    """Return a line without the characters that only polib takes for line ends, "" for a comment.

    polib's time is quadratic in those.
    """
    is_comment = line.startswith("#") and not line.startswith(("#~", "#,"))
    return "" if is_comment else " ".join(line.splitlines())


def _entry_problem(entry: PoEntry, forms: int) -> str:
    strings = [string.value for string in entry.strings]
    if "fuzzy" in entry.flags or not all(strings):
        return ""
    if forms and "msgid_plural" in entry.fields and len(strings) != forms:
        return f"{len(strings)} plural forms, the header declares {forms}"
    source = entry.value("msgid")
    for string in strings:
        if string.startswith("\n") != source.startswith("\n") or string.endswith("\n") != source.endswith("\n"):
            return "msgid and msgstr must both begin, or both end, with a line end"
    return ""


def _header_values(found: list[PoEntry]) -> dict[str, str]:
    """Return the header's values by their names in lower case."""
    header = next((entry for entry in found if not entry.value("msgid") and "msgctxt" not in entry.fields), None)
    lines = header.value("msgstr").split("\n") if header else []
    return {match["name"].lower(): match["value"] for line in lines if (match := _HEADER_LINE.match(line))}


def _read_catalog_info(text: str, found: list[PoEntry], target: str) -> _CatalogInfo:
    values = _header_values(found)
    newline = detect_newline(text)
    language = values.get("language", "").strip().replace("_", "-").lower()
    foreign = bool(language and target) and language.partition("-")[0] != target.lower().partition("-")[0]
    own = values.get("plural-forms", "")
    ours = not foreign and language and numbers_by_form(own) is not None
    rule = own if ours else plural_rule(target)
    return _CatalogInfo(newline, rule, foreign, tuple(_header_edits(text, found, target, rule, newline)))


def _header_edits(text: str, found: list[PoEntry], target: str, rule: str, newline: str) -> Iterator[Edit]:
    """Yield the edits that declare the new language in the header."""
    wanted = {"Language": target.replace("-", "_"), "Plural-Forms": rule}
    header = next((entry for entry in found if not entry.value("msgid") and "msgctxt" not in entry.fields), None)
    if header is None:
        at = int(text.startswith("\ufeff"))
        lines = {"MIME-Version": "1.0", "Content-Type": "text/plain; charset=UTF-8", **wanted}
        value = "".join(f"{key}: {words}\n" for key, words in lines.items())
        yield Edit(at, at, f'msgid ""{newline}msgstr {po_parser.quote_string(value, newline)}{newline * 2}')
        return
    string = header.strings[0]
    lines_now = string.value.split("\n")
    done = set()
    for index, line in enumerate(lines_now):
        match = _HEADER_LINE.match(line)
        key = match["name"] if match else ""
        if key in wanted:
            done.add(key)
            lines_now[index] = f"{key}: {wanted[key]}"
        elif match and key == "Content-Type" and "charset=utf-8" not in line.lower():
            lines_now[index] = "Content-Type: text/plain; charset=UTF-8"
    end = len(lines_now) - (lines_now[-1] == "")
    lines_now[end:end] = [f"{key}: {words}" for key, words in wanted.items() if key not in done]
    value = "\n".join(lines_now).removesuffix("\n") + "\n"
    if value != string.value:
        yield Edit(string.start, string.end, po_parser.quote_string(value, newline))
    yield from _fuzzy_removals(header, newline)


def _fuzzy_removals(entry: PoEntry, newline: str) -> Iterator[Edit]:
    if "fuzzy" not in entry.flags:
        return
    for comment in entry.comments:
        if comment.text.startswith("#|"):
            yield Edit(comment.start, comment.end, "")
        elif comment.text.startswith("#,"):
            flags = [flag.strip() for flag in comment.text[2:].split(",")]
            left = [flag for flag in flags if flag and flag != "fuzzy"]
            if len(left) != len(flags):
                yield Edit(comment.start, comment.end, f"#, {', '.join(left)}{newline}" if left else "")


def _entry_segments(entry: PoEntry, file: _CatalogInfo) -> list[Segment]:
    edits = (*file.header_edits, *_fuzzy_removals(entry, file.newline))
    if "msgid_plural" not in entry.fields:
        only = entry.strings[0]
        segment = _string_segment(entry, file, entry.fields["msgid"], only, region=(only.start, only.end), also=edits)
        return [segment] if segment else []
    forms = numbers_by_form(file.plural_rule) or ((1,), (0, 2))
    strings = entry.strings
    last = strings[min(len(forms), len(strings)) - 1].end
    surplus = tuple(Edit(strings[index - 1].end, string.end, "") for index, string in enumerate(strings)
                    if index >= len(forms))  # fmt: skip
    found = []
    for index, numbers in enumerate(forms):
        wanted, other = ("msgid", "msgid_plural") if is_singular(numbers) else ("msgid_plural", "msgid")
        source = entry.fields[wanted if has_letters(entry.value(wanted)) else other]
        string: PoString | None = strings[index] if index < len(strings) else None
        region = (string.start, string.end) if string else (last, last)
        before = "" if string else f"{file.newline}msgstr[{index}] "
        segment = _string_segment(
            entry, file, source, string, region=region, also=(*edits, *surplus), before=before,
            numbers=format_examples(numbers),
        )  # fmt: skip
        if segment and segment.existing_translation is None:
            spare = before + po_parser.quote_string(entry.value(wanted), file.newline)
            segment = replace(segment, fallback=(entry.fields["msgid"].start, spare))
        found += [segment] if segment else []
    return found


def _string_segment(
    entry: PoEntry, file: _CatalogInfo, source: PoString, string: PoString | None, *, region: tuple[int, int],
    also: tuple[Edit, ...], before: str = "", numbers: str = "",
) -> Segment | None:  # fmt: skip
    text = source.value.strip()
    flags = entry.flags
    spans = tuple(protect_markdown(text, find_spans(text, _protected_kinds(flags))))
    if not has_letters(text, spans):
        return None
    first = len(source.value) - len(source.value.lstrip())
    edges = (source.value[:first], source.value[len(source.value.rstrip()) :])
    wraps = any(not piece.endswith("\n") for piece in source.line_values[1:-1])
    encode = partial(
        _encode, source=text, wanted=protected_texts(text, spans), edges=edges, before=before, newline=file.newline,
        width=_WRAP_CHARS if wraps else 0, percent="c-format" in _protected_kinds(flags), braces=bool(flags & set(_DOUBLED_BRACE_FLAGS)),
    )  # fmt: skip
    translated = string.value.strip() if string and not file.is_other_language and "fuzzy" not in flags else ""
    notes = [comment.text[2:].strip() for comment in entry.comments if comment.text.startswith(("#.", "# "))]
    notes += [f"context: {entry.value('msgctxt')}"] if "msgctxt" in entry.fields else []
    notes += [f"plural form for the numbers {numbers}"] if numbers else []
    return Segment(
        *region,
        text,
        encode,
        spans,
        "message",
        note="\n".join(filter(None, notes)),
        existing_translation=translated or None,
        extra_edits=also,
    )


def _protected_kinds(flags: set[str]) -> frozenset[str]:
    """Return the kinds of spans that are protected in a message with these flags."""
    chosen = [_FLAG_SYNTAXES[flag] for flag in flags if flag in _FLAG_SYNTAXES]
    if chosen:
        return _ALWAYS_PROTECTED.union(*chosen)
    return MESSAGE_KINDS - {"printf"} if any(flag.startswith("no-") for flag in flags) else MESSAGE_KINDS


def _encode(
    translation: str, *, source: str, wanted: tuple[str, ...], edges: tuple[str, str], before: str, newline: str, width: int,
    percent: bool, braces: bool,
) -> str:  # fmt: skip
    def escape(words: str) -> str:
        words = double_percent(words) if percent else words
        return words.replace("{", "{{").replace("}", "}}") if braces else words

    whole = edges[0] + write_translation(translation, source, wanted, escape).strip() + edges[1]
    return before + po_parser.quote_string(whole, newline, width=width, room=len("msgstr "))


FORMAT = PoFormat()


def merge_catalogs(translated: str, source: str) -> str:
    """Return ``translated`` with the messages of ``source``: new ones at the end, removed ones marked obsolete.

    Comments and headers are kept, and nothing is matched fuzzily (the gettext manual, "Invoking msgmerge").

    If both have the same messages, the result is ``translated``, byte for byte. Raises ``BadDocument`` for it.
    """
    import polib

    for _ in po_parser.parse_entries(translated):
        pass  # raises with the line
    try:
        ours, theirs = polib.pofile(translated), polib.pofile(source)
    except OSError as error:
        raise BadDocument(detail=str(error)) from error
    mine = {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in ours if not entry.obsolete}
    wanted = {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in theirs if not entry.obsolete}
    if mine == wanted:
        return translated
    ours.merge(theirs)
    text = str(ours)
    return (text if text.endswith("\n") else text + "\n").replace("\n", "\r\n" if "\r\n" in translated else "\n")


def plural_rule(language: str) -> str:
    """Return the value of Plural-Forms for a BCP 47 code; unknown languages get the most common rule."""
    code = language.lower().replace("_", "-")
    return _BY_LANGUAGE.get(code) or _BY_LANGUAGE.get(code.partition("-")[0], _SINGULAR_ONE)


@cache
def numbers_by_form(rule: str) -> tuple[tuple[int, ...], ...] | None:
    """Return the first numbers of each form of a Plural-Forms value, None if it is invalid."""
    from gettext import c2py

    match = re.fullmatch(r"\s*nplurals\s*=\s*(\d{1,2})\s*;\s*plural\s*=\s*([^;]{1,1000});?\s*", rule)
    if not match or not 0 < int(match[1]) < 10:  # noqa: PLR2004 - one digit, as in msgstr[n]
        return None
    found: list[list[int]] = [[] for _ in range(int(match[1]))]
    try:
        form_of = c2py(match[2])
        for number in range(_MAX_NUMBER):
            found[form_of(number)].append(number)
    except (ValueError, IndexError, ZeroDivisionError, OverflowError, RecursionError):
        return None
    return tuple(tuple(numbers) for numbers in found)


def is_singular(numbers: tuple[int, ...]) -> bool:
    """Whether a form is for the number one alone."""
    return numbers == (1,)


def format_examples(numbers: tuple[int, ...]) -> str:
    """Return some of a form's numbers in words for the translator."""
    shown = ", ".join(map(str, numbers[:_MAX_EXAMPLES]))
    return f"{shown}, ..." if len(numbers) > _MAX_EXAMPLES else shown
