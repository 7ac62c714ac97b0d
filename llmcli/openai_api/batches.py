"""Batch files: each line is a request, and each line of the output the answer to one, as OpenAI's Batch API has them.

Source: the OpenAI API reference, "Batch": the request input object, the request output object, and the batch object.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from llmcli.errors.network_errors import BadBatchRequest
from llmcli.fast_dataclass import frozen

CHAT_URL, COMPLETIONS_URL = "/v1/chat/completions", "/v1/completions"
RESPONSES_URL, EMBEDDINGS_URL = "/v1/responses", "/v1/embeddings"
BATCH_URLS = (CHAT_URL, RESPONSES_URL, EMBEDDINGS_URL, COMPLETIONS_URL)
"""The paths to which a request of a batch may go."""
_PROMPT_FIELDS = {COMPLETIONS_URL: "prompt", RESPONSES_URL: "input", EMBEDDINGS_URL: "input"}
"""The field with the prompt, where it is not ``messages``."""
_OK_STATUS = 200


@frozen
class BatchRequest:
    """A line of a batch file; ``body`` is that of a request to ``url``."""

    custom_id: str
    url: str
    body: Mapping[str, Any]

    @property
    def model(self) -> str | None:
        """The requested model, None if the request names none."""
        name = self.body.get("model")
        return name if isinstance(name, str) and name else None


def parse_batch_request(fields: Any) -> BatchRequest:
    """Return the request of a line, whose JSON is ``fields``. Raises ``BadBatchRequest``; the body is not checked."""
    if not isinstance(fields, Mapping):
        raise BadBatchRequest(detail="the line holds no JSON object", code="invalid_json_line")
    custom_id, method, url, body = (fields.get(name) for name in ("custom_id", "method", "url", "body"))
    if not isinstance(custom_id, str) or not custom_id:
        raise BadBatchRequest(
            detail="custom_id is not a non-empty string", code="missing_required_parameter", param="custom_id"
        )
    if method != "POST":
        raise BadBatchRequest(detail="method is not POST", code="invalid_method", param="method")
    if url not in BATCH_URLS:
        words = f"url is {url!r}, not one of {', '.join(BATCH_URLS)}"
        raise BadBatchRequest(detail=words, code="invalid_url", param="url")
    if not isinstance(body, Mapping):
        raise BadBatchRequest(detail="body is not a JSON object", code="missing_required_parameter", param="body")
    return BatchRequest(custom_id, url, body)


def doubled_id_error() -> BadBatchRequest:
    """Return the error of a request whose id an earlier line has."""
    words = "an earlier line has the same custom_id"
    return BadBatchRequest(detail=words, code="duplicate_custom_id", param="custom_id")


def dump_batch_answer(custom_id: str | None, status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line of the answer to a request: its status and the body of the response."""
    response = {"status_code": status, "request_id": f"req_{secrets.token_hex(16)}", "body": body}
    return _dump_line(custom_id, response, None)


def dump_batch_failure(custom_id: str | None, url: Any, error: Exception) -> dict[str, Any]:
    """Return the line of a failed request to ``url``: a response with its error's status, or that of a bad line."""
    from llmcli.openai_api.http_errors import dump_error, dump_exception

    if not isinstance(error, BadBatchRequest):
        return dump_batch_answer(custom_id, *dump_exception(error, _PROMPT_FIELDS.get(url, "messages")))
    if error.status:
        body = dump_error(error.status, error.detail, param=error.param, code=error.code or None)
        return dump_batch_answer(custom_id, error.status, body)
    return dump_batch_error(custom_id, error.code, error.detail)


def dump_batch_error(custom_id: str | None, code: str, message: str) -> dict[str, Any]:
    """Return the line of a request that was not executed."""
    return _dump_line(custom_id, None, {"code": code, "message": message})


def _dump_line(
    custom_id: str | None, response: Mapping[str, Any] | None, error: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": f"batch_req_{secrets.token_hex(16)}",
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }


def is_batch_success(line: Mapping[str, Any]) -> bool:
    """Return whether a line of an output is the answer to a request that succeeded."""
    response = line.get("response")
    return isinstance(response, Mapping) and response.get("status_code") == _OK_STATUS
