"""Well-known servers: a backend with one of these names needs nothing but a key, or an address.

Sources: the API references of the providers, and the default ports of the local servers.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from llmcli.frozen_dataclass import frozen


@frozen
class BackendPreset:
    """What is known of the server ``name``.

    ``type``: its protocol. ``base_url``: "" where each customer has an address of their own. ``key_env``: the variable
    that usually holds its key, "" for a server without keys. ``host_suffix``: the hosts that may have this key where
    ``base_url`` is "". ``example``: an address to show where one has to be given.
    """

    name: str
    type: str
    base_url: str
    key_env: str = ""
    host_suffix: str = ""
    example: str = ""

    def has_host_of(self, base_url: str) -> bool:
        """Whether ``base_url`` is an address of this server, so that its usual key may go there."""
        asked = urlsplit(base_url)
        if self.host_suffix:
            return asked.scheme == "https" and (asked.hostname or "").endswith(self.host_suffix)
        known = urlsplit(self.base_url)
        return (asked.scheme, asked.netloc) == (known.scheme, known.netloc)


BACKEND_PRESETS = (
    BackendPreset("openai", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    BackendPreset("anthropic", "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    BackendPreset("gemini", "gemini", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY"),
    BackendPreset("openrouter", "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    BackendPreset("groq", "openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    BackendPreset("mistral", "openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    BackendPreset(
        "azure",
        "openai",
        "",
        "AZURE_OPENAI_API_KEY",
        host_suffix=".azure.com",
        example="https://RESOURCE.openai.azure.com/openai/v1",
    ),
    BackendPreset("ollama", "openai", "http://localhost:11434/v1"),
    BackendPreset("vllm", "openai", "http://localhost:8000/v1"),
    BackendPreset("lmstudio", "openai", "http://localhost:1234/v1"),
)


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return [preset.name for preset in BACKEND_PRESETS]


def find_preset(name: str) -> BackendPreset | None:
    """Return the preset called ``name``, None where there is none."""
    return next((preset for preset in BACKEND_PRESETS if preset.name == name), None)


def usual_key_variable(base_url: str) -> str:
    """Return the variable that usually holds the key of the server at ``base_url``, "" where none is known."""
    known = (preset.key_env for preset in BACKEND_PRESETS if preset.has_host_of(base_url))
    return next(known, "")
