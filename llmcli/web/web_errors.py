"""Why a page at a web address was not read."""

from __future__ import annotations

from llmcli.errors import AccessDenied, MissingError, TemporaryFailure, UntrustedServer


class PrivateAddress(AccessDenied):
    """The address ``subject`` leads to this machine or a private network; ``detail`` says to which address."""


class PageDenied(AccessDenied):
    """The server does not show the page ``subject`` to everybody; ``detail`` gives the status."""


class PageMissing(MissingError):
    """There is no page ``subject``."""

    def __init__(self, subject: str, *, detail: str) -> None:
        super().__init__(subject, kind="page", detail=detail)


class PageUnavailable(TemporaryFailure):
    """The page ``subject`` cannot be fetched now."""


class UntrustedPage(UntrustedServer):
    """The server of the page ``subject`` does not prove its identity, or redirects to where llm does not go."""
