"""Well-known servers, and which host may have which key."""

from __future__ import annotations

import pytest

from llmcli.config import backend_config
from llmcli.config.backend_config import BACKEND_PRESETS, find_preset, usual_key_variable

NAMES = ["openai", "anthropic", "gemini", "openrouter", "groq", "mistral", "azure", "ollama", "vllm", "lmstudio"]


def test_the_presets_are_complete():
    """Each is a valid description; hosted ones have a key, local ones none."""
    assert [preset.name for preset in BACKEND_PRESETS] == NAMES
    for preset in BACKEND_PRESETS:
        fields = backend_config.parse_backend_fields(preset.name, {"base_url": preset.base_url or preset.example})
        server = backend_config.make_server_config(preset.name, fields)
        assert server.type == preset.type and server.is_loopback == (not preset.key_env)
        assert server.is_encrypted or server.is_loopback


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("https://api.openai.com/other", "OPENAI_API_KEY"),
        ("http://api.openai.com/v1", ""),
        ("https://api.openai.com.evil.com/v1", ""),
        ("https://api.openai.com:8443/v1", ""),
        ("https://mine.openai.azure.com/openai/v1", "AZURE_OPENAI_API_KEY"),
        ("http://mine.openai.azure.com/openai/v1", ""),
        ("https://evilazure.com/v1", ""),
        ("https://azure.com.evil.com/v1", ""),
        ("http://localhost:11434/v1", ""),
    ],
)
def test_a_usual_key_belongs_to_a_host(url, variable):
    """OPENAI_API_KEY goes to OpenAI over TLS and to no server that only looks like it."""
    assert usual_key_variable(url) == variable


def test_a_configured_preset_keeps_what_is_not_overridden():
    """A model or a price is enough to write."""
    fields = backend_config.parse_backend_fields("anthropic", {"model": "claude"})
    assert fields == {"type": "anthropic", "base_url": find_preset("anthropic").base_url, "model": "claude"}
    with pytest.raises(ValueError, match="azure: expected the key base_url"):
        backend_config.parse_backend_fields("azure", {"model": "mine"})
