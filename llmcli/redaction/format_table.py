"""The table of all formats, in order of priority; ``python -m llmcli.redaction.format_table FILE`` writes its page."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from llmcli.redaction import (
    identity_numbers,
    issuer_tokens,
    keyword_proximity,
    number_formats,
    password_contexts,
    recovery_codes,
    secret_formats,
    tables,
    wrapped_values,
)
from llmcli.redaction.format import Format

_WORDS = secret_formats.SECRET_WORDS
_MAIL_SIGNS = ("@", "%40", "&#64;", "&#x40;", "&commat;", "\\u0040", "(at)", "[at]")
_BREAKS = ("\n", "\\n")

FIRST = (
    Format("private key", "-----BEGIN ... PRIVATE KEY-----, to its end", "\u27e6-----BEGIN RSA PRIVATE KEY-----\nMIIEow/IBAAKCAQEA1\n-----END RSA PRIVATE KEY-----\u27e7",
           "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----", "RFC 7468, OpenSSH, RFC 9580", ("-----begin", "putty-user-key"), find=secret_formats.find_private_keys),
    Format("webhook", "the path behind hooks.slack.com, discord.com/api/webhooks and others", "https://hooks.slack.com/services/\u27e6T00/B00/XXXXyyyyZZZZ1234\u27e7", "https://hooks.slack.com/", "Slack, Discord, Microsoft, Zapier",
           ("hooks.", "webhook", "logic.azure", "api.telegram"), find=issuer_tokens.find_webhooks),
    Format("password in an address", "SCHEME://NAME:PASSWORD@HOST, SCHEME://TOKEN@HOST", "postgres://app:\u27e6hunter22\u27e7@db.example.com/x", "postgres://app@db.example.com/x", "RFC 3986", ("://",), find=secret_formats.find_url_passwords),
    Format("option -u NAME:PASSWORD", "-u, -U, --user, --proxy-user NAME:PASSWORD", "curl -u admin:\u27e6s3cret\u27e7 https://x.example.com", "docker run -u 1000:1000 x", "curl", ("-u", "--proxy-user"), find=secret_formats.find_login_options),
    Format("password argument", "mysql -p, sshpass -p, zip -P, redis-cli -a and others", "mysql -u root -p\u27e6s3cr3tPw\u27e7 shop", "mkdir -p some/dir", "documentation of the programs", secret_formats.PASSWORD_OPTIONS, find=secret_formats.find_password_options),
    Format("Authorization header", "Bearer, Basic, Token, ApiKey and the credentials", "Authorization: Bearer \u27e6abcdefghijkl12345\u27e7", "Authorization: Bearer $TOKEN", "RFC 7235, RFC 6750, RFC 7617", ("bearer", "basic", "token", "apikey", "authorization", "x-api"), find=secret_formats.find_authorizations),
    Format("assigned secret", "a word for a secret in 20 languages, an operator, a value", "password=\u27e6hunter2!\u27e7", "password: ${PASSWORD}", "observed in public repositories", _WORDS, find=secret_formats.find_assigned_secrets),
    Format("stated secret", "SQL, define(), putenv(), .netrc", "define('DB_PASSWORD', '\u27e6wp-secret-1\u27e7');", "define('DB_NAME', 'x');", "SQL, PHP, inetutils",
           ("password", "passwd", "_pass", "secret", "token", "_key", "_salt", "identified"), find=secret_formats.find_stated_secrets),
    Format("cookie", "Cookie and Set-Cookie: values of sessions, and values with a digit", "Cookie: lang=en-GB; sid=\u27e638afes7a8\u27e7", "Cookie: lang=en", "RFC 6265", ("cookie",), find=secret_formats.find_cookies),
    Format("column of a table", "CSV, TSV, Markdown and other tables with a header such as password", "user,password,city\nbob,\u27e6kestrel\u27e7,Rome", "| password | The password of the user |", "RFC 4180, CommonMark", ("pass", "pwd", "pw", "psk", "pin", "kennwort", "contrase", "senha", "wachtwoord", "schl\u00fcssel", "secret", "key", "token"), find=tables.find_columns),
    Format("cell of a table in HTML", "a table whose header cell is a word such as password", "<tr><th>User</th><th>Password</th></tr>\n<tr><td>bob</td><td>\u27e6kestrel\u27e7</td></tr>", "<tr><th>User</th><th>Password</th></tr>\n<tr><td>bob</td><td></td></tr>", "HTML", ("<tr",), find=tables.find_html_cells),
    Format("recovery codes", "codes of letters and digits behind words such as recovery codes, on one line or on several", "Recovery codes: \u27e6a8f3-k2m9\u27e7", "recovery codes are lost", "observed in public repositories", ("recovery", "backup", "scratch", "restore", "wiederherstellung", "emergency"), find=recovery_codes.find_recovery_codes),
    Format("values of an INSERT", "INSERT INTO table (..., password) VALUES (..., '...')", "INSERT INTO users (name, password) VALUES ('bob', '\u27e6sparrow\u27e7')", "INSERT INTO users (name, password) VALUES (?, ?)", "SQL", ("insert",), find=tables.find_inserted),
    Format("chosen password near a word for a secret", "a token that mixes letters, digits and signs as passwords do, in the line of such a word or below it", "passphrase of the disk\n  \u27e6Kr4nich-See&Moor\u27e7", "the password is kept in keyring-2.4.1/backend.py", "observed in public repositories", keyword_proximity.CONTEXT, find=keyword_proximity.find_near_keywords),
    Format("data of a Kubernetes secret", "kind: Secret, then the values below data and stringData", "kind: Secret\ndata:\n  db: \u27e6aHVudGVyMg==\u27e7", "kind: ConfigMap\ndata:\n  mode: fast", "Kubernetes", ("secret",), find=tables.find_kubernetes_data),
)  # fmt: skip
NUMBERS = (
    Format("IBAN", "country code, check digits (mod 97), length of the country", "IBAN \u27e6DE89 3704 0044 0532 0130 00\u27e7", "IBAN DE88 3704 0044 0532 0130 00", "ISO 13616", kind="iban", find=number_formats.find_ibans, decodes=True),
    Format("IBAN on two lines", "the same with a line break", "the IBAN \u27e6DE89 3704 0044\n0532 0130 00\u27e7, BIC", "DE88 3704 0044\n0532 0130 00", "ISO 13616", _BREAKS, "iban", wrapped_values.find_wrapped_ibans, decodes=True),
    Format("card", "12 to 19 digits, prefix of an issuer, check digit (Luhn)", "card \u27e64111 1111 1111 1111\u27e7", "card 4111 1111 1111 1112", "ISO/IEC 7812", kind="card", find=number_formats.find_cards, decodes=True),
    Format("card on two lines", "the same with a line break", "charge \u27e64111 1111\n1111 1111\u27e7 today", "4111\n1111 of the parts", "ISO/IEC 7812", _BREAKS, "card", wrapped_values.find_wrapped_cards, decodes=True),
    Format("mail address", "NAME@DOMAIN, also %40, &#64; and (at)", "Mail \u27e6jane@example.org\u27e7 now", "image@2x.png", "RFC 5322", _MAIL_SIGNS, "email", wrapped_values.find_emails),
    Format("mail address on two lines", "a line break behind the @ or at a dot", "my address \u27e6jane@\nexample.org\u27e7 is", "@jane.\nso was I", "RFC 5322", ("@",), "email", wrapped_values.find_wrapped_emails),
    Format("random token", "20 or more letters and digits that look random; not checksums, UUIDs, public keys, certificates", "wJalr \u27e6wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQ4tR8vKEw\u27e7", "550e8400-e29b-41d4-a716-446655440000", "entropy", find=secret_formats.find_random_tokens),
    Format("phone", "+ or 00 and a country code; national forms; any number behind a word such as phone", "call \u27e6(030) 1234-5678\u27e7 or", "from 01.02.2024 on", "ITU-T E.164, national numbering plans", kind="phone", find=number_formats.find_phones, decodes=True),
    Format("phone on two lines", "the same with a line break", "Call \u27e6+49 30\n1234567\u27e7, please", "in 2024.\n13 people came", "ITU-T E.164", _BREAKS, "phone", wrapped_values.find_wrapped_phones, decodes=True),
    Format("IP address", "IPv4 and IPv6", "from \u27e6192.168.1.17\u27e7 to", "1.2.3", "RFC 791, RFC 4291", (), "ip", number_formats.find_ip_addresses),
)  # fmt: skip


@functools.cache
def all_formats() -> tuple[Format, ...]:
    """Return all formats. Where two finds overlap, the kind of the first format wins."""
    return (
        *FIRST[:2],
        *issuer_tokens.TOKENS,
        *FIRST[2:],
        *password_contexts.all_formats(),
        *NUMBERS[:6],
        *identity_numbers.all_formats(),
        *NUMBERS[6:],
    )


def page_lines() -> Iterator[str]:
    """Yield the lines of the page about formats."""
    yield from (
        "<!-- Generated by: python -m llmcli.redaction.format_table docs/reference/redaction-formats.md. Do not edit. -->",
        "",
        "# Formats of private values",
        "",
        "[Redaction](../redaction.md) looks for these formats. A format with context words is searched only in texts that",
        "hold one of them; national numbers must stand beside one. In the examples, the value stands between \u27e6 and \u27e7; the counter-example has no value.",
        "Every example and every counter-example is a test.",
        "",
        "| kind | name | example | counter-example | context | source |",
        "|---|---|---|---|---|---|",
    )
    for each in all_formats():
        context = ", ".join(
            f"`{word.strip()}`" for word in each.context if word.strip() and "`" not in word and word not in _BREAKS
        )
        cells = [
            each.kind,
            each.name,
            _code(each.example),
            _code(each.counter_example),
            context.replace("|", "\\|"),
            each.source,
        ]
        yield "| " + " | ".join(cells) + " |"


def _code(text: str) -> str:
    shown = text.replace("\n", "\u21b5").replace("|", "\\|")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("\n".join(page_lines()) + "\n", "utf-8")
