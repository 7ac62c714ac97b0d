"""Judge whether a token looks like a chosen password or key, rather than like a word, a name, a number or code."""

from __future__ import annotations

import re

from llmcli.redaction.innocent_values import is_expression, is_placeholder

_TERM = re.compile(
    r"(?<![a-z])(?:utf-?(?:8|16|32)(?:mb[34])?|ucs[24]|x86(?:_64)?|(?:amd|arm|win|uint|int|float|str|fp|bf|base|b|u|i|f)(?:8|16|32|58|64|85|128)|i[36]86"
    r"|sha[0-9]?-?[0-9]{1,3}|md[245]|crc(?:16|32|64)|blake[23][bs]?|ripemd160|argon2(?:id?|d)?|pbkdf2|s?crypt|aes-?(?:128|192|256)|rsa-?(?:1024|2048|3072|4096)"
    r"|[hrep]s(?:256|384|512)|ed(?:25519|448)|x(?:25519|448)|curve25519|secp[0-9]{3}[kr]1|p-?(?:256|384|521)|x509(?:v[123])?|pkcs-?[0-9]{1,2}|p12|rc4|3des|des3|chacha20|poly1305"
    r"|ipv[46]|http[123]?|oauth[12]?|saml2?|openid2?|u2f|[2m]fa|fido2?|ntlmv?[12]?|krb[45]|ldapv?[23]?|imap4(?:rev1)?|pop3|smtps?|ssl(?:v?[23])?|tls(?:v?1)?|wpa[23]?|sql[0-9]*|s3|ec2|k8s|i18n|l10n|a11y|e2e|b2b|p2p|h26[45]|mp[34]"
    r"|rfc[0-9]{3,4}|iso[0-9]{3,5}|cp[0-9]{3,4}|latin[19]|log4j|jinja2|urllib3|boto3|neo4j|web3|psycopg[23]|python[23]?|java[0-9]{1,2}|v[0-9]{1,3}(?:(?:alpha|beta|rc)[0-9]{0,2})?|r[0-9]{1,2}|[kmgt]i?b)(?![a-z0-9])",
    re.IGNORECASE,
)
"""Terms of computing with digits."""
_FILE_TYPES = (
    "c cc cpp cxx h hpp js jsx mjs ts tsx py pyc pyi ipynb rb rs go java kt scala swift php pl pm sh bash bat cmd ps1 psm1 vbs lua r jl cs vb asm s "
    "txt md rst adoc tex html htm css scss xml xsd json jsonl ya?ml toml ini cfg cnf conf config properties env log csv tsv sql sqlite db dat "
    "pem key crt cer csr der p12 pfx jks kdbx gpg asc pub sig ppk ovpn rdp lock png jpe?g gif svg ico webp pdf docx? xlsx? pptx? odt ods zip t?gz bz2 xz 7z rar jar war "
    "so dll exe msi deb rpm apk iso img bin dmg whl gguf service timer socket tf tfvars tpl j2 erb bak tmp po mo vue svelte gradle "
    "local lan intern internal corp com org net io de fr es it nl pt at ch eu uk dev app cloud example test invalid localhost"
)
"""Endings of the names of files and hosts, as patterns."""
_NO_PASSWORD = re.compile(
    r"(?i:[-+~^<>=v#]{0,2}[0-9][0-9a-f.,:/_x+-]*(?:[a-z%\u00b0\u20ac]{0,5}|[+~-][\w.+~:-]*)|v?[0-9]+(?:\.[0-9]+)+[\w.+~-]*|[0-9]{1,4}[-.:/](?:[0-9]{1,2}|[a-z]{3})[-.:/t].*"
    r"|(?:0x|\\x|u\+|#)?[0-9a-f]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}.*|(?:[0-9a-f]{2}[:-]){3,40}[0-9a-f]{2}|(?:rsa|dsa|elg|ed|cv|nistp)[0-9]{3,5}/.*"
    r"|\S*(?:://|::|->|=>|&&|\|\||[!=]=|\+\+|\+0x|\$\{|\$\(|\{\{|%\(|%[0-9.-]*[sdifuxlr]\b|\.\*|\[\^|\\[wdsb.]|&(?:amp|lt|gt|quot|nbsp|#[0-9]+);|%2[0-9a-f])\S*"
    r"|[\w.+%-]*@[\w-]+(?:\.[\w-]+)+(?:[:/]\S*)?|@[\w.-]+(?::[0-9]+)?(?:/\S*)?|@?[\w./-]+@[\^~>=v]*[0-9]+(?:\.[\w.+-]*)?|-{1,2}[a-z][\w-]*|[@#&*$]+[a-z_][\w-]*|[a-z_][\w.]*[(\[]\S*"
    r"|(?:[~.]{0,2}/)?(?:[\w.@+*~-]+/)+[\w.@+*~-]*(?:[?#:]\S*)?|(?:\w{1,12}:)?~?/\S*|(?:[a-z]:)?(?:\\{1,2}[\w.$@+-]+){1,20}|\S*\\[a-z]\S*"
    r"|[\w.+-]{1,80}\.(?:"
    + _FILE_TYPES.replace(" ", "|")
    + r")(?::[0-9:]+|#\S*)?|[2-9cfghjmpqrvwx]{8}\+[2-9cfghjmpqrvwx]{2,3}|(?:md5|sha-?[0-9]+|hash|digest|blake\w{1,3})[-:=]\S*)"
)
"""Numbers, dates, versions, checksums, addresses, code, variables, options, paths, names of files and hosts."""
_IDENTIFIER = re.compile(
    r"[_$]*(?:[a-z]+[0-9]{0,3}(?:[_.:+/-]+(?:[a-z]+[0-9]{0,3}|[0-9]{1,2}))*|[A-Z][A-Z0-9]*(?:[_./:+-]+[A-Z0-9]+)*"
    r"|[A-Za-z]?[a-z]*[0-9]{0,2}(?:[A-Z]+[a-z]+|[A-Z]{2,8}s?(?![A-Za-z]))++[0-9]{0,3}(?:(?:[_./:+-]+[a-z]+[0-9]{0,2})*|(?:[_./:+-]+(?:[A-Z]+[a-z]*[0-9]{0,2})+)*))_*"
)
"""snake_case, kebab-case, UPPER_CASE, camelCase, Train-Case, with a counter at the end of a word."""
_COUNTED_NAME = re.compile(
    r"(?i:(?:server|node|host|user|test|port|web|client|level|step|version|chapter|section|item|group|line|page|part|table|column|field|row|disk|channel|key|value|param|args?|var|vlan|slot|zone|rack|room|site|model|phase|stage|class|type|mode|case|figure|example|input|output|device|sensor|worker|thread|process|task|queue|topic|region|cluster|shard|replica|instance|account|admin|guest|branch|release|build|kernel|windows|debian|ubuntu|fedora|office|angular|swift|event|error|option|index|layer|block|chunk|frame|grid|text|name|data|file|image|link|list|note|order|point|round|size|unit|week|year|article|appendix|annex|anhang|kapitel|seite|zeile|teil|abschnitt|tabelle|stufe|etage|zimmer|raum|kanal|gruppe|benutzer|konto|passwort|password|secret|token|bouton|touche|niveau|nivel|livello|versi[o\u00f3]n|gpio|relay|switch|board|core|lane|gate|door|house|street|unicode|ascii|win|linux|mysql|apache|tomcat|nginx|redis|postgres\w{0,3}|oracle|node-?js|excel|word)s?[-_.]?[0-9]{1,4})"
)
"""A general name with a number."""
_WORD_AND_NUMBER = re.compile(r"[^\W\d_]{4,30}(?:[-_.]?[0-9]{1,4}|[-_.][^\W\d_]{3,30}[-_.]?[0-9]{1,4})")
_CHARACTER_RANGES = re.compile(r"(?i:a-z|0-9)(?:_|-|a-z|0-9|[A-Z]|\\)")
_SYMBOL = re.compile(
    r"(?<=\w)[!#$%&*+=?^~@\u00a7\u20ac](?=\w)|(?<=[0-9a-z])[!#$%&*+=?^~\u00a7\u20ac]{1,3}\Z|\A[!#$%&*+=?^~](?=\w)",
    re.IGNORECASE,
)
_LETTER_FOR_DIGIT = re.compile(r"(?<=[^\W\d_])[013457](?=[^\W\d_])")
_TURN = re.compile(r"(?<=[^\W\d_])(?=[0-9])|(?<=[0-9])(?=[^\W\d_])")
_ODD_CASE = re.compile(
    r"[a-z][A-Z](?=[a-z]?(?:[A-Z0-9]|\Z))|(?<![A-Za-z])[a-z][A-Z][^a-z]|[A-Z]{2}[a-z](?=[A-Z0-9]|\Z)"
)
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[-.+_][^\W\d_]{2,}){2,6}")
_NUMBER_PIECE = re.compile(r"(?:\A|(?<=[-_.+]))[0-9]{1,4}(?=[-_.+]|\Z)")
_GROUPS = re.compile(r"[A-Za-z0-9]{4,6}(?:-[A-Za-z0-9]{4,6}){1,7}")
_VOWELS = re.compile(r"[aeiouy\u00e0-\u00ff]", re.IGNORECASE)
MIN_PASSWORD_CHARS = 5
_MIN_LETTERS = 8
_MANY_TURNS = 4
"""Changes between letters and digits that no name has."""
_MAX_VOWELS = 0.1
"""Share of vowels below which a run of letters is no word of a European language."""


def password_score(token: str) -> int:
    """Return how much a token looks like a chosen password: 0 not at all, 1 as a name may, 2 likely, 3 and more surely."""
    if _NO_PASSWORD.fullmatch(token) or is_placeholder(token) or is_expression(token):
        return 0
    token = token.removesuffix("?") if token[:-1].isalpha() else token
    core = _TERM.sub("", token).strip("-_.:/")
    if len(core) != len(token.strip("-_.:/")):
        return password_score(core) if len(core) >= MIN_PASSWORD_CHARS else 0
    if not any(map(str.isalpha, token)) or _COUNTED_NAME.fullmatch(token) or _CHARACTER_RANGES.search(token):
        return 0
    mixed_groups = [group for group in token.split("-") if not group.isalpha() and not group.isdigit()]
    if _GROUPS.fullmatch(token) and len(mixed_groups) > 1:
        return 3
    is_unusual = sum(map(str.isalpha, token)) >= _MIN_LETTERS and _lacks_vowels(token)
    if _IDENTIFIER.fullmatch(token):
        return 2 if is_unusual and token.isalpha() else int(_WORD_AND_NUMBER.fullmatch(token) is not None)
    return _count_signs(token) + is_unusual or int(_WORD_AND_NUMBER.fullmatch(token) is not None)


def _count_signs(token: str) -> int:
    """Return how many signs of a password a token has: symbols, digits among letters, capitals where no name has them."""
    letters, digits, upper = (sum(map(test, token)) for test in (str.isalpha, str.isdigit, str.isupper))
    is_mixed = 0 < upper < letters
    turns = len(_TURN.findall(token))
    has_symbol = _SYMBOL.search(token) is not None and (digits > 0 or is_mixed)
    is_phrase = _WORDS.fullmatch(token) is not None
    signs = (
        has_symbol,
        has_symbol,
        is_mixed and digits > 0,
        is_mixed and digits > 0 and any(sign in token for sign in "-_."),
        turns > 1,
        turns >= _MANY_TURNS or (turns > 1 and _LETTER_FOR_DIGIT.search(token) is not None),
        _ODD_CASE.search(token) is not None and (digits > 0 or letters >= _MIN_LETTERS),
        _NUMBER_PIECE.search(token) is not None and letters >= MIN_PASSWORD_CHARS,
        is_phrase,
        is_phrase and is_mixed,
    )
    return sum(signs)


def _lacks_vowels(token: str) -> bool:
    letters = sum(map(str.isalpha, token))
    return len(_VOWELS.findall(token)) < _MAX_VOWELS * letters
