"""The model of a server that is used, and the length of its context."""

from __future__ import annotations

import types

import pytest

from llmcli.backends.remote.answering_model import AnsweringModelCheck
from llmcli.backends.remote.protocols.openai_chat import OpenAIChat
from llmcli.backends.remote.protocols.wire_protocol import ServerModel
from llmcli.backends.remote.remote_backend import query_model
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import RequestRejected, TemporaryFailure, Unauthorized, UsageError


def query(paths, requested=None):
    """Return the model of a server that answers with ``paths``, or raise the error there."""

    def get_json(_call, path, *, root=False):
        answer = paths.get(path, Unauthorized("s", key=""))
        assert root == (path == "/props")
        if isinstance(answer, Exception):
            raise answer
        return answer

    server = ServerConfig("http://s/v1")
    check = AnsweringModelCheck(server, ApiKey())
    client = types.SimpleNamespace(server=server, get_json=get_json, model_check=check)
    return query_model(client, OpenAIChat(), RemoteCall(), requested)


def models(*entries):
    return {"/models": {"data": list(entries)}}


@pytest.mark.parametrize(
    ("paths", "requested", "found"),
    [
        (models({"id": "m"}), None, ServerModel("m")),
        (models({"id": "m", "max_model_len": 4096}), None, ServerModel("m", context=4096)),
        (models({"id": "m", "n_ctx": True, "context_length": 8}), None, ServerModel("m")),
        (models({"id": "a"}, {"id": "b", "n_ctx": 512}), "b", ServerModel("b", context=512)),
        (models({"id": "a"}), "other", ServerModel("other")),
        ({}, "m", ServerModel("m")),
        (
            models({"id": "m", "owned_by": "llamacpp"}) | {"/props": {"default_generation_settings": {"n_ctx": 640}}},
            None,
            ServerModel("m", "llamacpp", 640),
        ),
        (models({"id": "m", "owned_by": "llamacpp", "n_ctx": 99}), None, ServerModel("m", "llamacpp", 99)),
    ],
)
def test_the_model_and_its_context(paths, requested, found):
    """The named model, or the only one; servers have different names for the context, and some have none."""
    assert query(paths, requested) == found


@pytest.mark.parametrize(
    ("paths", "error"),
    [
        (models({"id": "a"}, {"id": "b"}), UsageError),
        (models(), RequestRejected),
        ({}, Unauthorized),
        ({"/models": TemporaryFailure("s")}, TemporaryFailure),
    ],
)
def test_without_a_name_the_server_must_have_one_model(paths, error):
    """Several or none are errors, and so is a list that cannot be fetched."""
    with pytest.raises(error):
        query(paths)


def test_a_temporary_failure_does_not_count_as_a_missing_list():
    """The name alone would lack the context."""
    with pytest.raises(TemporaryFailure):
        query({"/models": TemporaryFailure("s")}, "m")
