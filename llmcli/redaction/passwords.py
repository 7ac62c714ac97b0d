"""Find passwords: in addresses, in arguments of programs, and what is assigned to a word such as "password"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.redaction.normalization import Range
from llmcli.redaction.secret_formats import lower

_URL_PASSWORD = re.compile(r"://[^\s/:@\"'<>\\]{0,256}:([^\s/@\"'<>\\]{1,256})@|://([\w.~%+-]{12,256})(?::)?@")
_LOGIN_OPTION = re.compile(r"(?:-u|--user|--proxy-user|-U)[ =]?[\"']?[\w.@+-]{1,64}:([^\s\"':@]{4,128})")
SECRET_WORDS = (
    *("pass", "pwd", "kennwort", "contrase", "secret", "token", "key", "credential", "auth", "pin"),
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
    r"pass(?:word|wort|wd|phrase|code)|pwd|mot de passe|kennwort|contrase\u00f1a|(?<![a-z])(?:senha|has\u0142o|heslo|jelsz\u00f3|[\u015fs]ifre"
    r"|parola|lozinka|l\u00f6senord|adgangskode|passord|salasana|wachtwoord)|m\u1eadt kh\u1ea9u|kata sandi|\u5bc6\u7801|\u5bc6\u78bc|\u53e3\u4ee4|\u30d1\u30b9\u30ef\u30fc\u30c9"
    r"|\ube44\ubc00\ubc88\ud638|\uc554\ud638|\u043f\u0430\u0440\u043e\u043b(?:\u044c|\u0430)|\u043b\u043e\u0437\u0438\u043d\u043a\u0430|\u03ba\u03c9\u03b4\u03b9\u03ba\u03cc\u03c2|\u05e1\u05d9\u05e1\u05de\u05d4"
    r"|\u0643\u0644\u0645\u0629 (?:\u0627\u0644\u0645\u0631\u0648\u0631|\u0627\u0644\u0633\u0631)|\u092a\u093e\u0938\u0935\u0930\u094d\u0921|\u0e23\u0e2b\u0e31\u0e2a\u0e1c\u0e48\u0e32\u0e19"
)
_SECRET_WORD = re.compile(
    rf"(?P<password>{_PASSWORDS})(?![a-z])|(?:pass|secret|token|api[ _-]?key"
    r"|(?:access|private|secret|auth|account|encryption|signing|master|shared|storage|subscription)[ _-]?key"
    r"|credentials?|auth|pin)(?![a-z])"
)
_ASSIGNMENT = re.compile(
    r"(?P<suffix>[_-][\w-]{0,30})?(?:\\?[\"'])?(?P<operator>\s{0,4}(?::=|=>|[:=>])\s{0,4}|\s{1,4}(?:is|ist|est|es)\s{1,4}"
    r"|(?:\u662f|\u4e3a|\u70ba|\u306f|\ub294|\uc740) ?|\s(?=[^\s-]))"
    r"(?:\"(?P<double>(?:[^\"\\\r\n]|\\.){4,400})\"|'(?P<single>(?:[^'\\\r\n]|\\.){4,400})'|`(?P<tick>[^`\r\n]{4,400})`"
    r"|\\\"(?P<escaped>(?:[^\"\\\r\n]|\\[^\"]){4,400})\\\"|[\"'](?P<open>[^\"'\r\n]{4,400})(?=\r?(?:\n|\Z))"
    r"|(?P<bare>[^\s\"'`<>,;\\\])}\u3001\u3002\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{4,400}))"
)
"""What follows a word for a secret; ``open``: the quotation mark that would end it is missing."""
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
_PROGRAM = re.compile(
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
_MIN_FREE_CHARS = 6
"""Fewest characters of an unquoted password, which must also contain a digit or a sign."""


def find_url_passwords(text: str) -> Iterator[Range]:
    """Yield passwords in addresses (``https://NAME:PASSWORD@HOST``), and tokens used as the user name."""
    for match in _URL_PASSWORD.finditer(text):
        group = 1 if match[1] is not None else 2
        if group == 1 or any(map(str.isdigit, match[2])):
            yield match.span(group)


def find_login_options(text: str) -> Iterator[Range]:
    """Yield the passwords of options such as ``-u NAME:PASSWORD``."""
    for match in _LOGIN_OPTION.finditer(text):
        yield match.span(1)


def find_password_options(text: str) -> Iterator[Range]:
    """Yield the passwords that programs get as arguments, such as ``mysql -pPASSWORD``, and ``-u NAME -p PASSWORD``."""
    for program in _PROGRAM.finditer(text):
        name = program.lastgroup or ""
        pattern = _VALUE_OF[-1 if name == "login" else int(name[1:])]
        match = pattern.match(text, program.end())
        if match is None:
            continue
        group = match.lastgroup or ""
        value = match[group]
        if not (_NO_VALUE.match(value) or _PORT.fullmatch(value) or (name == "login" and value.isalpha())):
            yield match.span(group)


def find_assigned_secrets(text: str) -> Iterator[Range]:
    """Yield values assigned to a password, secret, token or key; variables, calls and blanks to fill in are skipped."""
    for word in _SECRET_WORD.finditer(lower(text)):
        match = _ASSIGNMENT.match(text, word.end())
        if match is None:
            continue
        operator = match["operator"].strip()
        if not operator and not _OPTION.search(text, max(0, word.start() - 22), word.start()):
            continue
        group = match.lastgroup or ""
        value, start = match[group], match.start(group)
        if group == "bare":
            value = value.removesuffix(".")
        explicit, phrase = operator[:1] in {":", "=", ">", ""}, bool(word["password"]) and not match["suffix"]
        if _is_assigned_secret(value, explicit=explicit, quoted=group != "bare", phrase=phrase) or (
            operator == "=" and group in {"double", "single"}
        ):
            yield start, start + len(value)


def _is_assigned_secret(value: str, *, explicit: bool, quoted: bool, phrase: bool) -> bool:
    """Return whether a value is a secret; ``phrase``: it may consist of several words."""
    if len(value) < 4 or _NO_VALUE.match(value) or not any(map(str.isalnum, value)):  # noqa: PLR2004 (see the pattern)
        return False
    if quoted:
        return explicit and (
            " " not in value or any(map(str.isdigit, value)) or (phrase and _PROSE.search(value) is None)
        )
    if _CALL.match(value):
        return False
    special = any(not character.isalpha() for character in value)
    return (special and len(value) >= _MIN_FREE_CHARS) or (explicit and value.isdigit())
