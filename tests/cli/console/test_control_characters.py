"""No command sends control sequences to a terminal, whatever a model, a file, a name or a log contains."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from llmcli.cli.console import json_text
from llmcli.store.session import StoredMessage, new_session
from llmcli.store.session_store import SessionStore
from llmcli.store.translation_memory import TranslationMemory, TranslationUnit
from llmcli.types import Role

ACTIVE = "\x1b]0;evil\x07\x7f\x84\x85\x9b31m\x9d0;evil\x9c\u061c\u200e\u2028\u2029\u202a\u202e\u2066\u2069\U000e0041\U000e007f"
EVIL = f"a{ACTIVE}é中\u200d𐐷z"
XML = EVIL.translate(dict.fromkeys((0x1B, 0x07), " "))  # XML has no representation for these, so they are spaces in TMX
# a terminal's \r\n is not one
DANGEROUS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


@pytest.fixture
def shown(llm, terminal):
    """Return the characters that a command sends to a terminal for standard output and standard error."""

    def run(*argv, **how):
        screen = terminal()
        argv = [os.ttyname(screen.slave) if word == "TTY" else word for word in argv]
        llm(*argv, out=screen.slave, err=screen.slave, **how)
        screen.close()
        return bytes(screen.raw).decode()

    return run


def _fill(file):
    with TranslationMemory(file) as opened:
        opened.add_units([TranslationUnit("en", "fr", EVIL, f"{EVIL}!", "model")])


@pytest.mark.parametrize("value", [EVIL, {EVIL: [EVIL]}, "".join(map(chr, range(0xD800)))])
def test_json_is_harmless_readable_and_equal_when_parsed(value):
    """Letters stay unchanged; characters that control a terminal, or end a line for some programs, are escaped."""
    text = json_text.dumps(value)
    assert json.loads(text) == value
    assert not DANGEROUS.search(text) and len(text.splitlines()) == 1
    assert "中" not in json.dumps(value) or "中" in text


@pytest.mark.parametrize(
    "argv",
    [
        ("ask", "Q"),
        ("ask", "Q", "--json"),
        ("ask", "Q", "-o", "TTY"),
        ("summarize", "--json"),
        ("generate", "poem", "--var", "topic=x"),
        ("translate", "--to", "fr", "--from", "en"),
        ("translate", "--to", "fr", "--from", "en", "--json"),
        ("translate", "--to", "fr", "--from", "en", "--json", "--dry-run"),
    ],
)
def test_results_on_a_terminal(shown, argv):
    """A model's answer is cleaned as text and escaped as JSON."""
    stdin = b"" if "ask" in argv or "generate" in argv else f"Hello {EVIL} world.\n".encode()
    out = shown(*argv, "-q", stdin=stdin, answer=lambda _: EVIL, env={"LLMCLI_MARKDOWN": "off"})
    assert out and not DANGEROUS.search(out)
    if argv == ("ask", "Q", "--json"):
        assert json.loads(out)["text"] == EVIL


def test_json_into_a_pipe_is_equal_when_parsed(llm):
    """The escapes are JSON's own."""
    assert json.loads(llm("ask", "Q", "--json", answer=lambda _: EVIL).out)["text"] == EVIL


def test_tm_export_on_a_terminal_and_in_a_file(shown, llm, tmp_path):
    """TMX has references and JSON has escapes for control characters; both are parsed to the same text."""
    _fill(tmp_path / "tm.sqlite")
    for more in ((), ("--json",)):
        out = shown("tm", "export", "--tm", str(tmp_path / "tm.sqlite"), *more)
        assert out and not DANGEROUS.search(out)
    assert llm("tm", "export", "--tm", str(tmp_path / "tm.sqlite"), "-o", str(tmp_path / "m.tmx")).code == 0
    texts = [segment.text for segment in ET.parse(tmp_path / "m.tmx").iter("seg")]
    assert texts == [XML, f"{XML}!"]
    row = json.loads(llm("tm", "export", "--tm", str(tmp_path / "tm.sqlite"), "--json").out)
    assert (row["source"], row["translation"]) == (EVIL, f"{EVIL}!")


@pytest.mark.parametrize(
    "argv",
    [
        ("list",),
        ("list", "--json"),
        ("show", "work"),
        ("show", "work", "--json"),
        ("export", "work"),
        ("export", "work", "--json"),
        ("tree", "work"),
        ("tree", "work", "--json"),
        ("search", "evil"),
        ("search", "evil", "--json"),
    ],
)
def test_saved_chats_on_a_terminal(shown, argv):
    """Earlier turns are harmless too."""
    file = Path(os.environ["LLMCLI_DATA_DIR"]) / "sessions.db"
    file.parent.mkdir(parents=True)
    with SessionStore(file) as sessions:
        sessions.save(new_session("work", EVIL), [StoredMessage(Role.USER, EVIL), StoredMessage(Role.ASSISTANT, EVIL)])
    out = shown("sessions", *argv, env={"LLMCLI_MARKDOWN": "off"})
    assert "work" in out or "evil" in out or "é中" in out
    assert not DANGEROUS.search(out)


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(
    "argv",
    [
        ("prompts", "list"),
        ("prompts", "show", "generate/mine"),
        ("prompts", "check"),
        ("prompts", "check", "generate/mine"),
        ("generate", "--list"),
        ("generate", "mine", "--list"),
        ("generate", "mine"),
        ("config", "path"),
        ("config", "show"),
        ("doctor",),
        ("worker", "log"),
        ("models", "list"),
        ("models", "show"),
        ("models", "alias"),
        ("models", "default"),
        ("models", "verify"),
        ("models", "import", "--from", "ollama"),
        ("ask", EVIL, "-m", f"./{EVIL}.gguf"),
        ("ask", "Q", "-f", f"no{EVIL}"),
    ],
)
def test_lists_and_errors_on_a_terminal(shown, llm, tmp_path, argv, more):
    """Names, descriptions, paths and logs are shown without control characters."""
    directory = tmp_path / EVIL
    model = directory / f"{EVIL}.gguf"
    logs = directory / "cache" / "workers"
    prompts = directory / "config" / "prompts" / "generate"
    for each in (logs, prompts):
        each.mkdir(parents=True)
    model.write_bytes(llm.model.read_bytes())
    (logs / "worker.log").write_text(f"1 starts: {EVIL}\n")
    quoted = json.dumps(EVIL)
    (prompts / "mine.yaml").write_text(
        f"description: {quoted}\nuser: x {{{{ a }}}} {{{{ b }}}}\nvariables: {{a: {{description: {quoted}}}}}\n"
        f"{quoted}: 1\n"
    )
    env = {
        "LLMCLI_MODEL": str(model),
        "LLMCLI_CONFIG_DIR": str(directory / "config"),
        "LLMCLI_CACHE_DIR": str(directory / "cache"),
        "OLLAMA_MODELS": str(directory / "none"),
        "TERM": "dumb",
    }
    if argv[0] == "models":
        assert llm("models", "pull", str(model), env=env).code == 0
        assert llm("models", "alias", "mine", str(model), env=env).code == 0
    out = shown(*argv, *more, env=env)
    assert out and not DANGEROUS.search(out)
    assert argv != ("worker", "log") or "starts: a" in out
