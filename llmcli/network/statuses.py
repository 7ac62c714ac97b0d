"""The HTTP statuses of failure, the same for the Hub, packages, servers and pages (RFC 9110, section 15)."""

from __future__ import annotations

_MISSING = frozenset({404, 410})
_DENIED = frozenset({401, 402, 403, 407, 451})
_TEMPORARY = frozenset({408, 409, 425, 429})
_SERVER_ERRORS = 500
_PERMANENT_SERVER_ERRORS = frozenset({501, 505})
"""The server does not have the method, or the version of HTTP: it will not have them in a minute."""


def is_missing_status(status: int) -> bool:
    """Return whether there is nothing at the address."""
    return status in _MISSING


def is_denied_status(status: int) -> bool:
    """Return whether access is denied: without a login or payment, to this user, or to all for legal reasons."""
    return status in _DENIED


def is_temporary_status(status: int) -> bool:
    """Return whether the request may succeed later."""
    return status in _TEMPORARY or (status >= _SERVER_ERRORS and status not in _PERMANENT_SERVER_ERRORS)
