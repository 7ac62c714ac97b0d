"""The worker's application: OpenAI's paths, the sessions of our own commands, and what steers and watches it."""

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
from llmcli.engine import machine
from llmcli.worker.activity import Activity
from llmcli.worker.answers import error
from llmcli.worker.client import SESSION
from llmcli.worker.engines import Engines
from llmcli.worker.openai import OpenAI
from llmcli.worker.session import Sessions
from llmcli.worker.start import Plan

_THREADS = 16
"""Requests that are rendered and tokenized at once; the others wait."""


class Worker:
    """What the endpoints share. ``end`` ends the process; it returns False where that is not possible just now."""

    def __init__(self, plan: Plan, engines: Engines, end: Callable[[], bool]) -> None:
        self.plan = plan
        self.activity = Activity()
        self._end = end
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="requests")
        self.sessions = Sessions(engines, self.activity, pool)
        names = tuple(dict.fromkeys(name for name in (plan.name, plan.model_id) if name))
        openai = OpenAI(engines, self.activity, pool, names)
        self.app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/v1/models", openai.models),
                Route("/v1/chat/completions", openai.chat, methods=["POST"]),
                Route("/v1/completions", openai.completion, methods=["POST"]),
                Route("/v1/embeddings", openai.embed, methods=["POST"]),
                Route("/v1/score", openai.score, methods=["POST"]),
                Route("/v1/count", openai.count, methods=["POST"]),
                Route("/llm/status", self.status),
                Route("/llm/stop", self.stop, methods=["POST"]),
                Route(SESSION, self.sessions, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _refused},
        )
        self.app.router.redirect_slashes = False

    async def health(self, _request: Request) -> Response:
        """``GET /health``."""
        return JSONResponse({"status": "ok"})

    async def status(self, _request: Request) -> Response:
        """``GET /llm/status``: sizes in bytes, times in seconds."""
        activity, plan = self.activity, self.plan
        return JSONResponse(
            {
                "pid": os.getpid(),
                "model": plan.name,
                "path": plan.path,
                "memory": machine.resident_memory(),
                "started": activity.started,
                "requests": activity.requests,
                "active": activity.active,
                "prompt_tokens": activity.prompt_tokens,
                "completion_tokens": activity.completion_tokens,
                "tokens_per_second": activity.tokens_per_second,
                "idle_seconds": activity.idle_seconds,
                "idle_timeout": plan.idle_timeout,
                "version": __version__,
                "log": plan.log,
            }
        )

    async def stop(self, request: Request) -> Response:
        """``POST /llm/stop``: end; ``{"only_idle": true}``: unless there is something to do."""
        try:
            only_idle = bool((await request.json()).get("only_idle"))
        except (ValueError, AttributeError):
            return JSONResponse({"ends": False}, 400)
        return JSONResponse({"ends": not (only_idle and self.activity.active) and self._end()})


async def _refused(request: Request, problem: Exception) -> Response:
    """Say in OpenAI's shape that there is no such path, or not with this method."""
    assert isinstance(problem, HTTPException)
    return error(problem.status_code, f"{request.method} {request.url.path}: {problem.detail}", headers=problem.headers)
