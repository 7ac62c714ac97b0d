"""Find keys, tokens and passwords.

Keys have the format of their issuer, stand in an Authorization header, or are random. Passwords stand in addresses, in
arguments of programs, and behind a word such as "password".
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterator

from llmcli.redaction.innocent_values import (
    INNOCENT_NAME,
    is_expression,
    is_placeholder,
    is_prose,
    is_status_word,
    mentions_secret,
    names_kept_secret,
)
from llmcli.redaction.literal_prefilter import PrefilteredPattern
from llmcli.redaction.normalization import Range
from llmcli.redaction.text_index import TextIndex, lower

_PEM = PrefilteredPattern(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[\s\S]{0,20000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|(?:[A-Za-z0-9+/=:, \r\n-]|\\[nr]){0,20000})"
)
_AUTHORIZATION = PrefilteredPattern(r"(?i:\b(?:bearer|basic|token|apikey))[ =:]{1,3}([A-Za-z0-9+/._~-]{12,4000}={0,2})")
_TOKEN = re.compile(r"[A-Za-z0-9+/_\-]{20,}={0,2}")
_CHECKSUM_BEFORE = re.compile(r"(?i:sha-?(?:1|224|256|384|512)|md5|blake2[bs]?|commit|checksum|digest|integrity|etag|rev(?:ision)?"
                              r"|tree|parent|index|hash|sum|sha|fingerprint|(?:trace|span|request|correlation|build|object|blob|image|layer|container|session_?trace|parent|transaction|tx|block|message|event|job|run|node|machine)[ _-]?id)[\"']?\s{0,2}[-:= (@]{0,3}[\"']?(?:[a-z0-9]{1,8}-)?\Z")  # fmt: skip
_PUBLIC_DATA = PrefilteredPattern(
    r"-----BEGIN (?:[A-Z0-9 ]{0,30}CERTIFICATE(?: REQUEST)?|(?:[A-Z0-9]{1,10} )?PUBLIC KEY(?: BLOCK)?|PGP (?:SIGNATURE|MESSAGE|PUBLIC KEY BLOCK)|SSH SIGNATURE|X509 CRL|DH PARAMETERS|EC PARAMETERS)-----"
    r"(?:[A-Za-z0-9+/=:, \r\n.()<>@\"'|-]|\\[nr]){0,60000}"
    r"|ENC\[AES256_GCM,data:[A-Za-z0-9+/=,:_]{1,60000}\]"
    r"|data:(?:image|font|audio|video|application/(?:font|x-font|octet|pdf|wasm|json|vnd))[\w/+.-]{0,60}(?:;[\w=-]{1,40}){0,4},[A-Za-z0-9+/=%_-]{0,4000000}"
    r"|(?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-nistp[0-9]{3}|sk-(?:ssh|ecdsa)\S{4,40})[ \t]{1,4}AAAA[A-Za-z0-9+/=]{0,4000}"
    r"|/nix/store/[a-z0-9]{32}-|/gnu/store/[a-z0-9]{32}-|\bh1:[A-Za-z0-9+/]{43}="
    r"|sha(?:1|256|384|512)-[A-Za-z0-9+/]{27,90}={0,2}"
)
"""Certificates, public keys, signatures, data of images and fonts, paths in stores of packages, checksums of packages."""
_PUBLIC_TOKEN = re.compile(
    r"(?:[\w.-]{1,60}/){2}[0-9a-f]{40}\Z|(?:rsa|dsa|elg|ed|cv|nistp)[0-9]{3,5}/[0-9A-F]{8,40}\Z|pack-[0-9a-f]{40}\Z|0x(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\Z|[a-z]{1,12}-[0-9a-f]{8}(?:[0-9a-f]{9})?\Z|\w{1,60}\+0x[0-9a-f]{1,8}/0x|(?:[\w:]{0,20}/{1,2})?baf[ky][a-z2-7]{50,60}\Z|(?:[\w:]{0,20}/{1,2})?Qm[1-9A-HJ-NP-Za-km-z]{44}\Z|(?:[a-z0-9-]{1,60}/)?[a-z][a-z0-9-]{0,60}-[0-9a-f]{8,10}-[a-z0-9]{5}\Z|AAAA[BCE][23][A-Za-z0-9]|_{1,2}Z[A-Z0-9]|_R[INCYXMF][A-Za-z0-9]|(?:_?\$s|_T0)[0-9]|sha(?:1|256|384|512)[-/:]|[a-z]{1,12}-0x[0-9a-f]{8,64}\Z|(?:bc|tb|ltc|addr|cosmos|osmo|celo)1[a-z0-9]{37,100}\Z|(?:[A-Z2-7]{7}-){7}[A-Z2-7]{7}\Z|z6Mk[1-9A-HJ-NP-Za-km-z]{40,50}\Z|//[0-9a-f]{64}\Z|(?i:89504e470d0a1a0a|ffd8ff[de][0-9b]|47494638[379]961|504b0304|7f454c460[12]|255044462d|1f8b08[01]|cffaedfe|cafebabe0000|52494646|53514c69746520666f726d6174|0061736d0100|fd377a585a00|28b52ffd|377abcaf271c|4d5a9000|774f46|00010000000[c-f])[0-9a-f]*\Z|(?:ata|scsi|nvme|usb|wwn|dm)-[\w-]{8,80}\Z|age1[a-z0-9]{58}\Z|npub1[a-z0-9]{58}\Z|(?:[1-8pnbrqkPNBRQK]{1,8}/){7}[1-8pnbrqkPNBRQK]{1,8}\Z|(?:[\w-]{1,40}/)?[A-Za-z]{0,12}[-_]?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"
)
_FILE_OF_MODEL = re.compile(
    r"[\w.-]{0,40}\.(?:gguf|ggml|safetensors|onnx|pth?|bin|tar|gz|zip|whl|so|dylib|dll|js|css|mjs|map|png|jpe?g|svg|woff2?|html?|json|txt|md|py|lock|patch|deb|rpm|jar|iso|img|exe|log)(?![\w])"
)
_CHECKSUM_CHARS = frozenset({32, 40, 56, 64, 96, 128})
_FILE_AFTER = re.compile(r"(?:[ ]{2}|[ ]\*|\t)[^\s]")
_FILE_BEFORE = re.compile(
    r"(?i:sha-?[0-9]{1,3}(?:-[0-9]{3})?|md5|blake2[bs]?|sm3|rmd160|crc)[ ]?\([^()\r\n]{1,200}\)[ ]?=[ ]\Z"
)
_PUBLIC_PATH = re.compile(
    r"(?:^|/)secrets/[\w-]{1,80}/[0-9a-f]{32}$|(?:^|/)(?:blob|tree|commits?|raw|archive|rustc|compare|revs?|objects|blame|edit|(?:\.?build-id|objects|blobs|sha256)/[0-9a-f]{2})/[0-9a-f]{30,64}(?:/|$)"
)
_NAME_OF_DIRECTORY = re.compile(
    r"(?<![\w.:-])(?:~|\$\{?HOME\}?|[A-Za-z]:)?[/\\](?:var|run|sys|proc|usr|opt|tmp|home|root|srv|mnt|data|users|library|nix|snap)[/\\](?:[\w.@+-]{1,80}[/\\]{1,2}){0,8}(?:[\w@+]{1,24}[-_.:]){0,2}\Z",
    re.IGNORECASE,
)
"""What stands before the name of a file or directory below a directory of the system."""
_MAX_PATH_CHARS = 200
_HEX_IN_PATH = re.compile(r"[0-9a-f]{32,128}(?![0-9A-Za-z])")
_MAX_NEAR_CHARS, _MAX_AFTER_CHARS, _MAX_JWK_CHARS = 400, 60, 3000
_CHECKSUM_WORD = re.compile(
    r"(?i:(?<![a-z])(?:md[245]|sha-?[0-9]{0,3}(?:[-/_][0-9]{3})?(?:sums?)?|sha3-[0-9]{3}|blake[23][a-z]?|xxh(?:ash)?(?:32|64|128)?|crc-?[0-9]{0,2}|ripemd-?[0-9]{0,3}|whirlpool|keccak-?[0-9]{0,3})(?![a-z])"
    r"|check[ -]?sum|\b[a-z0-9]{1,10}sums?\b|\bja[34]\b|\.conda#|\.deb |digest|integrity|fingerprint|build[ -]?id|hashe?[sd]?\b|pr\u00fcfsumme|fingerabdruck|empreinte|somme de contr\u00f4le|huella|suma de comprobaci\u00f3n|commit|revision|git[ -]rev|merge|cherry|tarball|etag|merkle|block|tx(?:id)?\b|transaction|genesis|thumbprint|key ?id|checked out|\brefs/|\bhead\b|[0-9a-f]{7,40}\.{2,3}$|using \w{2,8} key|\bindex\b|cherry-pick|bisect|stash|\b(?:git|repo(?:sitory)?|branch|tags?|upstream|submodules?|bump(?:ed|s)?|clone[ds]?|fetch(?:ed)?|rebased?|patch|parent|tree|blob|reverts?|reverted|pinned|lock|regression|introduced|backport(?:ed)?|changeset|event|uuid|guid|snapshot|log ?index|cache|dedup(?:e|lication)?|manifest|layer|image|artifact|version|object|node|machine|device|info ?hash|file|archive|download(?:ed)?|task|job)\b)"
)
_SECRET_NEAR = re.compile(
    r"(?i:secret|passw|passphrase|token|api[ _-]?key|access[ _-]?key|hmac|credential|private|session|signing[ _-]?key|auth|(?<![a-z])(?:psk|seed|licen[cs]e|pass|pwd|pw|schl\u00fcssel|cl\u00e9|clave)(?![a-z])|(?<!public)(?<!public )(?<!rsa )(?<!dsa )(?<![a-z])keys?(?![a-z])(?![ _-](?:id|fingerprint|grip)))"
)
_OPENPGP_BEFORE = re.compile(
    r"(?:^|\n)(?:pub|sub|sec|ssb)[#>]?[ \t]{1,4}(?:rsa|dsa|elg|ed|cv|nistp|brainpool|[0-9]{3,4})[^\n]{0,100}\r?\n[ \t]{0,12}(?:Key fingerprint = )?\Z|(?:^|\n)(?:fpr|pub|sub|grp)(?::[^:\n]{0,40}){1,9}:\Z"
)
_ALGORITHM_BEFORE = re.compile(
    r"\"alg(?:orithm)?\"\s{0,4}:\s{0,4}\"(?i:md5|sha|blake)[\w.-]{0,12}\"\s{0,4},\s{0,40}\"\w{1,20}\"\s{0,4}:\s{0,4}\"\Z"
)
"""A member of CycloneDX that names the algorithm of a checksum."""
_COMMIT_AFTER = re.compile(
    r" (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]| [0-9a-f]{7,40} \w"
    r"| (?:refs/|\(HEAD|(?:[a-z]{2,10}(?:\([\w-]{1,20}\))?!?: [a-z]|Merge |Revert ))"
)
_SUMS_BEFORE = re.compile(r"(?i:(?:check)?sums:?)\s*\n(?:[^\n]{1,120}\n){0,4}[ \t]{0,8}[\w./+-]{1,80}:[ \t]{1,4}\Z")
_DNS_WORD = re.compile(
    r"\b(?:C?DS|C?DNSKEY|SSHFP|TLSA|SMIMEA|NSEC3|NSEC3PARAM|OPENPGPKEY|RRSIG|TXT)[ \t]|(?i:dkim|\bk=|arc-)"
)
_WORD_LETTER = re.compile(r"[g-zG-Z]|[^\x00-\x7f]|\.deb |\.\.")
"""What each word has that says a token is public: a search for it is fast in a text of hexadecimal digits alone."""
_PINNED_ENDS = frozenset("@:.")
_OPENPGP_ENDS = frozenset("\n=:")
_MAX_LABEL_CHARS, _MAX_SAID_CHARS = 60, 160
_DNS_RECORD = re.compile(
    r"\b(?:C?DS|C?DNSKEY|SSHFP|TLSA|SMIMEA|NSEC3(?:PARAM)?|OPENPGPKEY|RRSIG)[ \t]{1,8}\(?[ \t]{0,4}[A-Z0-9*][^\n]{0,80}(?:\n[ \t]{1,40}[A-Za-z0-9+/= \t]{0,100}){0,3}\Z"
    r"|\bTXT[ \t]{1,8}\(?[ \t]{0,4}(?:\"[^\"\n]{0,300}\"\s{1,40}){0,8}\"[^\"\n]{0,300}\Z|(?i:\b(?:v=DKIM1|k=(?:rsa|ed25519)))[^\n]{0,60}\bp=[^;]{0,380}\Z|(?i:\b(?:dkim|arc-message)-(?:signature|seal)|\barc-seal:)[^\x00]{0,380}\b(?:b|bh)=[A-Za-z0-9+/=\s]{0,380}\Z"
)
_PUBLIC_LABEL = re.compile(
    r"(?i:(?<![a-z_-])(?:(?!session|sess|auth|login|secret|token|passw|cred)[a-z]{1,20}[_-]){0,3}(?:id|uuid|guid)[\"']?\s{0,2}[:= \[]\s{0,2}[\"'\[]?\Z)|"
    r"(?i:(?:public|pub|verify|verification|peer|host|publishable)[ _-]?key(?:[ _-]?(?:base64|hex|multibase|pin))?|publickey|pubkey|pin-sha256|sha256//|recipient:?|minisign|signature|integrity|nonce|accessor|public ?key ?token|\b(?:zh|h1)|\bpack-|(?:containerd|docker|cri-o|podman|did:\w{2,8})[:/]{1,3}|\bpeer|\bp[gk]p|opaque|boundary|cid|btih|[?&](?:v|ver|version|hash|h|rev)|\.(?:tgz|tar\.\w{2,4}|zip|git)#|[\w-]{0,30}(?:site|domain)-verification)[\"']?\s{0,2}[:= (]{0,3}\s{0,2}[\"'`]?[=_-]{0,8}\Z"
)
_PUBLIC_HEADER = re.compile(
    r"(?i:[ \t]{0,12}[<>*+-]{0,2}[ \t]{0,2}[\"']?(?:etag|if-(?:none-)?match|traceparent|tracestate|(?:x-)?(?:[a-z]{1,12}-){0,3}(?:trace|request|correlation|transaction|span|amz-cf|message|delivery|task|job|run|build|event|version|upload)-?id(?:-2)?|x-amz-id-2|b3|x-b3-\w{1,20}"
    r"|sec-websocket-(?:key|accept)|content-md5|(?:repr-|content-)?digest|www-authenticate|content-security-policy(?:-report-only)?|message-id|in-reply-to|references|content-id|cf-ray|x-cache\w{0,10}|public-key-pins|uber-trace-id)[\"']?[ \t]{0,2}[:=])"
)
"""A header whose value the other side or anybody may know."""
_NSEC3_AFTER = re.compile(r"\.[\w.-]{0,120}[ \t]{1,8}(?:[0-9]{1,8}[ \t]{1,8})?(?:IN[ \t]{1,8})?NSEC3\b")
_JWK_MEMBER = re.compile(r"[\"'](?:x|y|n|kid|x5t|x5t#S256|x5c)[\"']\s{0,4}:\s{0,4}\[?\s{0,4}[\"']\Z")
_PRIVATE_MEMBER = re.compile(r"[\"'](?:d|k|p|q|dp|dq|qi)[\"']\s{0,4}:")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_NO_SIGNS = str.maketrans("", "", "+/_-")
_WORD_OF_NAME = re.compile(
    r"(?=[A-Z]?[a-z]{0,2}[aeiou])(?:[A-Z][a-z]{3,}|(?<![A-Za-z])[a-z]{4,})(?![a-z])|(?=[A-Z]{0,3}[AEIOU])(?<![A-Za-z0-9])[A-Z]{4,}(?![a-z0-9])"
)
"""A word of four letters or more with a vowel near its beginning, in an identifier."""
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


_PINNED_BEFORE = re.compile(r"(?:\w[\w.-]*/)+[\w.-]+@(?:sha256:)?\Z|(?:~|\$HOME)/\.\Z")
"""A program or a package whose version is a commit or a digest follows, or the path of a cache."""


def find_private_keys(index: TextIndex) -> Iterator[Range]:
    """Yield private keys in PEM, OpenSSH and OpenPGP armour, even without their end."""
    for match in _PEM.finditer(index):
        yield match.start(), match.start() + len(match.group().rstrip())


def find_authorizations(index: TextIndex) -> Iterator[Range]:
    """Yield the credentials of Authorization headers."""
    for match in _AUTHORIZATION.finditer(index):
        if any(map(str.isdigit, match[1])) or match[1].endswith("="):
            yield match.span(1)


def find_random_tokens(index: TextIndex) -> Iterator[Range]:
    """Yield long tokens that look random: hexadecimal ones, and mixtures of upper case, lower case and digits.

    UUIDs, checksums, identifiers of requests, public keys, certificates, and data of images are skipped.
    """
    text = index.text
    public = [match.span() for match in _PUBLIC_DATA.finditer(index)]
    at_public = 0
    for match in _TOKEN.finditer(text):
        while at_public < len(public) and public[at_public][1] <= match.start():
            at_public += 1
        if at_public < len(public) and public[at_public][0] <= match.start():
            continue
        for start, end in _token_parts(match.group()):
            at = match.start() + start
            token = match.group()[start:end]
            if (
                not _PUBLIC_PATH.search(match.group())
                and not (text[at - 1 : at] in _PINNED_ENDS and _PINNED_BEFORE.search(text, max(0, at - 120), at))
                and not (
                    _WORD_LETTER.search(text, max(0, at - 24), at)
                    and _CHECKSUM_BEFORE.search(text, max(0, at - 24), at)
                )
                and not _PUBLIC_TOKEN.match(token)
                and not _FILE_OF_MODEL.match(text, match.end())
                and not _names_directory(text, at, match.start() + end)
                and not _is_checksum_line(text, at, match.start() + end)
                and not _is_said_public(text, at, match.start() + end)
            ):
                yield at, match.start() + end


def _names_directory(text: str, start: int, end: int) -> bool:
    """Return whether the only random part of a token is a checksum in the name of a file or directory of the system."""
    parts = list(_HEX_IN_PATH.finditer(text, start, end))
    return bool(parts) and all(
        _NAME_OF_DIRECTORY.search(text, max(0, part.start() - _MAX_PATH_CHARS), part.start()) is not None
        for part in parts
    )


def _is_said_public(text: str, start: int, end: int) -> bool:
    """Return whether the words around a token say that it is public: a checksum, a fingerprint, a record of DNS, a key."""
    near = text[max(0, start - _MAX_NEAR_CHARS) : start]
    line = near.rpartition("\n")[2]
    if _HEX.fullmatch(text, start, end) is not None:
        after = text[end : end + _MAX_AFTER_CHARS].partition("\n")[0]
        said = line[-_MAX_SAID_CHARS:]
        if (_names_checksum(said) or _names_checksum(after)) and not _SECRET_NEAR.search(said):
            return True
        last = near.rstrip(" \t")[-1:]
        if (
            (last == '"' and _ALGORITHM_BEFORE.search(near))
            or (last in _OPENPGP_ENDS and _OPENPGP_BEFORE.search(near))
            or _COMMIT_AFTER.match(text, end)
            or (last == ":" and _SUMS_BEFORE.search(near))
        ):
            return True
    if _PUBLIC_HEADER.match(line) is not None or _NSEC3_AFTER.match(text, end) is not None:
        return True
    return _WORD_LETTER.search(near) is not None and (
        (_DNS_WORD.search(near) is not None and _DNS_RECORD.search(near) is not None)
        or (
            _WORD_LETTER.search(line[-_MAX_LABEL_CHARS:]) is not None
            and _PUBLIC_LABEL.search(line[-_MAX_LABEL_CHARS:]) is not None
        )
        or (_JWK_MEMBER.search(line[-_MAX_LABEL_CHARS:]) is not None and _is_in_public_jwk(text, start, end))
    )


def _names_checksum(text: str) -> bool:
    """Return whether a text has a word for a checksum or a commit."""
    return _WORD_LETTER.search(text) is not None and _CHECKSUM_WORD.search(text) is not None


def _is_in_public_jwk(text: str, start: int, end: int) -> bool:
    """Return whether a token stands in a JSON web key that has no private part."""
    first = text.rfind("{", max(0, start - _MAX_JWK_CHARS), start)
    last = text.find("}", end, end + _MAX_JWK_CHARS)
    members = text[max(0, first) : last if last >= 0 else end + _MAX_JWK_CHARS]
    return first >= 0 and "kty" in members and _PRIVATE_MEMBER.search(members) is None


def _is_checksum_line(text: str, start: int, end: int) -> bool:
    """Return whether a hexadecimal token is the checksum of a file, as sha256sum prints it, with ``--tag`` or without."""
    if end - start not in _CHECKSUM_CHARS or _HEX.fullmatch(text, start, end) is None:
        return False
    return _FILE_AFTER.match(text, end) is not None or (
        text.startswith("= ", start - 2) and _FILE_BEFORE.search(text, max(0, start - 300), start) is not None
    )


def _token_parts(token: str) -> Iterator[Range]:
    """Yield the whole token if it looks random, else its random parts, since it may be a path or several words."""
    if looks_random(token):
        yield 0, len(token)
        return
    for part in re.finditer(r"[A-Za-z0-9+_\-]{20,}={0,2}" if "/" in token else r"[A-Za-z0-9]{20,}={0,2}", token):
        if looks_random(part.group()):
            yield part.span()


def looks_random(token: str) -> bool:
    """Return whether a token of letters and digits looks random rather than made of words."""
    core = token[:_MAX_ENTROPY_CHARS].rstrip("=")
    if _UUID.fullmatch(core):
        return False
    if _HEX.fullmatch(core) and not core.isdigit():
        return len(core) >= _MIN_HEX_CHARS and _shannon_entropy(core) >= _MIN_HEX_ENTROPY
    digits = sum(map(core.count, string.digits))
    if _AWS_SECRET.fullmatch(core) and sum(map(str.isupper, core)) >= _MIN_AWS_UPPER:
        return True
    if (
        _is_made_of_words(core)
        or _CAMEL_CASE.fullmatch(core)
        or not digits
        or digits > len(core) * 0.7
        or _shannon_entropy(core) < _MIN_ENTROPY
    ):
        return False
    runs = _RUN.findall(core.translate(_NO_SIGNS))
    wanted = _MIN_CHANGES if digits >= _MANY_DIGITS * len(core) else _MIN_CHANGES_FEW_DIGITS
    return len(runs) - 1 >= wanted * (sum(map(len, runs)) - 1)


def _is_made_of_words(token: str) -> bool:
    """Return whether half of a token in upper and lower case, or with underscores, is words: an identifier of a program."""
    if token.islower() or token.isdigit() or (token.isupper() and "_" not in token):
        return False
    return 2 * sum(map(len, _WORD_OF_NAME.findall(token))) >= len(token.translate(_NO_SIGNS))


def _shannon_entropy(text: str) -> float:
    """Return the entropy of the characters of a text, in bits a character."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())


_URL_PASSWORD = PrefilteredPattern(r"://[^\s/:@\"'<>\\]{0,256}:([^\s/@\"'<>\\]{1,256})@|://([\w.~%+-]{12,256})(?::)?@")
_LOGIN_OPTION = PrefilteredPattern(r"(?:-u|--user|--proxy-user|-U)[ =]?[\"']?[\w.@+-]{1,64}:([^\s\"':@]{4,128})")
SECRET_WORDS = (
    *("pass", "pw", "psk", "kennwort", "contrase", "secret", "token", "key", "credential", "auth", "pin"),
    *(
        "\u5bc6\u7801",
        "\u5bc6\u78bc",
        "\u53e3\u4ee4",
        "\u30d1\u30b9\u30ef\u30fc\u30c9",
        "\ube44\ubc00\ubc88\ud638",
        "\uc554\ud638",
    ),
    *(
        "\u043f\u0430\u0440\u043e\u043b",
        "\u043b\u043e\u0437\u0438\u043d\u043a\u0430",
        "\u03ba\u03c9\u03b4\u03b9\u03ba",
        "\u05e1\u05d9\u05e1\u05de",
        "\u0643\u0644\u0645\u0629",
        "\u092a\u093e\u0938\u0935\u0930\u094d\u0921",
    ),
    *(
        "\u0e23\u0e2b\u0e31\u0e2a\u0e1c\u0e48\u0e32\u0e19",
        "senha",
        "has\u0142o",
        "heslo",
        "jelsz",
        "\u015fifre",
        "sifre",
        "parola",
        "lozinka",
    ),
    *("l\u00f6senord", "adgangskode", "salasana", "wachtwoord", "m\u1eadt kh\u1ea9u", "kata sandi"),
)
"""A text without any of these words assigns nothing to a secret."""
_PASSWORDS = (
    r"pass(?:word|wort|wd|phrase|code)|pwd|(?<![a-z])(?:pw|(?:wpa-)?psk)|mot de passe|kennwort|contrase\u00f1a|(?<![a-z])(?:senha|has\u0142o|heslo|jelsz\u00f3|[\u015fs]ifre"
    r"|parola|lozinka|l\u00f6senord|adgangskode|passord|salasana|wachtwoord)|m\u1eadt kh\u1ea9u|kata sandi|\u5bc6\u7801|\u5bc6\u78bc|\u53e3\u4ee4|\u30d1\u30b9\u30ef\u30fc\u30c9"
    r"|\ube44\ubc00\ubc88\ud638|\uc554\ud638|\u043f\u0430\u0440\u043e\u043b(?:\u044c|\u0430)|\u043b\u043e\u0437\u0438\u043d\u043a\u0430|\u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2|\u05e1\u05d9\u05e1\u05de\u05d4"
    r"|\u0643\u0644\u0645\u0629 (?:\u0627\u0644\u0645\u0631\u0648\u0631|\u0627\u0644\u0633\u0631)|\u092a\u093e\u0938\u0935\u0930\u094d\u0921|\u0e23\u0e2b\u0e31\u0e2a\u0e1c\u0e48\u0e32\u0e19"
)
_SECRET_WORD = re.compile(
    rf"(?P<password>{_PASSWORDS})(?![a-z])|(?:(?<!by)(?<!com)(?<!tres)(?<!over)(?<!under)(?<!sur)pass|secret|token|api[ _-]?key"
    r"|(?:access|private|secret|auth|account|encryption|signing|master|shared|storage|subscription)[ _-]?key"
    r"|credentials?|auth|pin)(?![a-z])"
)
_SECRET_WORDS_SEARCH = PrefilteredPattern(_SECRET_WORD.pattern, lowered=True)
_ASSIGNMENT = re.compile(
    r"(?P<suffix>[_-][\w-]{0,30})?(?:\\?[\"'])?(?P<operator>\s{0,4}(?::=|=>|[:=>])\s{0,4}|\s{1,4}(?:is|ist|est|es)\s{1,4}"
    r"|(?P<pair>(?<=[\"']),?\s{1,40}\\?[\"']?value\\?[\"']?\s{0,4}[:=]\s{0,4}|\r?\n[ \t]{0,40}value:[ \t]{1,4})"
    r"|(?:\u662f|\u4e3a|\u70ba|\u306f|\ub294|\uc740) ?|\s(?=[^\s-]))"
    r"(?:\"(?P<double>(?:[^\"\\\r\n]|\\.){4,400})\"|'(?P<single>(?:[^'\\\r\n]|\\.){4,400})'|`(?P<tick>[^`\r\n]{4,400})`"
    r"|\\\"(?P<escaped>(?:[^\"\\\r\n]|\\[^\"]){4,400})\\\"|[\"'](?P<open>[^\s\"'][^\"'\r\n]{3,400})(?=\r?(?:\n|\Z))"
    r"|(?P<bare>[^\s\"'`<>,;\\\])}\u3001\u3002\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{4,400}))"
)
"""What follows a word for a secret; ``open``: the quotation mark that would end it is missing.

``pair``: the word is a name, and the value stands beside it (``"name": "DB_PASSWORD", "value": "..."``).
"""
_SETTING_START = re.compile(r"^[\w.-]{0,60}\Z", re.MULTILINE)
_LINE_END = re.compile(r"[ \t]*\r?(?:\n|\Z)")
_STATEMENT = PrefilteredPattern(
    r"(?i:identified(?:\s+with\s+\w+)?\s+by|(?:encrypted|with)\s+password)\s+[\"'](?P<sql>[^\"'\r\n]{1,128})[\"']"
    r"|(?i:define|putenv|setenv|setproperty|env)\(\s{0,4}[\"'][\w.]{0,40}(?i:password|passwd|_pass|secret|token|_key|_salt)[\"']\s{0,4},"
    r"\s{0,24}[\"'](?P<call>[^\"'\r\n]{1,128})[\"']"
    r"|\b(?:login|user)[ \t]+\S{1,128}\s{1,8}password[ \t]+(?P<netrc>\S{1,128})"
)
"""Statements of SQL, calls that set a secret, and entries of ``.netrc``."""
_COOKIES = PrefilteredPattern(r"(?i:\b(?:set-)?cookie)[\"']?\s{0,2}[:=]\s{0,2}[\"']?([^\r\n\"']{1,4096})")
_COOKIE = re.compile(
    r"(?<![^\s;])(?!(?i:expires|max-age|path|domain|samesite|version)=)[\w.-]{1,64}=(?=[^;\s]*[0-9])([^;\s]{6,4096})"
)
_PROSE = re.compile(
    r"(?i:\b(?:a|an|and|are|at|be|can|choose|confirm|does|enter|for|forgot(?:ten)?|from|hidden|in|incorrect|invalid|is|login|must|new|no|not"
    r"|of|old|on|or|please|repeat|required|reset|s?he|should|the|to|too|user|using|was|will|with|wrong|you|your|der|die|das|ein|und|nicht"
    r"|bitte|le|la|les|de|du|un|une|et|votre|el|los|su|il|[a-z]*(?:passw|passe|contrase|kennw|secret|token|key|auth|login|username)\w*)\b)"
    r"|[.:?\u2026]\s{0,2}\Z|[{}<>%()|=;]"
)
"""Words and signs of a sentence or of code, which a passphrase hardly has."""
_OPTION = re.compile(r"--[a-z-]{0,20}\Z")
_NO_VALUE = re.compile(
    r"(?i:[$%{<\[(]|\*{3}|x{3}|\.{3}|none\b|null\b|nil\b|true\b|false\b|undefined\b|required\b|optional\b|string\b|str\b"
    r"|bytes\b|process\.|os\.|env\b|env[.(\[]|getenv|self\.|this\.|config[.\[]|settings[.\[]|https?:|PII[_-])"
)
_LOGIN_OF = {
    r"(?:mysql|mariadb)[\w-]{0,12}": r"-p",
    r"(?:sshpass|mongo\w{0,8}|(?:docker|podman|buildah|skopeo|oras|helm registry|az|cf|oc|nerdctl) login)": r"-p[ =]?",
    r"(?:7z[ar]?|rar|unrar)": r"-p",
    r"(?:zip|unzip|sqlcmd|bcp|isql|ipmitool)": r"-P[ =]?",
    r"(?:plink|pscp|psftp|putty)": r"-pw ",
    r"redis-cli": r"-a ",
    r"ldap(?:search|modify|add|delete|passwd|whoami)": r"-w ",
    r"openssl": r"-pass(?:in|out)?[ =]pass:",
}
"""The options for passwords, by program. Elsewhere ``-p`` names a port, a path or a project."""
PASSWORD_OPTIONS = ("-p", "-a ", "-w ")
_PROGRAM = PrefilteredPattern(
    r"(?<![\w.-])(?:" + "|".join(f"(?P<p{index}>{program})" for index, program in enumerate(_LOGIN_OF)) + r")(?=[ \t])"
    r"|(?<=[ \t])(?P<login>(?:-u|--user(?:name)?)[ =]?[\w.@+-]{1,64}(?=[ \t]))"
)
_OPTION_VALUE = r"(?:\"(?P<double>[^\"\r\n]{4,128})\"|'(?P<single>[^'\r\n]{4,128})'|(?P<bare>[^\s\"'`|&;<>$]{4,128}))"
_MAX_ARGUMENT_CHARS = 200
_VALUE_OF = [
    re.compile(rf"[^\r\n|;&]{{0,{_MAX_ARGUMENT_CHARS}}}?[ \t]{option}{_OPTION_VALUE}")
    for option in (*_LOGIN_OF.values(), r"-p[ =]?")
]
_PORT = re.compile(r"[0-9]{1,5}|[0-9.]{1,15}:[0-9:.]{1,20}(?:/\w{3})?|[./~].*")
_CALL = re.compile(r"[\w.]+\(")
_MIN_BLANKS_OF_SENTENCE = 3
_MIN_FREE_CHARS = 6
"""Fewest characters of an unquoted password, which must also contain a digit or a sign."""


def find_url_passwords(index: TextIndex) -> Iterator[Range]:
    """Yield passwords in addresses (``https://NAME:PASSWORD@HOST``), and tokens used as the user name."""
    for match in _URL_PASSWORD.finditer(index):
        group = 1 if match[1] is not None else 2
        if is_placeholder(match[group]):
            continue
        if group == 1 or any(map(str.isdigit, match[2])):
            yield match.span(group)


def find_login_options(index: TextIndex) -> Iterator[Range]:
    """Yield the passwords of options such as ``-u NAME:PASSWORD``."""
    for match in _LOGIN_OPTION.finditer(index):
        if not (_PORT.fullmatch(match[1]) or is_placeholder(match[1])):
            yield match.span(1)


def find_password_options(index: TextIndex) -> Iterator[Range]:
    """Yield the passwords that programs get as arguments, such as ``mysql -pPASSWORD``, and ``-u NAME -p PASSWORD``."""
    text = index.text
    for program in _PROGRAM.finditer(index):
        name = program.lastgroup or ""
        pattern = _VALUE_OF[-1 if name == "login" else int(name[1:])]
        match = pattern.match(text, program.end())
        if match is None:
            continue
        group = match.lastgroup or ""
        value = match[group]
        if not (_NO_VALUE.match(value) or _PORT.fullmatch(value) or (name == "login" and value.isalpha())):
            yield match.span(group)


def find_assigned_secrets(index: TextIndex) -> Iterator[Range]:
    """Yield values assigned to a password, secret, token or key; variables, calls and blanks to fill in are skipped."""
    text = index.text
    for word in _SECRET_WORDS_SEARCH.finditer(index):
        match = _ASSIGNMENT.match(text, word.end())
        if match is None:
            continue
        operator = match["operator"].strip()
        if not operator and not _OPTION.search(text, max(0, word.start() - 22), word.start()):
            continue
        group = match.lastgroup or ""
        value, start = match[group], match.start(group)
        if group == "tick" and " " in value:
            continue  # a command
        if group == "bare":
            value = value.removesuffix(".")
        is_pair = match["pair"] is not None
        explicit = is_pair or operator[:1] in {":", "=", ">", ""}
        phrase = bool(word["password"]) and not match["suffix"]
        if _is_no_secret(text, word, match, value):
            continue
        if not explicit and all(map(is_status_word, re.split(r"[-_/ ]", value))):
            continue
        if (
            _is_assigned_secret(value, explicit=explicit, quoted=is_pair or group != "bare", phrase=phrase)
            or (operator == "=" and group in {"double", "single"})
            or (phrase and match["operator"] == "=" and _is_setting(text, word, match))
        ):
            yield start, start + len(value)


def _is_no_secret(text: str, word: re.Match[str], assignment: re.Match[str], value: str) -> bool:
    """Return whether a value is a placeholder, code, a label, the name of a secret, or belongs to another setting."""
    operator = assignment["operator"]
    if (
        is_placeholder(value)
        or (not operator.strip(" =:\t\r\n") and names_kept_secret(text, assignment.start(assignment.lastgroup or "")))
        or INNOCENT_NAME.search(lower(text[word.start() : word.end()] + (assignment["suffix"] or "")))
    ):
        return True
    if assignment.lastgroup in {"double", "single"}:
        return word["password"] is not None and _is_label(value)
    if assignment.lastgroup != "bare" or assignment["pair"] is not None:
        return False
    is_host = value.startswith("@") and text[word.start() - 1 : word.start()] in {"<", ":", "{", "$", "["}
    is_next_setting = "\n" in operator and (operator.strip() in {"=", ">", ""} or value.endswith(":"))
    is_shell_message = operator == ":" and value.startswith("?")  # ${NAME:?message}
    return is_host or is_next_setting or is_shell_message or is_expression(value.removesuffix(":"))


def _is_label(value: str) -> bool:
    """Return whether a value in quotes is a label ("Passwort eingeben") or a sentence about a password."""
    return mentions_secret(value) or (value.count(" ") >= _MIN_BLANKS_OF_SENTENCE and is_prose(value))


def _is_setting(text: str, word: re.Match[str], assignment: re.Match[str]) -> bool:
    """Return whether a word of letters is the value of a variable (``DB_PASSWORD=tiger``), or of a line of settings."""
    name = text[word.start() : word.end()]
    is_line = _SETTING_START.search(text, max(0, word.start() - 61), word.start()) is not None
    value = assignment[assignment.lastgroup or ""]
    return (name.isupper() or (is_line and _LINE_END.match(text, assignment.end()) is not None)) and not (
        _NO_VALUE.match(value) or _CALL.match(value) or _SECRET_WORD.search(lower(value))
    )


def find_stated_secrets(index: TextIndex) -> Iterator[Range]:
    """Yield the passwords of SQL's statements, of calls such as ``define('DB_PASSWORD', ...)``, and of ``.netrc``."""
    for match in _STATEMENT.finditer(index):
        value = match[match.lastgroup or ""]
        if not (_NO_VALUE.match(value) or is_placeholder(value)):
            yield match.span(match.lastgroup or "")


def find_cookies(index: TextIndex) -> Iterator[Range]:
    """Yield the values of cookies that have a digit."""
    text = index.text
    for header in _COOKIES.finditer(index):
        for match in _COOKIE.finditer(text, *header.span(1)):
            yield match.span(1)


def _is_assigned_secret(value: str, *, explicit: bool, quoted: bool, phrase: bool) -> bool:
    """Return whether a value is a secret; ``phrase``: it may consist of several words."""
    if len(value) < 4 or _NO_VALUE.match(value) or not any(map(str.isalnum, value)):  # noqa: PLR2004 (see the pattern)
        return False
    if quoted:
        return (explicit and (" " not in value or any(map(str.isdigit, value)))) or (
            phrase and _PROSE.search(value) is None
        )
    if _CALL.match(value):
        return False
    special = any(not character.isalpha() for character in value)
    return (special and len(value) >= _MIN_FREE_CHARS) or (explicit and value.isdigit())
