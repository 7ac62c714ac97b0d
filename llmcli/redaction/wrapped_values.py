"""Find mail addresses, and cards, phone numbers, IBANs and mail addresses on two lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.redaction.literal_prefilter import PrefilteredPattern
from llmcli.redaction.normalization import Range
from llmcli.redaction.number_formats import (
    MAX_WORD_CHARS,
    find_ibans,
    is_card_number,
    is_complete,
    is_phone,
)
from llmcli.redaction.text_index import TextIndex

_LOCAL_PART = re.compile(r"[\w.+%'-]")
_AT_DOMAIN = PrefilteredPattern(
    r"(?:@|%40|&#64;|&#[xX]40;|&commat;|\\u0040|\s?[\[(](?:at|AT)[\])]\s?)(?:[^\W_](?:[\w-]{0,62})\.){1,8}(?:[^\W\d_]{2,63}|xn--[\w-]{2,59})"
)
_AUTHORITY = re.compile(r"://[^\s/@]{0,256}\Z")
_FILE_NAME = re.compile(
    r"@(?:[0-9.]{1,4}x|[\w.-]{1,40}?)\.(?:png|jpe?g|gif|webp|svg|avif|ico|bmp|tiff?|pdf|css|js|mjs|json|html?|gguf|zip|gz|tgz|whl|jar|woff2?)(?![\w.-])"
)
"""What stands behind the ``@`` in names of files such as ``image@2x.png``."""
_HANDLE = re.compile(r"(?<![\w@])@\Z")
"""The first sign of a name in the fediverse (``@bob@example.social``)."""
_LOGIN_COMMAND = re.compile(
    r"(?<![\w./-])(?:ssh|mosh|sftp|slogin|autossh|ssh-copy-id|ssh-keyscan)(?:[ \t]{1,3}-{1,2}[\w-]{1,30}(?:[ =][^\s\"';|&]{1,100}|[ =]\"[^\"\r\n]{1,100}\"|[ =]'[^'\r\n]{1,100}')?){0,10}[ \t]{1,3}\Z"
    r"|(?<![\w./-])-J[ ]?(?:[^\s,]{1,80},){0,3}\Z|\b(?i:proxyjump)[ =](?:[^\s,]{1,80},){0,3}\Z"
)
"""A command that takes an account at a machine, up to the account."""
_MESSAGE_ID = re.compile(
    r"(?i:(?:message-?id|in-reply-to|references|content-id)[\"']?[ \t]{0,2}[:=])[^\r\n@]{0,10}(?:<[^<>\r\n]{1,120}>[ \t]{0,2}){0,6}[^\r\n@]{0,4}<[^<>@\r\n]{0,100}\Z"
)
"""The header before the identifier of a mail, which has the form of an address."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The identifier of a date in a calendar, before the name of the machine that made it."""
_COPY_COMMAND = re.compile(
    r"(?<![\w./-])(?:scp|rsync|sftp|sshfs|git|borg|restic|svn|hg|unison|rclone|pscp)[ \t][^\r\n|;&]{0,240}\Z"
)
_REMOTE_PATH = re.compile(r"::?[\w~/.$*'\"]")
_ESCAPE = re.compile(r"(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrtbfv0])(?=.)")
_MAX_URL_CHARS = 260


def find_emails(index: TextIndex) -> Iterator[Range]:
    """Yield mail addresses: the local part before each ``@`` (or an escape of it), and the domain after it."""
    text = index.text
    for match in _AT_DOMAIN.finditer(index):
        start = match.start()
        while start and _LOCAL_PART.match(text[start - 1]):
            start -= 1
        start += _escape_length(text, start)
        while start < match.start() and text[start] in ".'%+-":  # + and - begin the lines of a diff
            start += 1
        local = text[start : match.start()]
        if (
            local
            and local != "git"
            and not _FILE_NAME.match(text, match.start())
            and not _HANDLE.search(text, max(0, start - 2), start)
            and not _AUTHORITY.search(text, max(0, start - _MAX_URL_CHARS), start)
            and not _UUID.fullmatch(local)
            and not _is_login(text, start, match.end())
            and not _MESSAGE_ID.search(text, max(0, start - _MAX_URL_CHARS), start)
        ):
            yield start, match.end()


def _is_login(text: str, start: int, end: int) -> bool:
    """Return whether ``NAME@HOST`` is an account at a machine, as an argument of ssh, scp, rsync, git and the like."""
    first = max(0, start - _MAX_URL_CHARS)
    line = max(text.rfind("\n", first, start) + 1, first)
    return _LOGIN_COMMAND.search(text, line, start) is not None or (
        _REMOTE_PATH.match(text, end) is not None and _COPY_COMMAND.search(text, line, start) is not None
    )


def _escape_length(text: str, start: int) -> int:
    """Return how many characters at ``start`` belong to an escape sequence whose backslash stands before them."""
    slashes = start - len(text[:start].rstrip("\\")) if start and text[start - 1] == "\\" else 0
    match = _ESCAPE.match(text, start) if slashes % 2 else None
    return len(match.group()) if match else 0


_BREAK = r"[ \t]{0,4}(?:\r?\n|\\{1,2}(?:r\\{1,2})?n)[ \t>]{0,16}(?:(?://|#)[ \t]{1,4})?"
"""A line break, also as an escape of JSON, with the indentation, the marks of a quotation or the sign of a comment."""
_NUMBER_BREAK = re.compile(rf"(?<=[0-9./)-]){_BREAK}(?=\(?[0-9])")
_CARD_START = re.compile(r"[0-9](?:[ .\-]?[0-9]){0,18}[ .\-]?\Z")
_CARD_REST = re.compile(r"[0-9](?:[ .\-]?[0-9]){0,18}")
_PHONE_START = re.compile(r"(?:\+|\(\+?)?[0-9](?:[ ()./\-]{0,3}[0-9]){0,14}[ ()./\-]{0,2}\Z")
_PHONE_REST = re.compile(r"\(?[0-9](?:[ ()./\-]{0,3}[0-9]){0,14}")
_MAX_PART_CHARS = 40
_MIN_REST_CHARS = 2
_BEFORE = re.compile(r"[\w,;|=\t.+-]\Z")
"""What stands before a cell of a table, or a longer number."""
_AFTER = re.compile(r"[^\W]|[,;|](?:\S|\Z)|\t|-[0-9]|\.[0-9]")
_CARD_GROUPS = re.compile(r"(?:(?:4|8|12|16) )*(?:[1-9]|1[0-9])|4 6 [45]")
"""The sizes of the groups of a card number."""
_IBAN_BREAK = re.compile(
    rf"(?<![A-Za-z0-9])[A-Za-z]{{2}}[0-9]{{2}}[A-Za-z0-9 .\-]{{0,40}}?(?P<cut>{_BREAK})(?P<rest>[A-Za-z0-9 .\-]{{1,40}})"
)
_DOMAIN_REST = r"(?=[a-z][\w-]{0,62}\.[a-z]|(?:com|net|org|edu|gov|info|io|eu|de|fr|uk|nl|ch|at|pl|ru|cn|jp|br)\b)"
_EMAIL_BREAK = PrefilteredPattern(
    rf"(?<=[\w.+-]@){_BREAK}(?=\w[\w-]{{0,62}}\.\w)"
    rf"|(?<=@)[\w-]{{1,63}}(?:\.{_BREAK}{_DOMAIN_REST}|{_BREAK}(?=\.[a-z]{{2,63}}\b))"
)
"""A line break behind the ``@``, or at the first dot of the domain."""
_LINE_BREAK = re.compile(_BREAK)
_MAX_NAME_CHARS = 64


def find_wrapped_cards(index: TextIndex) -> Iterator[Range]:
    """Yield card numbers with one line break."""
    text = index.text
    for start, cut, rest, end in _numbers(text, _CARD_START, _CARD_REST):
        for left in _suffixes(text, start, cut):
            for right in _prefixes(text, rest, end):
                if _is_wrapped_card(text[left:cut], text[rest:right]) and _stands_alone(text, left, right):
                    yield left, right


def _is_wrapped_card(first: str, second: str) -> bool:
    groups, more = re.findall("[0-9]+", first), re.findall("[0-9]+", second)
    if not is_card_number("".join([*groups, *more])):
        return False
    joined = [*groups[:-1], groups[-1] + more[0], *more[1:]]
    return any(
        _CARD_GROUPS.fullmatch(" ".join(str(len(group)) for group in each)) for each in ([*groups, *more], joined)
    )


def find_wrapped_phones(index: TextIndex) -> Iterator[Range]:
    """Yield phone numbers with one line break, unless a line holds a whole number."""
    text = index.text
    for start, cut, rest, end in _numbers(text, _PHONE_START, _PHONE_REST):
        first, before = text[start:cut].rstrip(), text[max(0, start - MAX_WORD_CHARS) : start]
        begins = first.startswith(("+", "(+", "00"))
        if is_complete(first, before) or (not begins and is_complete(text[rest:end], "")):
            continue
        gaps = ("",) if first[-1] in "./-" else (" ", "") if first.isdigit() else (" ",)
        for right in reversed(list(_prefixes(text, rest, end))):
            second = text[rest:right]
            if len(second) < _MIN_REST_CHARS or ("." in second and "." not in first):
                break
            if any(is_phone(first + gap + second, before) for gap in gaps) and _stands_alone(text, start, right):
                yield start, right
                break


def find_wrapped_ibans(index: TextIndex) -> Iterator[Range]:
    """Yield IBANs with one line break."""
    text = index.text
    for match in _IBAN_BREAK.finditer(text):
        first = text[match.start() : match.start("cut")].rstrip()
        gap = "" if first[-1] in ".-" else " "
        for start, end in find_ibans(TextIndex(first + gap + match["rest"])):
            if start == 0 and end > len(first) + len(gap):
                yield match.start(), match.start("rest") + end - len(first) - len(gap)


def _numbers(text: str, before: re.Pattern[str], after: re.Pattern[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the start and end of the digits before each line break, and of those behind it."""
    for match in _NUMBER_BREAK.finditer(text):
        first = before.search(text, max(0, match.start() - _MAX_PART_CHARS), match.start())
        second = after.match(text, match.end(), match.end() + _MAX_PART_CHARS)
        if first is not None and second is not None:
            yield first.start(), match.start(), match.end(), second.end()


def _suffixes(text: str, start: int, end: int) -> Iterator[int]:
    """Yield where the groups of digits begin, from the first."""
    return (start + match.start() for match in re.finditer("[0-9]+", text[start:end]))


def _prefixes(text: str, start: int, end: int) -> Iterator[int]:
    """Yield where the groups of digits end, from the first."""
    return (start + match.end() for match in re.finditer("[0-9]+", text[start:end]))


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Return whether a wrapped number stands among words rather than in a table or a longer number."""
    if _BEFORE.search(text, max(0, start - 1), start) or _AFTER.match(text, end):
        return False
    before = text[max(0, start - _MAX_PART_CHARS) : start].rpartition("\n")[2]
    after = text[end : end + _MAX_PART_CHARS].partition("\n")[0]
    return text.startswith("+", start) or any(map(str.isalpha, before + after))


def find_wrapped_emails(index: TextIndex) -> Iterator[Range]:
    """Yield mail addresses with a line break behind the ``@``, or at the first dot of the domain."""
    text = index.text
    for match in _EMAIL_BREAK.finditer(index):
        cut = _LINE_BREAK.search(text, match.start(), match.end())
        assert cut is not None
        offset = max(0, match.start() - _MAX_NAME_CHARS)
        first, rest = text[offset : cut.start()], text[cut.end() : cut.end() + _MAX_NAME_CHARS]
        for start, end in find_emails(TextIndex(first + rest)):
            if start < len(first) < end:
                yield offset + start, cut.end() + end - len(first)
