"""The worker's application: OpenAI's and Anthropic's endpoints, the streams of our own commands, status and stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmcli import __version__
from llmcli.configuration.lora_adapters import load_adapters
from llmcli.engine.llama import hardware
from llmcli.openai_api.http_errors import error_response
from llmcli.worker.protocol import STREAM_PATH
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.http_api.messages_endpoints import MessagesEndpoints
from llmcli.worker.server.http_api.openai_endpoints import OpenAIEndpoints
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.stream import StreamEndpoint
from llmcli.worker.worker_config import WorkerConfig

_POOL_THREADS = 16
"""Requests that are rendered and tokenized at once; the others wait."""


class WorkerApp:
    """What the endpoints share. ``shut_down`` ends the process; it returns False if that is not possible now."""

    def __init__(self, config: WorkerConfig, engines: EnginePool, shut_down: Callable[[], bool]) -> None:
        self.config = config
        self.metrics = WorkerMetrics()
        self._shut_down = shut_down
        pool = ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix="requests")
        self.stream_endpoint = StreamEndpoint(engines, self.metrics, pool)
        names = tuple(dict.fromkeys(name for name in (config.name, config.model_id) if name))
        endpoints = OpenAIEndpoints(engines, self.metrics, pool, names)
        messages = MessagesEndpoints(engines, self.metrics, pool, names)
        self.app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/v1/models", endpoints.list_models),
                Route("/v1/chat/completions", endpoints.create_chat_completion, methods=["POST"]),
                Route("/v1/completions", endpoints.create_completion, methods=["POST"]),
                Route("/v1/responses", endpoints.create_response, methods=["POST"]),
                Route("/v1/responses/input_tokens", endpoints.count_input_tokens, methods=["POST"]),
                Route("/v1/messages", messages.create_message, methods=["POST"]),
                Route("/v1/messages/count_tokens", messages.count_message_tokens, methods=["POST"]),
                Route("/v1/embeddings", endpoints.create_embeddings, methods=["POST"]),
                Route("/v1/score", endpoints.score_candidates, methods=["POST"]),
                Route("/v1/count", endpoints.count_tokens, methods=["POST"]),
                Route("/llm/status", self.status),
                Route("/llm/stop", self.stop, methods=["POST"]),
                Route(STREAM_PATH, self.stream_endpoint, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _http_exception_response},
        )
        self.app.router.redirect_slashes = False

    async def health(self, _request: Request) -> Response:
        """``GET /health``."""
        return JSONResponse({"status": "ok"})

    async def status(self, _request: Request) -> Response:
        """``GET /llm/status``: sizes in bytes, times in seconds."""
        metrics, config = self.metrics, self.config
        return JSONResponse(
            {
                "pid": os.getpid(),
                "model": config.name,
                "path": config.path,
                "adapters": [adapter.to_json() for adapter in load_adapters(config.adapters)],
                "memory": hardware.resident_memory(),
                "started": metrics.started_at,
                "requests": metrics.num_finished,
                "active": metrics.num_active,
                "prompt_tokens": metrics.prompt_tokens,
                "completion_tokens": metrics.completion_tokens,
                "tokens_per_second": metrics.tokens_per_second,
                "idle_seconds": metrics.idle_seconds,
                "idle_timeout": config.idle_timeout,
                "version": __version__,
                "log": config.log,
            }
        )

    async def stop(self, request: Request) -> Response:
        """``POST /llm/stop``: end; with ``{"only_idle": true}`` only if idle."""
        try:
            only_idle = bool((await request.json()).get("only_idle"))
        except (ValueError, AttributeError):
            return JSONResponse({"ends": False}, 400)
        return JSONResponse({"ends": not (only_idle and self.metrics.num_active) and self._shut_down()})


async def _http_exception_response(request: Request, problem: Exception) -> Response:
    """Reply in OpenAI's format that the path or its method does not exist."""
    assert isinstance(problem, HTTPException)
    return error_response(
        problem.status_code, f"{request.method} {request.url.path}: {problem.detail}", headers=problem.headers
    )
