"""The credentials of a socket's peer."""

from __future__ import annotations

import os
import socket

from llmcli.worker.runtime_dir import peer_credentials


def test_the_other_end_is_a_process_of_this_user():
    """Here it is this process itself."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_credentials(ours) == (os.getpid(), os.getuid())
