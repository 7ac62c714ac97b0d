"""Access and limits: the middleware alone, before an application that echoes its input."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from llmcli.serve import middleware
from llmcli.serve.middleware import AccessMiddleware, AccessPolicy

TOKEN = {"Authorization": "Bearer secret"}
HERE = "http://127.0.0.1"


async def app(scope, receive, send):
    body = (await receive()).get("body", b"")
    if body == b"bug":
        raise RuntimeError("a bug")
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@pytest.fixture(autouse=True)
def _short_linger(monkeypatch):
    """Do not wait long for the rest of a refused body: the test client has sent all of it by then."""
    monkeypatch.setattr(middleware, "_LINGER_S", 0.02)


def client(base=HERE, **rules):
    said = []
    guarded = AccessMiddleware(app, AccessPolicy("secret", **rules), said.append)
    made = TestClient(guarded, base_url=base)
    made.middleware, made.said = guarded, said
    return made


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8033", "LOCALHOST", "[::1]:8033", "[::1]"])
def test_loopback_names_are_accepted(host):
    """With a port and without."""
    assert client().get("/v1/models", headers={**TOKEN, "Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost:x", "", "10.0.0.1", "a:b:80"])
@pytest.mark.parametrize("path", ["/health", "/v1/models"])
def test_a_forged_host_is_refused(host, path):
    """A name that a page resolved to our address, with the token or without."""
    assert client().get(path, headers={**TOKEN, "Host": host}).status_code == 403


def test_on_all_addresses_any_address_is_accepted_but_no_name():
    """An address cannot be made to mean another machine."""
    served = client(allow_ip_hosts=True)
    assert served.get("/health", headers={"Host": "192.168.1.7:8033"}).status_code == 200
    assert served.get("/health", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", ""])
def test_an_origin_is_refused_unless_it_was_allowed(origin):
    """Even the server's own origin, since it serves no pages; the response has no CORS headers."""
    answer = client().get("/v1/models", headers={**TOKEN, "Origin": origin})
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers


def test_an_allowed_origin_may_send_requests():
    """The preflight request is answered without a token; the request itself needs it."""
    served, origin = client(origins=frozenset({"http://app.example"})), {"Origin": "http://app.example"}
    asked = served.options("/v1/models", headers={**origin, "Access-Control-Request-Method": "GET"})
    assert asked.status_code == 204 and asked.headers["access-control-allow-origin"] == "http://app.example"
    assert asked.headers["access-control-allow-headers"].split(", ") == [
        "authorization",
        "content-type",
        "x-api-key",
        "anthropic-version",
    ]
    assert served.get("/v1/models", headers=origin).status_code == 401
    answer = served.get("/v1/models", headers={**origin, **TOKEN})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "http://app.example"


@pytest.mark.parametrize("text", ["http://OK.example:80/", "HTTP://ok.EXAMPLE", "http://ok.example:080"])
def test_an_origin_may_be_written_in_several_ways(text):
    """The form that browsers send is one of them."""
    assert middleware.normalize_origin(text) == "http://ok.example"


@pytest.mark.parametrize(
    "text", ["*", "foo/bar", "ok.example", "http://", "http://a/b", "null", "http://a:99999", "http://a b"]
)
def test_an_invalid_origin_is_refused(text):
    """It would never match."""
    with pytest.raises(ValueError, match="is not an origin"):
        middleware.normalize_origin(text)


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", "Bearer secret2", "Basic secret", "secret", "Bearer s\u00e9"]
)
def test_without_the_token_requests_are_refused(given):
    """Except health; the response is OpenAI's error."""
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    answer = client().post("/v1/chat/completions", headers=headers, content=b"{}")
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert client().get("/health", headers=headers).status_code == 200


def test_the_token_may_come_as_an_api_key():
    """As Anthropic's clients send it, also beside another Authorization."""
    served = client()
    assert served.get("/v1/models", headers={"X-Api-Key": "secret"}).status_code == 200
    assert served.get("/v1/models", headers={"X-Api-Key": "secret", "Authorization": "Bearer x"}).status_code == 200
    for wrong in ("", "secret2", "Bearer secret", "s\u00e9"):
        assert served.get("/v1/models", headers={"X-Api-Key": wrong.encode("latin-1")}).status_code == 401


def test_refusals_are_in_the_protocol_of_the_path():
    """With the status and the type that Anthropic's clients know, and when to ask again."""
    served = client(max_requests=1, max_body_bytes=100)
    large = served.post("/v1/messages", headers=TOKEN, content=b"x" * 101)
    served.middleware.num_running = 1
    busy = served.post("/v1/messages", headers=TOKEN, content=b"{}")
    served.middleware.num_running = 0
    bug = served.post("/v1/messages", headers=TOKEN, content=b"bug")
    served.middleware.closing = True
    ending = served.post("/v1/messages", headers=TOKEN, content=b"{}")
    found = [(answer.status_code, answer.json()["error"]["type"]) for answer in (large, busy, bug, ending)]
    assert found == [
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ]
    assert busy.headers["retry-after"] == "1" and ending.headers["retry-after"] == "5"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_413(chunked):
    """Whether its length is announced or not; a body of exactly the limit passes."""
    served = client(max_body_bytes=100)
    content = (b"x" * 10 for _ in range(11)) if chunked else b"x" * 101
    assert served.post("/v1/x", headers=TOKEN, content=content).status_code == 413
    assert served.post("/v1/x", headers=TOKEN, content=b"x" * 100).text == "100"


def test_too_many_requests_are_429():
    """With the time after which to retry."""
    served = client(max_requests=1)
    served.middleware.num_running = 1
    answer = served.post("/v1/x", headers=TOKEN, content=b"{}")
    assert answer.status_code == 429 and answer.headers["retry-after"] == "1"
    assert served.get("/v1/models", headers=TOKEN).status_code == 200
    served.middleware.num_running = 0
    assert served.post("/v1/x", headers=TOKEN, content=b"{}").status_code == 200


def test_a_stopping_server_answers_503():
    """503 for everything, also for health."""
    served = client()
    served.middleware.closing = True
    assert served.get("/health").status_code == served.post("/v1/x", headers=TOKEN).status_code == 503


def test_a_bug_is_an_answer_and_a_line():
    """No traceback for the client, and the server keeps running."""
    served = client()
    answer = served.post("/v1/x", headers=TOKEN, content=b"bug")
    assert answer.status_code == 500 and answer.json()["error"]["message"] == "internal error"
    assert served.said == ["internal error: RuntimeError: a bug"] and served.middleware.num_running == 0


def test_uploads_are_read_by_the_application():
    """Their bodies are not held in memory, and may be larger; the number of requests at once is limited as for others."""
    served = client(max_body_bytes=10, upload_path="/v1/files")
    assert served.post("/v1/files", content=b"x" * 100, headers=TOKEN).status_code == 200
    assert served.post("/v1/other", content=b"x" * 100, headers=TOKEN).status_code == 413
    assert served.post("/v1/files", content=b"x" * 100).status_code == 401
    busy = client(max_requests=0, upload_path="/v1/files")
    assert busy.post("/v1/files", content=b"x", headers=TOKEN).status_code == 429
