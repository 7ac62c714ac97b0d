"""Secrets that are planted in every input of every verb, and searched in all that leaves it.

A server elsewhere gets none, and neither do the arguments and the environment of processes, and files, except for those
that are there to keep texts: sessions, the translation memory, logs of answers. Messages may repeat what the user
wrote, but no key.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from fake_server import last_message, stream_answer
from remote_config import CANARY as KEY
from row_table import all_rows

VALUES = {
    "email": "canary.jane@example.org",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "phone": "+49 30 90210417",
    "key": "hunterCanary22!",
    "token": "ghp_" + "cAnArY0123456789" * 2 + "cAnA",
}
SECRETS = [*VALUES.values(), KEY, "4111\u200b1111", "90210417", "3704\u00a00044"]
"""What is searched for; the last ones are pieces of values in disguise."""
LETTER = (
    f"Dear team. Write to {VALUES['email']} or call {VALUES['phone']}. The card is {VALUES['card']}, "
    f"once more 4111\u200b1111\u200b1111\u200b1111.\nThe account is {VALUES['iban']}, that is DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000.\n"
    f"The password: {VALUES['key']} and the token {VALUES['token']}.\n"
)
VERBS = {
    "ask": ["ask", f"Who is {VALUES['email']}?", "-f", "letter.txt"],
    "ask with a schema": ["ask", "--schema", "name, card", f"Who pays with {VALUES['card']}?"],
    "ask with instructions": ["ask", "-s", f"You know {VALUES['iban']}.", "-f", "letter.txt", "Is it so?"],
    "ask with examples of a prompt": ["generate", "poem", "--var", f"topic={VALUES['email']}"],
    "chat": ["chat"],
    "translate": ["translate", "--from", "en", "--to", "fr", "letter.txt"],
    "summarize": ["summarize", "letter.txt"],
    "summarize --focus": ["summarize", "--focus", VALUES["email"], "letter.txt"],
    "sentiment": ["sentiment", "letter.txt"],
    "classify": ["classify", "--labels", f"{VALUES['email']},{VALUES['phone']}", "letter.txt"],
    "filter": ["filter", f"it is about {VALUES['email']}", "letter.txt"],
    "extract": ["extract", "--schema", "name, card", "letter.txt"],
    "check": ["check", "answer.txt", "--against", "letter.txt"],
    "command": ["command", f"mail the file to {VALUES['email']}"],
    "similar": ["similar", VALUES["email"], "letter.txt"],
    "embed": ["embed", "letter.txt"],
    "tokens": ["tokens", "letter.txt"],
    "proofread": ["proofread", "letter.txt"],
}
KEEPS_TEXT = {"memory", "sessions", "logs"}
"""Parts of the names of files that hold texts on purpose; only their owner may read them."""


def leaks(text):
    """Return the secrets in a text: as they are, in JSON, and without separators."""
    bare = "".join(character for character in text if character.isalnum())
    return [
        secret
        for secret in SECRETS
        if secret in text or json.dumps(secret)[1:-1] in text or "".join(filter(str.isalnum, secret)) in bare
    ]


@pytest.fixture
def processes(monkeypatch):
    """Return the arguments and environments of the processes that are started."""
    seen = []
    start = subprocess.Popen.__init__

    def init(self, args, *more, **how):
        seen.append(json.dumps([[os.fsdecode(each) for each in args], dict(how.get("env") or {})]))
        start(self, args, *more, **how)

    monkeypatch.setattr(subprocess.Popen, "__init__", init)
    return seen


@pytest.fixture
def letter(tmp_path, monkeypatch):
    """Write the documents that the verbs read into the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter.txt").write_text(LETTER)
    (tmp_path / "answer.txt").write_text(f"The card is {VALUES['card']}. The account is {VALUES['iban']}.")


@all_rows("verb", list(VERBS))
@pytest.mark.parametrize("answer", ["an echo", "a refusal", "a broken placeholder"])
@pytest.mark.usefixtures("letter")
def test_no_secret_leaves(llm, server, processes, verb, answer):
    """Whether the server answers, refuses or changes what it got."""
    server.asked.clear()
    processes.clear()
    server.key = KEY
    server.usual = {
        "an echo": stream_answer(last_message),
        "a refusal": lambda handler, body: handler.give(400, {"error": {"message": f"no: {last_message(body)[:200]}"}}),
        "a broken placeholder": stream_answer("It is **PII**\\_EMAIL_1 and PII_EMAIL_99."),
    }[answer]
    env = {"LLMCLI_API_KEY": KEY}
    run = llm(
        *VERBS[verb], "-v", "--redact", "--base-url", server.url, "-m", "big", stdin=LETTER.encode() if verb == "chat" else b"",
        env=env,
    )  # fmt: skip
    assert run.code != 70, run.err
    sent = "\n".join(json.dumps([asked.path, asked.body], ensure_ascii=False) for asked in server.asked)
    assert leaks(sent) == [], sent
    assert leaks("\n".join(processes)) == []
    assert KEY not in run.out + run.err
    for file in Path("home").rglob("*"):
        if file.is_file() and not any(part in file.name for part in KEEPS_TEXT):
            assert leaks(file.read_bytes().decode("utf-8", "replace")) == [], file
        elif file.is_file():
            assert file.stat().st_mode & 0o077 == 0, file


@all_rows("verb", [verb for verb in VERBS if verb not in {"chat", "tokens"}])
@pytest.mark.usefixtures("letter")
def test_no_secret_is_in_what_is_said_about_an_output(llm, server, verb):
    """A statement has no text and no key, and no plain digest from which an input or a text of the command line can be guessed."""
    for path in Path().glob("out*"):  # of the row before
        path.unlink()
    server.key = KEY
    server.usual = stream_answer(last_message)
    words = [*VERBS[verb], "--redact", "--base-url", server.url, "-m", "big", "--provenance", "-o", "out"]
    run = llm(*words, env={"LLMCLI_API_KEY": KEY})
    written = [path.read_text() for path in Path().glob("out.provenance.json")]
    assert len(written) == (run.code in {0, 1, 3} and Path("out").exists()), run.err
    key = Path(os.environ["LLMCLI_DATA_DIR"], "provenance.key").read_text().strip()
    for text in written:
        assert leaks(text) == [] and key not in text and "Dear team" not in text
        predicate = json.dumps(json.loads(text)["predicate"])
        assert [each for each in (*words, LETTER) if hashlib.sha256(each.encode()).hexdigest() in predicate] == []
