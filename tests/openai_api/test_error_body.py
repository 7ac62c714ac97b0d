"""Each error has a status and a body in OpenAI's format."""

from __future__ import annotations

import pytest

from llmcli.errors import ContextOverflow, InputError, InternalError, MissingError, OutOfMemory, TemporaryFailure
from llmcli.openai_api.http_errors import dump_error, dump_exception


@pytest.mark.parametrize(
    ("problem", "status", "kind", "param", "message"),
    [
        (ContextOverflow(tokens=9, context=8), 400, "invalid_request_error", "prompt", "the prompt has 9 tokens"),
        (InputError("schema", detail="no"), 400, "invalid_request_error", "response_format", "schema: no"),
        (InputError("other", detail="no"), 400, "invalid_request_error", None, "other: no"),
        (MissingError("tiny", kind="model"), 404, "invalid_request_error", "model", "there is no model 'tiny' here"),
        (TemporaryFailure("the worker", detail="ends"), 503, "server_error", None, "the worker: ends"),
        (OutOfMemory("tiny"), 507, "server_error", None, "tiny"),
        (InternalError("engine", detail="bug"), 500, "server_error", None, "engine: bug"),
        (ZeroDivisionError("secret"), 500, "server_error", None, "ZeroDivisionError"),
    ],
)
def test_an_exception_becomes_a_status_and_a_body(problem, status, kind, param, message):
    """The type follows the status; a wrong field is named; for a bug, only the class is named."""
    given, body = dump_exception(problem, "prompt")
    assert given == status
    assert (body["error"]["type"], body["error"]["param"]) == (kind, param)
    assert body["error"]["message"].startswith(message)


def test_an_error_has_all_fields_of_the_protocol():
    """Those without a value are null."""
    assert dump_error(400, "no") == {
        "error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
    }
