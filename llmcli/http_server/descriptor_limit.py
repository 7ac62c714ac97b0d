"""How many files and sockets a server may have open."""

from __future__ import annotations

import contextlib
import resource

_MAX_DESCRIPTORS = 8192


def raise_descriptor_limit() -> None:
    """Raise the limit on descriptors as far as the system allows without privileges."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_MAX_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # the lower limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
