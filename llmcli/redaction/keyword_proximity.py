"""Find chosen passwords and keys by two signs: a word for a secret stands nearby, and the token looks chosen.

No syntax is needed between the word and the token, so that this rule also finds forms that no pattern describes:
protocol traces, chats, answers on the next line, cells of tables, arguments of unknown programs. The clearer the text
says that a value follows, the less the token must look chosen.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from llmcli.redaction.innocent_values import INNOCENT_NAME
from llmcli.redaction.normalization import Range
from llmcli.redaction.password_score import MIN_PASSWORD_CHARS, password_score
from llmcli.redaction.secret_formats import looks_random
from llmcli.redaction.text_index import TextIndex

STRONG_STEMS = (
    "passwor|passwd|passphrase|passcode|passw|pwd|kennwort|mot de passe|motdepasse|mdp|contrase|senha|"
    "palavra-passe|palavra passe|parola d'ordine|wachtwoord|secret|geheim|segret|segredo|creds|"
    "credential|credenzial|credencia|zugangsdaten|identifiants|inloggegevens|rootpw|psk|hasło|heslo|"
    "lösenord|adgangskode|salasana|passord|jelsz"
)
"""Beginnings of words that name a password, in lower case; they count also inside identifiers (``MqttPassword``)."""
STRONG_WORDS = "pass|pw|clave|claves|chiave|parola|sleutel|schlüssel|clé"
"""Short words for a password or key, which count only as whole words or as parts of an identifier."""
LOGIN_WORDS = (
    "login|logins|log in|logon|signin|sign in|auth|authenticate|sasl|token|tokens|key|keys|apikey|cookie|"
    "code|codes|pin|puk|otp|unlock|einloggen|anmeldung|anmelden|zugang|connexion|accès|acceso|accesso|"
    "acesso|toegang|inloggen|codice|código|llave|chave|jeton|wifi|wi-fi|wlan|admin|root|jwt|hmac|user|"
    "username|benutzer|benutzername|utilisateur|usuario|usuário|utente|gebruiker"
)
"""Words beside which a password may stand: the token must look chosen beyond doubt."""
CONTEXT = ("{plain", "{cleartext", *f"{STRONG_STEMS}|{STRONG_WORDS}|{LOGIN_WORDS}".split("|"))
"""The literals of which one stands in each text with a secret of this kind."""
_LETTER = "a-z\u00df-\u00f6\u00f8-\u00ff\u0142"
_WORD = re.compile(
    rf"(?P<strong>\{{(?:plain|cleartext)(?=\}})|{STRONG_STEMS}|(?<![{_LETTER}])(?:{STRONG_WORDS})(?![{_LETTER}]))"
    rf"|(?<![{_LETTER}])(?:{LOGIN_WORDS})(?![{_LETTER}])"
)
_NAME_END = re.compile(r"[\w-]{0,40}")
_BLANKS = re.compile(r"[0-9]?[ \t]{0,40}")
_BREAKS = re.compile(r"(?:\n[ \t\r]{0,40}){1,3}")
_TOKEN = re.compile(r"[^\s\"'`<>\u201c-\u201f\u00ab\u00bb\u2018\u2019]{5,400}")
_PIECE = re.compile(r"[^;,|&=:(){}\[\]\\]{5,64}")
_INTRODUCED = re.compile(
    r"(?:[\"'`\u201c-\u201f\u00ab\u2018>=:]|->|(?<!\w)(?:is|it's|to|now|as|with|ist|lautet|war|auf|zu|est|c'est|es|\u00e8|\u00e9|\u00e0|a|luidt|wordt|was|mit|avec|con|com|met|type|enter|use|try|on|en"
    r"|(?:is|ist|lautet|est|es|\u00e8|\u00e9)[ \t](?:now|jetzt|nun|maintenant|ahora|ora|adesso|agora|nu|still|noch|weiterhin))[ \t]|(?P<parenthesis>\())[ \t]{0,4}[*_(\[{]{0,2}\Z",
    re.IGNORECASE,
)
"""What says that a literal follows: a quotation mark, a colon, an equals sign, an arrow, a copula."""
_PREFIX = re.compile(
    r"(?:(?:--?|/)?[\w.@+-]{1,40}(?:=|:(?!//))|\{[\w.-]{2,20}\}|[()\[\]{}|\\=:.,;>]{1,4}|\*{1,2}){0,4}"
)
_TRAIL = ")]},;.:|\\"
_MIN_RANDOM_CHARS, _MAX_TOKEN_CHARS = 20, 80
_TOKEN_START = re.compile(r"[=:()\[\]{},;>|*]")
"""How a token begins that follows a name directly."""
_SEVERAL_PARAMETERS = re.compile(r"[&,;][\w.-]{1,40}=")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")
_REACH_CHARS = 160
_FAR = 1 << 62
_REACH_BEFORE_CHARS = 80
_LINES_BELOW_PASSWORD, _LINES_BELOW_LOGIN = 4, 1
_MAX_INTRODUCTION_CHARS = 16
_ADJACENT, _BEHIND_PASSWORD, _NEAR, _BELOW_LOGIN = (1, 1), (2, 1), (3, 2), (3, 3)
"""The score that a token needs by its place, and the score if the text says that a value follows."""


def find_near_keywords(index: TextIndex) -> Iterator[Range]:
    """Yield tokens that look chosen and stand in the line of a word for a secret, or below it."""
    text, windows = index.text, _windows(index.lowered)
    at = 0
    for start, end in _merge([span for spans in windows.values() for span in spans]):
        for match in _TOKEN.finditer(text, max(at, start), end):
            at = match.end()
            place = next((place for place, spans in windows.items() if _covers(spans, match.start())), _BELOW_LOGIN)
            yield from _judge(text, *match.span(), place)


def _windows(lowered: str) -> dict[tuple[int, int], list[Range]]:
    """Return where a value may stand in a text in lower case, by the score that it needs: the lowest first."""
    windows: dict[tuple[int, int], list[Range]] = {_ADJACENT: [], _BEHIND_PASSWORD: [], _NEAR: [], _BELOW_LOGIN: []}
    for word in _WORD.finditer(lowered):
        name_end = _NAME_END.match(lowered, word.end()).end()  # type: ignore[union-attr]
        is_strong = word["strong"] is not None
        if INNOCENT_NAME.search(lowered, word.start(), name_end):
            continue
        line_start = lowered.rfind("\n", max(0, word.start() - _REACH_BEFORE_CHARS), word.start()) + 1
        line_start = line_start or max(0, word.start() - _REACH_BEFORE_CHARS)
        line_end = _line_end(lowered, name_end)
        windows[_BEHIND_PASSWORD if is_strong else _NEAR].append((name_end, line_end))
        if is_strong:
            windows[_NEAR].append((line_start, word.start()))
            windows[_ADJACENT].append((name_end, _BLANKS.match(lowered, name_end).end() + 1))  # type: ignore[union-attr]
        below = line_end
        for index in range(_LINES_BELOW_PASSWORD if is_strong else _LINES_BELOW_LOGIN):
            if lowered[below : below + 1] != "\n":
                break
            next_end = _line_end(lowered, _BREAKS.match(lowered, below).end())  # type: ignore[union-attr]
            if index == 0 and is_strong and "?" in lowered[name_end:line_end]:
                windows[_BEHIND_PASSWORD].append((below, next_end))
            below = next_end
        windows[_NEAR if is_strong else _BELOW_LOGIN].append((line_end, below))
    return {place: _merge(spans) for place, spans in windows.items()}


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start, start + _REACH_CHARS)
    return end if end >= 0 else min(len(text), start + _REACH_CHARS)


def _merge(spans: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def _covers(spans: list[Range], offset: int) -> bool:
    index = bisect_right(spans, (offset, _FAR)) - 1
    return index >= 0 and offset < spans[index][1]


def _judge(text: str, start: int, end: int, place: tuple[int, int]) -> Iterator[Range]:
    """Yield the token without what stands around it, or the pieces of the token that look chosen."""
    token = text[start:end]
    if (
        "://" in token
        or len(token) > _MAX_TOKEN_CHARS
        or _TOKEN.match(text, start)[0] != token  # type: ignore[index] # a window ends within it
        or (text[start - 1 : start].isalnum() and not _TOKEN_START.match(token))
        or _BASE64.fullmatch(token)
        or (len(token) >= _MIN_RANDOM_CHARS and looks_random(token))
    ):
        return  # judged by other rules
    prefix = _PREFIX.match(text, start, end)
    first = prefix.end() if prefix is not None else start
    if not _SEVERAL_PARAMETERS.search(token) and _is_chosen(text, first, end, place):
        yield first, _trimmed(text, first, end)
        return
    for piece in _PIECE.finditer(text, start, end):
        if piece.span() != (first, end) and _is_chosen(text, *piece.span(), place):
            yield piece.start(), _trimmed(text, *piece.span())


def _trimmed(text: str, start: int, end: int) -> int:
    return start + len(text[start:end].rstrip(_TRAIL))


def _is_chosen(text: str, start: int, end: int, place: tuple[int, int]) -> bool:
    token = text[start:end].rstrip(_TRAIL)
    if len(token) < MIN_PASSWORD_CHARS:
        return False
    score = password_score(token)
    plain, introduced = place
    return score >= plain or (
        score >= introduced and _INTRODUCED.search(text, max(0, start - _MAX_INTRODUCTION_CHARS), start) is not None
    )
