"""Passwords that only a word nearby and the shape of the token give away."""

from __future__ import annotations

import pytest

from llmcli.cli.main import main
from llmcli.redaction.keyword_proximity import find_near_keywords
from llmcli.redaction.password_score import password_score
from llmcli.redaction.text_index import TextIndex


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('a001 LOGIN archive "pa4paya.Nebel.19"', "pa4paya.Nebel.19"),
        ("support:{PLAIN}Velvet!Hammer2:5000:5000::/var/vmail/support::", "Velvet!Hammer2"),
        ("Backlog MqttUser plug12; MqttPassword fN2sTeckdose; Topic plug12", "fN2sTeckdose"),
        ("login broke again?\nyes, it's now Purple-Yak-88, user stays qa", "Purple-Yak-88"),
        ("the password of root was reset.\n\nNew value: Hk*7nTzVd", "Hk*7nTzVd"),
    ],
)
def test_a_chosen_token_near_a_word_for_a_secret_is_found(text, value):
    """Whatever syntax stands between, and also on a line below."""
    assert [text[start:end] for start, end in find_near_keywords(TextIndex(text))] == [value]


@pytest.mark.parametrize(
    "text",
    [
        "the password is hashed with PBKDF2-HMAC-SHA512, see /etc/security/pwquality.conf",
        "token = settings.AUTH_TOKEN_V2, key sizes: rsa2048, ed25519",
        "password reset 2026-11-02T07:41:16Z for node-17 (kernel 6.1.0-18-amd64)",
        'PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]',
        "GET /reset-password?step=2 HTTP/1.1",
        "Ts4-moor!lamp without any word",
    ],
)
def test_terms_names_and_numbers_near_such_a_word_are_left(text):
    """Algorithms, paths, identifiers, dates, versions, and tokens without a word."""
    assert list(find_near_keywords(TextIndex(text))) == []


def test_a_password_scores_higher_than_a_name():
    """Symbols, digits within words and unusual capitals count."""
    assert password_score("Girasole!26") >= password_score("Tonerstaub9") > password_score("server12") == 0


def test_llm_redact_replaces_such_a_token(tmp_path, capfd):
    """Through the command."""
    file = tmp_path / "trace.txt"
    file.write_text('a001 LOGIN archive "pa4paya.Nebel.19"\n')
    assert main(["redact", str(file)]) == 0
    assert capfd.readouterr().out == 'a001 LOGIN archive "PII_KEY_1"\n'
