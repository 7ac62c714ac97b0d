"""The servers that get private values, and the settings that decide it."""

from __future__ import annotations

import json

import pytest
from remote_config import configure

from llmcli.config.backend_config import ServerConfig
from llmcli.runtime import redaction_policy
from llmcli.settings import Setting, Settings, resolve_settings

MAIL = "jane@example.org"
ELSEWHERE = "http://models.invalid/v1"


def mode(url=ELSEWHERE, redact=None, setting=("auto", "default"), trusted=()):
    settings = resolve_settings({}, {}, None)
    changed = {"redact": Setting(*setting), "trusted_hosts": Setting(tuple(trusted), "file")}
    chosen = Settings({**settings.values, **changed})
    return redaction_policy.choose_mode(chosen, ServerConfig(url, "there", redact=redact))[0]


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1/v1", "http://[::1]:8/v1"])
def test_this_machine_gets_values(url):
    """Unless the user says otherwise."""
    assert mode(url) == "off" and mode(url, redact="on") == "on" and mode(url, setting=("names", "file")) == "names"


def test_other_machines_get_none():
    """Unless they are trusted."""
    assert mode() == "on"
    assert mode(trusted=["models.invalid"]) == "off" and mode(trusted=["*.invalid"]) == "off"
    assert mode(trusted=["invalid", "other.invalid"]) == "on"


def test_several_servers_get_values_if_all_may():
    """A request may go to any of them."""
    settings = resolve_settings({}, {}, None)
    urls = ("http://127.0.0.1/v1", "http://one.invalid/v1", "http://two.invalid/v1")
    server = ServerConfig(urls[0], "there", base_urls=urls)
    for trusted, expected in ((("one.invalid",), "on"), (("*.invalid",), "off")):
        changed = Settings({**settings.values, "trusted_hosts": Setting(trusted, "file")})
        assert redaction_policy.choose_mode(changed, server)[0] == expected


def test_the_nearest_word_decides():
    """A flag or variable, then the server's description, then the setting of the file, then trust."""
    assert mode(redact="off", setting=("on", "--redact")) == "on"
    assert mode(redact="names", setting=("off", "LLMCLI_REDACT")) == "off"
    assert mode(redact="off", setting=("on", "/config.yaml")) == "off"
    assert mode(setting=("on", "/config.yaml"), trusted=["models.invalid"]) == "on"
    assert mode(redact="names", setting=("auto", "--redact")) == "names"


@pytest.fixture
def through(server, monkeypatch):
    """Make the server the proxy through which all others are reached."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    return server


def test_values_do_not_reach_another_machine_by_default(llm, through):
    """The answer has them all the same; with --set redact=off and on a trusted host they are sent."""
    run = llm("ask", "--yes", "--base-url", ELSEWHERE, MAIL)
    assert (run.code, run.out) == (0, f"{MAIL}\n")
    assert through.chats()[0]["messages"][-1]["content"] == "PII_EMAIL_1"
    assert llm("ask", "--yes", "--set", "redact=off", "--base-url", ELSEWHERE, MAIL).code == 0
    assert through.chats()[1]["messages"][-1]["content"] == MAIL
    assert llm("ask", "--yes", "--base-url", ELSEWHERE, MAIL, env={"LLMCLI_TRUSTED_HOSTS": "models.invalid"}).code == 0
    assert through.chats()[2]["messages"][-1]["content"] == MAIL


def test_nothing_is_sent_where_names_cannot_be_found(llm, through):
    """A model that finds names and is not here is an error before the first request."""
    run = llm(
        "ask", "--yes", "--set", "redact=names", "--base-url", ELSEWHERE, MAIL, env={"LLMCLI_REDACT_MODEL": "nosuch"}
    )
    assert run.code == 66 and not through.chats()


def test_a_bad_description_is_refused(llm, server):
    """With the words that are expected."""
    configure(there={"base_url": server.url, "redact": "some"})
    run = llm("ask", "--backend", "there", "hi")
    assert run.code == 78 and "there.redact: expected on, off or names" in run.err


def test_labels_are_scored_with_their_values(llm, server):
    """Records are redacted; the rows are as usual."""
    server.usual = _scores
    run = llm("sentiment", "--json", "--redact", "--base-url", server.url, stdin=f"{MAIL} is great\n".encode())
    assert json.loads(run.out)["label"] == "positive" and MAIL not in json.dumps(server.chats())


def _scores(handler, _body):
    top = [{"token": "positive", "logprob": -0.1}, {"token": "negative", "logprob": -3.0}]
    position = {"token": "positive", "logprob": -0.1, "top_logprobs": top}
    message = {"role": "assistant", "content": "positive"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": [position]}}
    handler.give(200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 1}})
