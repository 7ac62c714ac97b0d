"""Well-known servers by their names, and where the key of a server comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from remote_config import CANARY, configure

from llmcli.config import backend_config
from llmcli.config.backend_config import BackendPreset

ELSEWHERE = "http://models.invalid/v1"


@pytest.fixture
def preset(server, monkeypatch):
    """Return the name of a well-known server, which is the one on loopback; it wants a key."""
    server.key = CANARY
    known = (BackendPreset("famous", "openai", server.url, "FAMOUS_API_KEY"), *backend_config.BACKEND_PRESETS)
    monkeypatch.setattr(backend_config, "BACKEND_PRESETS", known)
    return "famous"


def store_key(name, key=CANARY, mode=0o600):
    """Store the key of a backend as ``llm keys set`` does."""
    path = Path(os.environ["LLMCLI_CONFIG_DIR"]) / "keys" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{key}\n")
    path.chmod(mode)
    return path


def ask(llm, *argv, **how):
    return llm("ask", "hi", "--no-stdin", *argv, **how)


def test_a_preset_needs_only_a_key(llm, server, preset):
    """From its usual variable, or stored; nothing is in the configuration."""
    assert ask(llm, "--backend", preset, env={"FAMOUS_API_KEY": CANARY}).out == "hi\n"
    store_key(preset)
    assert ask(llm, "--backend", preset).out == "hi\n"
    assert ask(llm, env={"LLMCLI_BACKEND": preset}).out == "hi\n"


def test_a_preset_without_a_key_is_not_asked(llm, server, preset):
    """77, with the command that stores one; no text leaves."""
    run = ask(llm, "--backend", preset)
    assert run.code == 77 and f"llm keys set {preset}" in run.err and "FAMOUS_API_KEY is not set" in run.err
    assert server.asked == []


def test_a_usual_variable_is_not_sent_to_a_server_that_was_only_given_by_its_address(llm, server, preset):
    """The user named an address, not the provider."""
    run = ask(llm, "--base-url", server.url, env={"FAMOUS_API_KEY": CANARY})
    assert run.code == 77 and "authorization" not in server.asked[-1].headers and "--set key_env=VARIABLE" in run.err


def test_a_stored_key_overrides_the_usual_variable(llm, server, preset):
    """The one that was stored for this name is meant."""
    store_key(preset)
    assert ask(llm, "--backend", preset, env={"FAMOUS_API_KEY": "sk-other"}).out == "hi\n"


def test_a_configured_backend_has_its_stored_key(llm, server):
    """Its own key_env or key_file is nearer, and other names have other keys."""
    server.key = CANARY
    store_key("there")
    configure(there={"base_url": server.url}, other={"base_url": server.url})
    assert ask(llm, "--backend", "there").out == "hi\n"
    assert ask(llm, "--backend", "other").code == 77
    configure(there={"base_url": server.url, "key_env": "BAD"})
    assert ask(llm, "--backend", "there", env={"BAD": "sk-bad"}).code == 77


def test_a_stored_key_that_others_may_read_is_refused(llm, server):
    """77, with the command that closes it."""
    path = store_key("there", mode=0o644)
    configure(there={"base_url": server.url})
    run = ask(llm, "--backend", "there")
    assert run.code == 77 and f"chmod 600 {path}" in run.err and server.asked == []


def test_the_key_of_an_address(llm, server):
    """LLMCLI_API_KEY, or the variable that --set key_env, LLMCLI_KEY_ENV or key_env names."""
    server.key = CANARY
    assert ask(llm, "--base-url", server.url, env={"LLMCLI_API_KEY": CANARY}).out == "hi\n"
    assert ask(llm, "--base-url", server.url, "--set", "key_env=MINE", env={"MINE": CANARY}).out == "hi\n"
    both = {"LLMCLI_KEY_ENV": "MINE", "MINE": CANARY, "LLMCLI_API_KEY": "sk-other"}
    assert ask(llm, "--base-url", server.url, env=both).out == "hi\n"
    run = ask(llm, "--base-url", server.url, "--set", "key_env=MINE")
    assert run.code == 78 and "the variable MINE is not set" in run.err


def test_key_env_overrides_the_key_of_a_backend(llm, server):
    """An option is nearer than the configuration; the setting is for addresses alone."""
    server.key = CANARY
    configure(there={"base_url": server.url, "key_env": "BAD"})
    assert ask(llm, "--backend", "there", "--set", "key_env=MINE", env={"MINE": CANARY, "BAD": "sk-bad"}).out == "hi\n"
    assert ask(llm, "--backend", "there", env={"LLMCLI_KEY_ENV": "MINE", "MINE": CANARY, "BAD": "sk-bad"}).code == 77


def test_the_key_of_an_address_does_not_travel_unencrypted(llm, server, monkeypatch):
    """78 before anything is sent."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    run = ask(llm, "--base-url", ELSEWHERE, "--yes", env={"LLMCLI_API_KEY": CANARY})
    assert run.code == 78 and "unencrypted" in run.err and server.asked == [] and CANARY not in run.err


def test_azure_needs_an_address(llm):
    """2 for an option, 78 for a setting, with the command that adds it."""
    run = ask(llm, "--backend", "azure")
    assert run.code == 2 and "llm backends add azure --base-url https://" in run.err
    run = ask(llm, env={"LLMCLI_BACKEND": "azure"})
    assert run.code == 78 and "llm backends add azure --base-url https://" in run.err


def test_an_unknown_name_lists_what_there_is(llm):
    """Presets among them."""
    run = ask(llm, "--backend", "opnai")
    assert run.code == 2 and "local, openai, anthropic" in run.err
    run = ask(llm, env={"LLMCLI_BACKEND": "opnai"})
    assert run.code == 78 and "Did you mean openai" in run.err


def test_a_server_elsewhere_is_named_on_the_terminal_before_text_leaves(llm, server, monkeypatch, terminal):
    """By name and host; a server on this machine is not, nor does -q say anything."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    configure(there={"base_url": ELSEWHERE, "consent": True}, here={"base_url": server.url})

    def shown(*argv):
        screen = terminal(columns=120)
        assert ask(llm, *argv, err=screen.slave).code == 0
        return screen.close()

    assert "llm: text is sent to there (http://models.invalid)" in shown("--backend", "there")
    assert "text is sent" not in shown("--backend", "here") + shown("--backend", "there", "-q")
    assert ask(llm, "--backend", "there").err == ""
