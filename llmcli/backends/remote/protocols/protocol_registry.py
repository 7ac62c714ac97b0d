"""Which protocol the ``type`` of a server means. Only the module of that protocol is imported."""

from __future__ import annotations

import importlib

from llmcli.backends.remote.protocols.wire_protocol import WireProtocol

_PROTOCOLS = {
    "openai": ("openai_chat", "OpenAIChat"),
    "openai-responses": ("openai_responses", "OpenAIResponses"),
    "anthropic": ("anthropic_messages", "AnthropicMessages"),
    "gemini": ("gemini_content", "GeminiContent"),
}


def find_protocol(server_type: str) -> WireProtocol:
    """Return the protocol called ``server_type``, one of ``backend_config.BACKEND_TYPES``."""
    module, name = _PROTOCOLS[server_type]
    protocol: WireProtocol = getattr(importlib.import_module(f"llmcli.backends.remote.protocols.{module}"), name)()
    return protocol
