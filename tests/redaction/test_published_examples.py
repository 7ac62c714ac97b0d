"""Values that documents publish for examples, names of secrets, and public tokens; what stands near to them is replaced."""

from __future__ import annotations

import pytest

from llmcli.redaction.detectors import DEFAULT_KINDS, find_private

_HEX40 = "b9f1123f9a525fb63bf1153371b9d8ef5c828790"
_HEX64 = "8aedd316a2c707ce8834eb23c99482e0d9ac1ff8b9f1123f9a525fb63bf11533"
_RANDOM = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def found(text):
    return [text[span.start : span.end] for span in find_private(text, DEFAULT_KINDS)]


@pytest.mark.parametrize(
    ("innocent", "text", "value"),
    [
        ("write to help@example.org", "write to help@kestrel-mail.eu", "help@kestrel-mail.eu"),
        ("write to john.doe@example.com", "write to jane@example.com", "jane@example.com"),
        ("printer@office.lan", "ann.lee@office.lan", "ann.lee@office.lan"),
        ("call 212-555-0143", "call 212-555-2143", "212-555-2143"),
        ("call 555-0100", "call 555-0200", "555-0200"),
        ("card 4242 4242 4242 4242", "card 4539 1488 0343 6467", "4539 1488 0343 6467"),
        ("card 4000 0000 0000 0002", "card 4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("key AKIAIOSFODNN7EXAMPLE", "key AKIAIOSFODNN7EXOMPLE", "AKIAIOSFODNN7EXOMPLE"),
        (
            "token ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "ghp_a1B2c3D4e5F6g7H8j9K0mNpQrStUvWxYz012",
            "ghp_a1B2c3D4e5F6g7H8j9K0mNpQrStUvWxYz012",
        ),
        ("postgres://USER:PASSWORD@HOST/x", "postgres://app:Kestrel9@h/x", "Kestrel9"),
        ("https://<name>:<token>@github.com/x", "https://bob:Kestrel9@github.com/x", "Kestrel9"),
        ("db_password = (sensitive value)", "db_password = (sesame7", "(sesame7"),
        ("db_password=[REDACTED], pool=20", "db_password=[kestrel9], pool=20", "[kestrel9"),
        ("PASSWORD=$HOME/.pw", "PASSWORD=$kestrel9/x!", "$kestrel9/x!"),
        ("gcloud secrets versions access latest --secret=stripe-live", "app --secret=stripe-live9", "stripe-live9"),
        ("Using --password via the CLI is insecure.", "app --password viaduct7 db", "viaduct7"),
        ('resource "random_password" "db" {', 'set "db_password" "kestrel"', "kestrel"),
        ("ssh -p 2222 deploy@kestrel.eu", "mail deploy@kestrel.eu", "deploy@kestrel.eu"),
        ("scp a.txt deploy@kestrel.eu:/srv", "scp logs are sent to deploy@kestrel.eu", "deploy@kestrel.eu"),
        (f"The SHA-256 of it is {_HEX64}.", f"The key of it is {_HEX64}.", _HEX64),
        (f"BuildID[sha1]={_HEX40}", f"session={_HEX40}", _HEX40),
        (f"pub   ed25519 2023-11-04 [SC]\n      {_HEX40}", f"login\n      {_HEX40}", _HEX40),
        (f"example.com. 60 IN DS 31589 8 2 {_HEX64}", f"IN HERE {_HEX64}", _HEX64),
        (f'{{"kty":"OKP","x":"{_RANDOM}"}}', f'{{"kty":"OKP","x":"AA","d":"{_RANDOM}"}}', _RANDOM),
        (f"PublicKey = {_RANDOM}", f"PrivateKey = {_RANDOM}", _RANDOM),
        (f"sha256:{_HEX64}", f"secret sha256 key {_HEX64}", _HEX64),
        (f"downloaded the file {_HEX64}", f"the key of the file is {_HEX64}", _HEX64),
        (f'"request_id": "{_RANDOM}"', f'"secret_id": "{_RANDOM}"', _RANDOM),
        (f"From {_HEX40} Mon Sep 17 00:00:00 2001", f"From {_HEX40} with love", _HEX40),
        ("ssh -J jump@kestrel.eu ops@lark.eu", "ssh is what ops@lark.eu uses", "ops@lark.eu"),
        ("Use --password instead.", "sqlplus system/manager", "manager"),
        ("0000020 40 10 00 00 00 00 00 00 55 48", "card 4010 0000 0000 0000", "4010 0000 0000 0000"),
    ],
)
def test_what_is_public_is_left_and_its_neighbour_is_not(innocent, text, value):
    """Each rule has a text that it leaves, and a similar one in which the value is replaced."""
    assert found(innocent) == []
    assert found(text) == [value]
