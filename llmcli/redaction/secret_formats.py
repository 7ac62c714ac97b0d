"""Find keys and tokens: by the formats of their issuers, in Authorization headers, by entropy."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterator

from llmcli.redaction.normalization import Range

_EDGE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"
"""Where a token may begin: not after a letter or digit, except after an escape sequence."""
KEY_FORMATS = {
    "AWS": r"A(?:KIA|SIA|BIA|CCA|GPA|IDA|IPA|NPA|NVA|ROA)[A-Z0-9]{16}",
    "GitHub": r"gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}",
    "GitLab": r"gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|oas|imt|ffct)-[\w.-]{20,300}",
    "Slack": r"xox[a-z](?:\.xox[a-z])?-[\w-]{10,400}|xapp-[\w-]{20,400}",
    "Stripe": r"(?:sk|pk|rk)_(?:live|test|prod)_[A-Za-z0-9]{10,255}|whsec_[A-Za-z0-9+/=]{20,100}",
    "Google": r"AIza[\w-]{30,50}|ya29\.[\w-]{20,1000}|GOCSPX-[\w-]{20,50}|1//0[\w-]{40,200}",
    "OpenAI, Anthropic, OpenRouter": r"sk-(?:ant|proj|svcacct|admin|or)-[\w-]{16,300}|sk-[A-Za-z0-9]{20,200}",
    "Hugging Face": r"(?:hf_|api_org_)[A-Za-z0-9]{20,100}",
    "other services of models": r"gsk_[A-Za-z0-9]{20,100}|xai-[A-Za-z0-9]{20,200}|r8_[A-Za-z0-9]{30,60}"
    r"|pplx-[A-Za-z0-9]{20,100}|nvapi-[\w-]{20,200}|lsv2_(?:pt|sk)_[a-f0-9_]{30,100}",
    "JWT": r"eyJ[\w-]{8,4000}\.[\w-]{8,8000}(?:\.[\w-]{0,4000}){0,3}",
    "package indexes": r"npm_[A-Za-z0-9]{30,60}|pypi-[\w-]{40,300}|rubygems_[a-f0-9]{40,60}|dckr_pat_[\w-]{20,60}",
    "clouds": r"do[opr]_v1_[a-f0-9]{40,80}|dapi[a-f0-9]{32}(?:-[0-9])?|hv[sb]\.[\w-]{20,300}|dop_v1_[a-f0-9]{64}",
    "mail and messages": r"SG\.[\w-]{16,40}\.[\w-]{16,80}|(?:AC|SK)[a-f0-9]{32}|key-[a-f0-9]{32}"
    r"|[0-9]{8,10}:AA[\w-]{30,40}|[MNO][\w-]{22,28}\.[\w-]{6}\.[\w-]{27,40}",
    "others": r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|lin_api_[A-Za-z0-9]{30,60}|secret_[A-Za-z0-9]{40,50}"
    r"|ntn_[A-Za-z0-9]{40,60}|AGE-SECRET-KEY-1[A-Z0-9]{50,70}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|sq0[a-z]{3}-[\w-]{22,50}",
}
"""Patterns of keys by issuer, from the documentation of the issuers."""
_KEYS = re.compile(_EDGE + "(?:" + "|".join(f"(?:{pattern})" for pattern in KEY_FORMATS.values()) + ")")
_WEBHOOK = re.compile(r"hooks\.slack\.com/(?:services|workflows)/([\w/]{20,200})")
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[\s\S]{0,20000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|(?:[A-Za-z0-9+/=:, \r\n-]|\\[nr]){0,20000})"
)
_AUTHORIZATION = re.compile(r"(?i:\b(?:bearer|basic|token|apikey))[ =:]{1,3}([A-Za-z0-9+/._~-]{12,4000}={0,2})")
_TOKEN = re.compile(r"[A-Za-z0-9+/_\-]{20,}={0,2}")
_CHECKSUM_BEFORE = re.compile(r"(?i:sha-?(?:1|224|256|384|512)|md5|blake2[bs]?|commit|checksum|digest|integrity|etag|rev(?:ision)?"
                              r"|tree|parent|index)[\"']?\s{0,2}[-:= (@]{0,3}[\"']?(?:[a-z0-9]{1,8}-)?\Z")  # fmt: skip
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_NO_SIGNS = str.maketrans("", "", "+/_-")
_RUN = re.compile(r"[a-z]+|[A-Z]+|[0-9]+")
_MIN_HEX_CHARS = 32
_MIN_ENTROPY = 3.4
"""Fewest bits per character of a random token."""
_MIN_HEX_ENTROPY = 2.8
_MIN_CHANGES, _MIN_CHANGES_FEW_DIGITS = 0.27, 0.45
"""Fewest changes between lower case, upper case and digits in a random token, as a share of all neighbouring pairs."""
_MANY_DIGITS = 0.12
"""Share of digits above which a token is hardly a name made of words."""
_AWS_SECRET = re.compile(r"(?=[^/+]*[/+])(?=[^0-9]*[0-9])[A-Za-z0-9/+]{40}")
_CAMEL_CASE = re.compile(r"_*[A-Za-z][a-z]+[0-9]{0,3}(?:_?[A-Z][a-z]+[0-9]{0,3})+")
_MIN_AWS_UPPER = 6
"""Fewest upper-case letters of an AWS secret key; paths have fewer."""
_MAX_ENTROPY_CHARS = 512
"""Characters of a token that are examined."""


def find_keys(text: str) -> Iterator[Range]:
    """Yield keys and tokens of a known format."""
    for match in _KEYS.finditer(text):
        yield match.span()


def find_webhooks(text: str) -> Iterator[Range]:
    """Yield the secret paths of Slack's webhooks."""
    for match in _WEBHOOK.finditer(text):
        yield match.span(1)


def find_private_keys(text: str) -> Iterator[Range]:
    """Yield private keys in PEM, OpenSSH and OpenPGP armour, even without their end."""
    for match in _PEM.finditer(text):
        yield match.start(), match.start() + len(match.group().rstrip())


def find_authorizations(text: str) -> Iterator[Range]:
    """Yield the credentials of Authorization headers."""
    for match in _AUTHORIZATION.finditer(text):
        if any(map(str.isdigit, match[1])) or match[1].endswith("="):
            yield match.span(1)


def lower(text: str) -> str:
    """Return the text in lower case without changing offsets."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def find_random_tokens(text: str) -> Iterator[Range]:
    """Yield long tokens that look random: hexadecimal ones, and mixtures of upper case, lower case and digits.

    UUIDs and checksums after a word such as "sha256" are skipped.
    """
    for match in _TOKEN.finditer(text):
        for start, end in _token_parts(match.group()):
            if looks_random(match.group()[start:end]):
                at = match.start() + start
                if not _CHECKSUM_BEFORE.search(text, max(0, at - 24), at):
                    yield at, match.start() + end


def _token_parts(token: str) -> Iterator[Range]:
    """Yield the whole token if it looks random, else its parts, since it may be a path or several words."""
    if looks_random(token):
        yield 0, len(token)
        return
    for part in re.finditer(r"[A-Za-z0-9+_\-]{20,}={0,2}" if "/" in token else r"[A-Za-z0-9]{20,}={0,2}", token):
        yield part.span()


def looks_random(token: str) -> bool:
    """Return whether a token of letters and digits looks random rather than made of words."""
    core = token[:_MAX_ENTROPY_CHARS].rstrip("=")
    if _UUID.fullmatch(core):
        return False
    if _HEX.fullmatch(core) and not core.isdigit():
        return len(core) >= _MIN_HEX_CHARS and shannon_entropy(core) >= _MIN_HEX_ENTROPY
    digits = sum(map(core.count, string.digits))
    if _AWS_SECRET.fullmatch(core) and sum(map(str.isupper, core)) >= _MIN_AWS_UPPER:
        return True
    if _CAMEL_CASE.fullmatch(core) or not digits or digits > len(core) * 0.7 or shannon_entropy(core) < _MIN_ENTROPY:
        return False
    runs = _RUN.findall(core.translate(_NO_SIGNS))
    wanted = _MIN_CHANGES if digits >= _MANY_DIGITS * len(core) else _MIN_CHANGES_FEW_DIGITS
    return len(runs) - 1 >= wanted * (sum(map(len, runs)) - 1)


def shannon_entropy(text: str) -> float:
    """Return the entropy of the characters of a text, in bits a character."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())
