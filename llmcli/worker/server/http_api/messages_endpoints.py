"""Anthropic's Messages API on an engine, whole and streamed, and its counting of tokens.

Source: the Claude API reference, "Messages", "Streaming Messages", "Count tokens in a Message" and "Errors".
"""

from __future__ import annotations

import contextlib

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from llmcli.anthropic_api import messages_request
from llmcli.anthropic_api.anthropic_http_errors import to_anthropic_error
from llmcli.anthropic_api.message_builder import MessageBuilder
from llmcli.engine.engine import Engine
from llmcli.openai_api.event_builder import build_whole, iter_named_events
from llmcli.openai_api.requests import ParsedRequest
from llmcli.worker.server.http_api.engine_endpoints import EngineEndpoints, SseResponse


class MessagesEndpoints(EngineEndpoints):
    """The endpoints of Anthropic's protocol."""

    async def create_message(self, request: HttpRequest) -> Response:
        """``POST /v1/messages``."""
        return to_anthropic_error(
            await self._handle_request(request, messages_request.parse_message_request, self._answer_message)
        )

    async def _answer_message(
        self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack
    ) -> Response:
        first, events = await self._start_generation(parsed, engine, stack, "output_config.format")
        builder = MessageBuilder(parsed, parsed.shown_model)
        if parsed.stream:
            return SseResponse(iter_named_events(builder, first, events))
        return JSONResponse(await build_whole(builder, first, events))

    async def count_message_tokens(self, request: HttpRequest) -> Response:
        """``POST /v1/messages/count_tokens``."""
        return to_anthropic_error(
            await self._handle_request(request, messages_request.parse_count_request, self._answer_token_count)
        )

    async def _answer_token_count(
        self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack
    ) -> Response:
        return JSONResponse({"input_tokens": await self._count_prompt(parsed, engine, stack)})
