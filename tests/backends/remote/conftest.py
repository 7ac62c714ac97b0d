"""A backend on the fake server."""

from __future__ import annotations

import pytest

from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.config.backend_config import ServerConfig
from llmcli.interrupt import Interrupt


@pytest.fixture
def backend(server):
    """Return a backend on the server."""
    made = RemoteBackend(ServerConfig(server.url), ApiKey(), Interrupt())
    yield made
    made.close()
