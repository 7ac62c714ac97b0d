"""The process and the user at the other end of a Unix socket."""

from __future__ import annotations

import socket
import struct

_LOCAL_PEERCRED, _LOCAL_PEERPID = 1, 2  # macOS, sys/un.h


def peer_credentials(connection: socket.socket) -> tuple[int, int]:
    """Return the process id and the user id of the other end of a Unix socket.

    SO_PEERCRED (unix(7)) on Linux; LOCAL_PEERPID, LOCAL_PEERCRED and its ``struct xucred`` on macOS.
    """
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, user, _ = struct.unpack("3i", credentials)
        return pid, user
    credentials = connection.getsockopt(0, _LOCAL_PEERCRED, struct.calcsize("2IH16I"))
    return connection.getsockopt(0, _LOCAL_PEERPID), int(struct.unpack_from("2I", credentials)[1])
