"""The texts that detectors find, and those that they leave."""

from __future__ import annotations

import random
import time

import planted_values
import pytest
from row_table import all_rows

from llmcli.redaction.detectors import DEFAULT_KINDS, KINDS, PrivateSpan, find_private
from llmcli.redaction.secret_formats import looks_random
from llmcli.settings import SETTING_SPECS


def found(text, kinds=KINDS):
    return [(span.kind, text[span.start : span.end]) for span in find_private(text, kinds)]


@all_rows(
    ("text", "kind", "value"),
    [
        ("Mail o'brien@mail.example.ie now", "email", "o'brien@mail.example.ie"),
        ("mailto:jane%40example.com", "email", "jane%40example.com"),
        ("jane&#64;example.com", "email", "jane&#64;example.com"),
        ('{"a": "x\\njane@example.org"}', "email", "jane@example.org"),
        ("\u90ae\u7bb1 j\u00fcrgen@b\u00fccher.example\u3002", "email", "j\u00fcrgen@b\u00fccher.example"),
        ("call (030) 1234-5678 or", "phone", "(030) 1234-5678"),
        ("(+49 30 1234567)", "phone", "+49 30 1234567"),
        ("8-912-345-67-89", "phone", "8-912-345-67-89"),
        ("+1-555-234-5678", "phone", "+1-555-234-5678"),
        ('"line\\n0151 12345678"', "phone", "0151 12345678"),
        ("card 4111 1111 1111 1111 12/27", "card", "4111 1111 1111 1111"),
        ("order 17 5500-0055-5555-5559", "card", "5500-0055-5555-5559"),
        ("IBAN:DE89 3704 0044 0532 0130 00, BIC", "iban", "DE89 3704 0044 0532 0130 00"),
        ('"\\nGB29NWBK60161331926819"', "iban", "GB29NWBK60161331926819"),
        ("IBANde89370400440532013000.", "iban", "de89370400440532013000"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQ4tR8vKEw", "key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQ4tR8vKEw"),
        ("password=hunter2!", "key", "hunter2!"),
        ('"password": "it\'s 123"', "key", "it's 123"),
        ('{\\"client_secret\\": \\"abc123\\"}', "key", "abc123"),
        ("my password is Tr0ub4dor&3.", "key", "Tr0ub4dor&3"),
        ("mysql --password s3cr3tX db", "key", "s3cr3tX"),
        ("Authorization: Bearer abcdefghijkl12345", "key", "abcdefghijkl12345"),
        ("postgres://app:hunter22@db.example.com/x", "key", "hunter22"),
        ("https://ghtoken12345abc@example.com/x.git", "key", "ghtoken12345abc"),
        ("https://hooks.slack.com/services/T00/B00/XXXXyyyyZZZZ1234", "key", "T00/B00/XXXXyyyyZZZZ1234"),
        ("<password>hunter2</password>", "key", "hunter2"),
        ('PASSWORD="correct horse battery staple"', "key", "correct horse battery staple"),
        ("curl -u admin:s3cret https://x.example.com", "key", "s3cret"),
        ('"4111\\u00a01111\\u00a01111\\u00a01111"', "card", "4111\\u00a01111\\u00a01111\\u00a01111"),
        ("?n=5500%200055%205555%205559&x", "card", "5500%200055%205555%205559"),
        (
            "GB29&nbsp;NWBK&nbsp;6016&nbsp;1331&nbsp;9268&nbsp;19",
            "iban",
            "GB29&nbsp;NWBK&nbsp;6016&nbsp;1331&nbsp;9268&nbsp;19",
        ),
        ('"+49\\u00a030\\u00a01234567"', "phone", "+49\\u00a030\\u00a01234567"),
        ("0123456789abcdef0123456789abcdef", "key", "0123456789abcdef0123456789abcdef"),
        ("PGPASSWORD=tiger psql -h db", "key", "tiger"),
        ("[db]\ndb.password=tiger\n", "key", "tiger"),
        ("env:\n- name: DB_PASSWORD\n  value: tiger\n", "key", "tiger"),
        ('{"name": "API_TOKEN", "value": "abcdefgh"}', "key", "abcdefgh"),
        ('<add key="ApiKey" value="q1w2e3r4t5"/>', "key", "q1w2e3r4t5"),
        ("define('DB_PASSWORD', 'wp-secret-1');", "key", "wp-secret-1"),
        ("CREATE USER x IDENTIFIED WITH mysql_native_password BY 'tiger'", "key", "tiger"),
        ("ALTER ROLE x WITH PASSWORD 'lion'", "key", "lion"),
        ("machine h login me password lion", "key", "lion"),
        ('wpa-psk="my home wifi"', "key", "my home wifi"),
        ('the password is "correct horse"', "key", "correct horse"),
        ("pw=hunter7", "key", "hunter7"),
        ("Cookie: lang=en-GB; sid=38afes7a8", "key", "38afes7a8"),
        ("Set-Cookie: SID=31d4d96e40; Expires=Wed, 09 Jun 2021 10:18:14 GMT; Max-Age=2592000", "key", "31d4d96e40"),
        ("@@ -1 +1 @@\n+0151 12345678\n", "phone", "0151 12345678"),
        ("+(212) 555-7188", "phone", "(212) 555-7188"),
        ("++49 30 1234567", "phone", "+49 30 1234567"),
        ("-+49 30 1234567", "phone", "+49 30 1234567"),
        ("\n+jane@example.org", "email", "jane@example.org"),
        ("from 192.168.1.17 to", "ip", "192.168.1.17"),
        ("at 2001:db8::1 now", "ip", "2001:db8::1"),
    ],
)
def test_a_value_is_found_as_a_whole(text, kind, value):
    """Nothing of it is left outside of the span, and no escape before it is in it."""
    assert found(text) == [(kind, value)]


def test_a_private_key_is_one_value():
    """Also in a JSON string, and without its end."""
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow/IBAAKCAQEA1\nabc+/=\n-----END RSA PRIVATE KEY-----"
    assert found(f"key:\n{pem}\nend") == [("key", pem)]
    escaped = pem.replace("\n", "\\n")
    assert found(f'{{"k": "{escaped}"}}') == [("key", escaped)]
    (cut,) = found(pem.partition("-----END")[0])
    assert cut[1].endswith("abc+/=")


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:foo/bar.git and lodash@4.17.21 and @app.route",
        "@@ -1,2 +1,2 @@\n-@pytest.fixture\n+@app.route\n+import x",
        "2024-01-02 10:30, 01.02.2024, 02/03/2024, ISBN 978-3-16-148410-0, 0-306-40615-2, order 123456789",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8, sha256:" + "0a" * 32,
        "550e8400-e29b-41d4-a716-446655440000",
        'password: ${PASSWORD}, api_key = os.environ["KEY"], token: null, secret=<your secret>',
        "login(password=value)\n    password=value\npassword = value\nf(token, value=token.value)\nf(\n  token\n  value=token.value)",
        'The password is "wrong"; fields: "user", "password", "email"; set PASSWORD=$(cat f), PASSWORD=password',
        "The password must be long. Tokens: 4096. Authentication: required.",
        "getUserAccountDetailsV2FromDatabaseById my-long-file-name-2024-11-26-v2-final",
        "/usr/local/lib/python3.11/site-packages/foo/bar_baz.py",
        "1 200 300 people, 3.14159265358979, 57.68518829345703, 4111 1111 1111 1112",
    ],
)
def test_what_only_looks_private_is_left(text):
    """Dates, versions, checksums, identifiers, names of variables."""
    assert found(text, DEFAULT_KINDS) == []


def test_lines_of_programs_and_letters_are_left():
    """Of 1,500 harmless lines at most 1% is replaced: a number may have the check digits of an IBAN by chance."""
    rng = random.Random(7)
    lines = [line for _ in range(100) for line in planted_values.harmless_lines(rng)]
    assert sum(bool(found(line, DEFAULT_KINDS)) for line in lines) <= len(lines) / 100


def test_spans_are_disjoint_and_take_digits_that_follow():
    """Overlapping ones become one of the first kind; the number of a placeholder never goes on in the text."""
    more = [PrivateSpan(0, 4, "own")]
    assert find_private("CU-1234567", (), more) == [PrivateSpan(0, 10, "own")]
    text = "DE89 3704 0044 0532 0130 00"
    assert find_private(text, KINDS, [PrivateSpan(0, 3, "own")]) == [PrivateSpan(0, len(text), "own")]


def test_random_tokens_look_random_and_words_do_not():
    """Of tokens as services issue them; words joined in any way are none."""
    rng = random.Random(3)
    tokens = [planted_values.draw(rng, planted_values.ALNUM, 40) for _ in range(500)]
    assert sum(map(looks_random, tokens)) >= 495
    for text in (
        "thisIsAVeryLongCamelCaseIdentifier2",
        "a_long_name_of_a_variable_in_python_3",
        "x" * 40,
        "123456" * 5,
    ):
        assert not looks_random(text)


def test_the_default_of_the_setting_is_that_of_the_detectors():
    """Addresses of machines are replaced only where that is wanted."""
    (spec,) = [spec for spec in SETTING_SPECS if spec.name == "redact.kinds"]
    assert spec.default == DEFAULT_KINDS and spec.parse(list(KINDS)) == KINDS


@pytest.mark.parametrize(
    "text",
    [
        "a@" * 20000,
        "a." * 30000,
        "0" * 50000,
        "+1 " * 20000,
        "DE89" * 20000,
        "eyJaaaaaaaa." * 5000,
        "password " * 10000,
        "login " * 10000 + "password",
        "cookie: a=" * 5000,
        "cookie: " + "a=b;" * 10000,
        "define('_key', " * 5000,
        "password\n" * 5000 + " value: ",
        "PASSWORD=" * 5000,
        "password-" * 10000,
        "://" + "a" * 50000,
        "://a:" * 10000,
        "-----BEGIN PRIVATE KEY-----" * 500,
        "sk-" + "a-" * 30000,
        "1.1.1.1." * 10000,
        "\\" * 50000 + "n@a.bc",
        "PII_" * 20000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_long(text):
    """The time grows with the length, and not with its square: these would take minutes."""
    started = time.process_time()
    find_private(text, KINDS)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("define('SECURE_AUTH_SALT',         'q1Z&vX y`3I|bhf');", "q1Z&vX y`3I|bhf"),
        ('openssl rsa -in k -passin "pass:blue anorak 6" -out p', "blue anorak 6"),
        ("Your verification code is 481 907. It expires soon.", "481 907"),
        ("the code on the back is 318.", "318"),
        ("let key: [u8; 8] = [0x81, 0x2e, 0x2a, 0xc6, 0xf9, 0x50, 0x95, 0x2f];", "0x81, 0x2e, 0x2a, 0xc6, 0xf9, 0x50, 0x95, 0x2f"),
    ],
)  # fmt: skip
def test_a_value_with_blanks_or_at_the_end_of_a_sentence_is_found_whole(text, value):
    """Nothing of it is left."""
    assert any(value in text[span.start : span.end] for span in find_private(text))
