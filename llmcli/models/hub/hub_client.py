"""Requests to the Hugging Face Hub through its own client: the files of a repository, and the bytes of a file.

The client reads its settings from the environment when it is imported; here the address, the token and the cache come
from the ``environ`` argument. Its telemetry is off: otherwise building a header makes the client fetch
``/api/agent-harnesses`` first. The token is sent to the Hub only; the client drops it when a redirect leaves the host.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from llmcli import __version__
from llmcli.control_characters import is_visible_ascii
from llmcli.errors import AccessDenied, ConfigError, LlmError, MissingError, RemoteError, TemporaryFailure
from llmcli.errors.network_errors import HubUnreachable, ReadTimedOut
from llmcli.fast_dataclass import field, frozen
from llmcli.interrupt import Interrupt
from llmcli.models.files.paths import hub_home
from llmcli.models.hub.transfers import (
    DownloadRetryPolicy,
    FirstItemTimeout,
    RetryCounter,
    TransferMeter,
    describe_failure,
    iterate_in_thread,
    parse_retry_after,
)

_PUBLIC_ENDPOINT = "https://huggingface.co"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_QUOTED_BYTES = re.compile(r"bytearray\(b(.*?)\)")  # the client's message for a response that is not HTTP
_COMMIT = re.compile(r"[0-9a-f]{40}")
T = TypeVar("T")


@frozen
class RemoteFile:
    """A file on the Hub: its path in the repository, size in bytes and announced SHA-256."""

    file: str
    size: int
    sha256: str


@frozen
class RepositoryListing:
    """The files of a repository at commit ``revision`` that have an announced hash."""

    repo: str
    revision: str
    files: tuple[RemoteFile, ...]


@frozen
class RepositoryInfo:
    """A repository found by a search: downloads of the last month, licence, time of the last change (ISO 8601).

    ``gated``: you must accept its terms on the Hub before the download.
    """

    repo: str
    downloads: int | None
    licence: str | None
    updated_at: str | None
    gated: bool


@frozen
class ResponseHead:
    """The head of a response: status and lower-case headers (the Hub's x-... headers also from earlier redirects)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


class HubClient:
    """The Hub at HF_ENDPOINT (or the public one), with the token of HF_TOKEN or of the standard token file.

    ``meter`` measures the downloads of files. Raises ``ConfigError`` for an invalid token.
    """

    def __init__(self, environ: Mapping[str, str], retry_policy: DownloadRetryPolicy | None = None) -> None:
        self.endpoint = (environ.get("HF_ENDPOINT") or _PUBLIC_ENDPOINT).rstrip("/")
        self.retry_policy = retry_policy or DownloadRetryPolicy()
        self.meter = TransferMeter()
        self._token = _find_token(environ)
        if self._token and not is_visible_ascii(self._token):
            raise ConfigError("HF_TOKEN", origin="environment", detail="it contains invalid characters")

    def list_repository(self, repo: str, interrupt: Interrupt) -> RepositoryListing:
        """Return the files of ``repo`` at the newest commit of the main branch.

        Raises ``HubUnreachable``, ``TemporaryFailure``, ``AccessDenied``, ``MissingError``, ``RemoteError``.
        """
        return self._with_retries(lambda: self._request_listing(repo), repo, interrupt)

    def search_repositories(self, words: str, limit: int, interrupt: Interrupt) -> tuple[RepositoryInfo, ...]:
        """Return at most ``limit`` repositories with GGUF files whose names match, the most downloaded first.

        Raises as ``list_repository``.
        """
        return self._with_retries(lambda: self._request_search(words, limit), words, interrupt)

    def stream_file(
        self, repo: str, revision: str, file: str, start: int, interrupt: Interrupt, *, end: int | None = None
    ) -> Generator[ResponseHead | bytes, None, None]:
        """Yield the head of the response and then the bytes of a file from ``start`` on, as the server sends them.

        ``end``: the byte before which it may stop; a server without range support sends everything. Raises as
        ``list_repository``; a connection that breaks after the head is a ``TemporaryFailure``.
        """
        url = f"{self.endpoint}/{repo}/resolve/{quote(revision, safe='')}/{quote(file)}"
        byte_range = None if not start and end is None else f"bytes={start}-{'' if end is None else end - 1}"
        return self._iterate_guarded(self._request_file(url, f"{repo}/{file}", byte_range), f"{repo}/{file}", interrupt)

    def _with_retries(self, request: Callable[[], Iterator[T]], subject: str, interrupt: Interrupt) -> T:
        """Return the single item that ``request`` yields; temporary failures are retried."""
        retries = RetryCounter(self.retry_policy, interrupt)
        while True:
            try:
                return next(self._iterate_guarded(request(), subject, interrupt))
            except HubUnreachable:
                raise
            except TemporaryFailure as error:
                retries.wait_or_raise(error)

    def _iterate_guarded(self, items: Iterator[T], subject: str, interrupt: Interrupt) -> Generator[T, None, None]:
        """Run ``items`` in a thread and translate the errors of the client."""
        answered = False
        try:
            for item in iterate_in_thread(items, interrupt, self.retry_policy.response_timeout_s):
                answered = True
                yield item
        except LlmError:
            raise
        except FirstItemTimeout as error:
            raise HubUnreachable(subject, detail=f"no answer from {self.endpoint}") from error
        except Exception as error:
            translated = self._translate_error(error, subject, answered=answered)
            if translated is None:
                raise
            raise translated from error

    def _translate_error(self, error: Exception, subject: str, *, answered: bool) -> LlmError | None:
        """Return the ``LlmError`` for an error of the client, None for a bug."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError

        if isinstance(error, HfHubHTTPError) and error.response is not None:
            return self._status_error(subject, ResponseHead(error.response.status_code, dict(error.response.headers)))
        if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
            return ConfigError("HF_ENDPOINT", origin="environment", detail=str(error))
        if isinstance(error, httpx2.TransportError):
            late = isinstance(error, httpx2.ReadTimeout)
            kind = (ReadTimedOut if late else TemporaryFailure) if answered else HubUnreachable
            said = _QUOTED_BYTES.sub(r"\1", describe_failure(error))
            return kind(subject, detail=f"{self.endpoint}: {said}")
        return RemoteError(subject, detail=f"{self.endpoint}: {error}") if isinstance(error, httpx2.HTTPError) else None

    def _status_error(self, subject: str, answer: ResponseHead) -> LlmError:
        """Return the error for an HTTP status of failure."""
        status, code = answer.status, answer.headers.get("x-error-code", "")
        said = answer.headers.get("x-error-message", "") or f"HTTP status {status}"
        owner_and_name = "/".join(subject.split("/")[:2])
        if status == 404 or code == "RepoNotFound":  # noqa: PLR2004 (Not Found)
            # without a token the Hub answers 401 and RepoNotFound for repositories that do not exist
            of_file = code in ("EntryNotFound", "RevisionNotFound") or (not code and subject.count("/") > 1)
            kind = "file" if of_file else "repository"
            return MissingError(subject if kind == "file" else owner_and_name, kind=kind, detail=said)
        if status in (401, 403):
            wrong_token = status == 401 and self._token and code != "GatedRepo"  # noqa: PLR2004 (Unauthorized)
            return AccessDenied(subject, url="" if wrong_token else f"{self.endpoint}/{owner_and_name}", detail=said)
        if status in (408, 429) or status >= 500:  # noqa: PLR2004 (server errors)
            return TemporaryFailure(subject, retry_after=parse_retry_after(answer.headers), detail=said)
        return RemoteError(subject, detail=said)

    def _request_listing(self, repo: str) -> Iterator[RepositoryListing]:
        _prepare_client()
        from huggingface_hub import HfApi

        api = HfApi(self.endpoint, token=self._token or False, library_name="llmcli", library_version=__version__)
        try:
            info = api.model_info(repo, files_metadata=True, timeout=self._http_timeout())
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ) as error:  # the client raises this for the page of a captive portal
            raise RemoteError(repo, detail=f"{self.endpoint} does not answer like the Hub") from error
        if not _COMMIT.fullmatch(info.sha or ""):
            raise RemoteError(repo, detail=f"the response of {self.endpoint} has no commit")
        files = tuple(
            RemoteFile(item.rfilename, item.lfs.size, item.lfs.sha256)
            for item in info.siblings or []
            if item.lfs is not None and _SHA256.fullmatch(item.lfs.sha256) and item.lfs.size > 0
        )
        yield RepositoryListing(repo, str(info.sha), files)

    def _request_search(self, words: str, limit: int) -> Iterator[tuple[RepositoryInfo, ...]]:
        _prepare_client()
        from huggingface_hub import get_session

        # not with ``HfApi.list_models``, which retries for half a minute before it reports the response
        expand = ["downloads", "gated", "lastModified", "tags"]
        params: Any = {"filter": "gguf", "search": words, "sort": "downloads", "limit": limit, "expand": expand}
        url = f"{self.endpoint}/api/models"
        response = get_session().get(url, params=params, headers=self._request_headers(), timeout=self._http_timeout())
        answer = ResponseHead(response.status_code, {name.lower(): value for name, value in response.headers.items()})
        if answer.status != 200:  # noqa: PLR2004 (OK)
            raise self._status_error(words, answer)
        try:
            found = tuple(_parse_repository_info(item) for item in response.json()[:limit])
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # the page of a captive portal
            raise RemoteError(words, detail=f"{self.endpoint} does not answer like the Hub") from error
        yield found

    def _request_file(self, url: str, subject: str, byte_range: str | None) -> Iterator[ResponseHead | bytes]:
        _prepare_client()
        from huggingface_hub import get_session

        headers = self._request_headers() | {"accept-encoding": "identity"}
        if byte_range:
            headers["range"] = byte_range
        with get_session().stream("GET", url, headers=headers, timeout=self._http_timeout()) as response:
            before = [item for part in response.history for item in part.headers.items()]
            own = [
                (name, value) for name, value in before if name.lower().startswith("x-")
            ]  # not the length of another response
            seen = {name.lower(): value for name, value in [*own, *response.headers.items()]}
            answer = ResponseHead(response.status_code, seen)
            if answer.status not in (200, 206, 416):
                raise self._status_error(subject, answer)
            yield answer
            if answer.status != 416:  # noqa: PLR2004 (Range Not Satisfiable)
                yield from response.iter_raw()  # unbuffered

    def _request_headers(self) -> dict[str, str]:
        authorization = {"authorization": f"Bearer {self._token}"} if self._token else {}
        return {"user-agent": f"llmcli/{__version__}", **authorization}

    def _http_timeout(self) -> Any:
        import httpx2

        retry_policy = self.retry_policy
        return httpx2.Timeout(retry_policy.read_timeout_s, connect=retry_policy.connect_timeout_s)


def _parse_repository_info(item: Any) -> RepositoryInfo:
    """Return the Hub's data about a repository; unexpected responses raise various errors."""
    licences = (tag.partition(":")[2] for tag in item.get("tags") or () if tag.startswith("license:"))
    downloads, updated = item.get("downloads"), item.get("lastModified")
    return RepositoryInfo(
        repo=str(item["id"]),
        downloads=downloads if isinstance(downloads, int) else None,
        licence=next(licences, None),
        updated_at=updated if isinstance(updated, str) else None,
        gated=bool(item.get("gated")),
    )


def _prepare_client() -> None:
    """Import the client and silence it."""
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # otherwise it writes the server's warnings to stderr


def _find_token(environ: Mapping[str, str]) -> str | None:
    """Return the token of HF_TOKEN or of the file that ``hf auth login`` writes."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environ.get(variable, "").strip():
            return environ[variable].strip()
    path = Path(environ.get("HF_TOKEN_PATH") or hub_home(environ) / "token").expanduser()
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip() or None
    return None
