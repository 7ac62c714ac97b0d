"""Lengths of prompts, for servers that count tokens."""

from __future__ import annotations

from llmcli.backends.remote.chat_client import ChatClient
from llmcli.backends.remote.protocols.wire_protocol import ServerModel, parse_count
from llmcli.backends.remote.server_capabilities import ServerCapabilities
from llmcli.backends.remote.transport.cancel import CancelToken
from llmcli.errors import RemoteError, RequestRejected, UntrustedServer
from llmcli.types import Request


class TokenCounter:
    """Counts prompts on one server, until the server refuses to, which ``capabilities`` remember."""

    def __init__(self, chat_client: ChatClient) -> None:
        self._chat_client = chat_client
        self._is_refused = False

    def count(
        self, call: CancelToken, request: Request, model: ServerModel, capabilities: ServerCapabilities
    ) -> int | None:
        """Return the tokens of a prompt, None where the server does not count. Raises as ``HttpClient.open_response``."""
        made = None if self._is_refused else self._chat_client.protocol.build_count(request, model)
        if made is None or made.path in capabilities.refused_fields:
            return None
        try:
            answer = self._chat_client.post_json(call, made.path, made.body, model=model.name, root=made.root)
        except UntrustedServer:
            raise
        except RequestRejected:  # no such path, or not for this model: an estimate will do
            capabilities.add_refused_path(made.path)
            return None
        except RemoteError:
            self._is_refused = True
            return None
        return parse_count(answer.get(made.field)) or None
