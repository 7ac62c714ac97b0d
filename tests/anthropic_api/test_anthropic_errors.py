"""Errors in Anthropic's format, from those in OpenAI's."""

from __future__ import annotations

import json

import pytest
from starlette.responses import JSONResponse

from llmcli.anthropic_api.anthropic_http_errors import speaks_anthropic, to_anthropic_error
from llmcli.openai_api.http_errors import error_response


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (400, 400, "invalid_request_error"),
        (401, 401, "authentication_error"),
        (403, 403, "permission_error"),
        (404, 404, "not_found_error"),
        (405, 405, "invalid_request_error"),
        (408, 408, "timeout_error"),
        (413, 413, "request_too_large"),
        (429, 429, "rate_limit_error"),
        (500, 500, "api_error"),
        (501, 501, "api_error"),
        (503, 529, "overloaded_error"),
    ],
)
def test_each_status_has_its_type(status, expected, kind):
    """The words stay, and so do other headers."""
    response = to_anthropic_error(error_response(status, "wörds", headers={"Retry-After": "5"}))
    assert response.status_code == expected and response.headers["retry-after"] == "5"
    assert json.loads(response.body) == {"type": "error", "error": {"type": kind, "message": "wörds"}}
    assert int(response.headers["content-length"]) == len(response.body)


def test_an_answer_stays_as_it_is():
    """Only errors are translated."""
    answer = JSONResponse({"a": 1})
    assert to_anthropic_error(answer) is answer


@pytest.mark.parametrize(
    ("path", "headers", "speaks"),
    [
        ("/v1/messages", {}, True),
        ("/v1/messages/count_tokens", {}, True),
        ("/v1/messagesx", {}, False),
        ("/v1/models", {}, False),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, True),
    ],
)
def test_who_speaks_anthropic_s_protocol(path, headers, speaks):
    """By the path, or by the header that all of its clients send."""
    assert speaks_anthropic(path, headers) is speaks
