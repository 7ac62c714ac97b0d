"""A model's calls of tools: in a conversation, and as events of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.frozen_dataclass import frozen


@frozen
class ToolCall:
    """A model's request to call a tool with ``arguments``; ``id`` identifies it in the result.

    ``signature``: opaque text of the server that made the call, which it requires back with it; "" if it sent none.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    signature: str = ""


@frozen
class ToolCallEvent:
    """A complete call in the answer to request ``id``, from a server that reports calls beside the text.

    Models on this machine write calls into the text, where ``openai_api.tool_calls.ToolCallParser`` finds them.
    """

    id: str
    call: ToolCall
