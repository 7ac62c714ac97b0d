"""Requests to the Hugging Face Hub: the files of a repository, a search, and the bytes of a file.

The address, the token and the proxy come from the ``environ`` argument. The token is sent to the Hub only: httpx2 drops
it when a redirect leaves the host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from llmcli import __version__
from llmcli.control_characters import is_visible_ascii
from llmcli.errors import AccessDenied, ConfigError, LlmError, MissingError, RemoteError, TemporaryFailure
from llmcli.errors.network_errors import HubUnreachable, ReadTimedOut, ServerStalled, UntrustedDownload
from llmcli.fast_dataclass import field, frozen
from llmcli.interrupt import Interrupt
from llmcli.models.files.paths import hub_home
from llmcli.models.hub.transfer_rate import TransferMeter
from llmcli.network.retry_policy import parse_retry_after
from llmcli.network.statuses import is_denied_status, is_missing_status, is_temporary_status
from llmcli.network.transfers import DownloadRetryPolicy, FirstItemTimeout, count_retries, iterate_in_thread

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import ModelInfo

    from llmcli.network.cancellation import CancelToken

_PUBLIC_ENDPOINT = "https://huggingface.co"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OK, _PARTIAL_CONTENT, _RANGE_REFUSED = 200, 206, 416
_UNEXPECTED_JSON = (ValueError, TypeError, KeyError, AttributeError)  # of the page of a captive portal
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
        self._environ = environ
        self._client: httpx2.Client | None = None
        self._token = _find_token(environ)
        if self._token and not is_visible_ascii(self._token):
            raise ConfigError("HF_TOKEN", origin="environment", detail="it contains invalid characters")

    def list_repository(self, repo: str, interrupt: Interrupt) -> RepositoryListing:
        """Return the files of ``repo`` at the newest commit of the main branch.

        Raises ``HubUnreachable``, ``TemporaryFailure``, ``AccessDenied``, ``MissingError``, ``RemoteError``.
        """
        return self._with_retries(lambda call: self._request_listing(repo, call), repo, interrupt)

    def search_repositories(self, words: str, limit: int, interrupt: Interrupt) -> tuple[RepositoryInfo, ...]:
        """Return at most ``limit`` repositories with GGUF files whose names match, the most downloaded first.

        Raises as ``list_repository``.
        """
        return self._with_retries(lambda call: self._request_search(words, limit, call), words, interrupt)

    def stream_file(
        self, repo: str, revision: str, file: str, start: int, interrupt: Interrupt, *, end: int | None = None
    ) -> Generator[ResponseHead | bytes, None, None]:
        """Yield the head of the response and then the bytes of a file from ``start`` on, as the server sends them.

        ``end``: the byte before which it may stop; a server without range support sends everything. Raises as
        ``list_repository``; a connection that breaks after the head is a ``TemporaryFailure``.
        """
        url = f"{self.endpoint}/{repo}/resolve/{quote(revision, safe='')}/{quote(file)}"
        byte_range = None if not start and end is None else f"bytes={start}-{'' if end is None else end - 1}"
        subject = f"{repo}/{file}"
        return self._iterate_guarded(
            lambda call: self._request_file(url, subject, byte_range, call), subject, interrupt
        )

    def _with_retries(self, request: Callable[[CancelToken], Iterator[T]], subject: str, interrupt: Interrupt) -> T:
        """Return the single item that ``request`` yields; temporary failures are retried."""
        retries = count_retries(self.retry_policy, interrupt)
        while True:
            try:
                return next(self._iterate_guarded(request, subject, interrupt, ServerStalled))
            except TemporaryFailure as error:
                retries.wait_or_raise(error)

    def _iterate_guarded(
        self,
        request: Callable[[CancelToken], Iterator[T]],
        subject: str,
        interrupt: Interrupt,
        stalled: type[TemporaryFailure] = ReadTimedOut,
    ) -> Generator[T, None, None]:
        """Yield the items of a request, which is sent in a thread, and raise our errors for its failures.

        ``stalled``: the error of a server that stops sending in the middle.
        """
        import httpx2

        from llmcli.network.cancellation import CancelToken
        from llmcli.network.failures import ConnectionFailure, FailureErrors

        call = CancelToken()
        items = request(call)
        try:
            yield from iterate_in_thread(items, interrupt, self.retry_policy.response_timeout_s, call.cancel)
        except FirstItemTimeout as error:
            raise HubUnreachable(subject, detail=f"no answer from {self.endpoint}") from error
        except ConnectionFailure as error:
            # before the response, each failure means that another source may have the file
            early = {} if error.has_answered else {"stalled": HubUnreachable, "broken": HubUnreachable}
            errors = FailureErrors(
                HubUnreachable, **{"stalled": stalled, **early}, untrusted=UntrustedDownload, not_http=HubUnreachable
            )
            raise error.make_error(subject, errors) from error
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise ConfigError("HF_ENDPOINT", origin="environment", detail=str(error)) from error
        except httpx2.HTTPError as error:
            raise RemoteError(subject, detail=f"{self.endpoint}: {error}") from error

    def _status_error(self, subject: str, answer: ResponseHead) -> LlmError:
        """Return the error for an HTTP status of failure."""
        status, code = answer.status, answer.headers.get("x-error-code", "")
        said = answer.headers.get("x-error-message", "") or f"HTTP status {status}"
        owner_and_name = "/".join(subject.split("/")[:2])
        if is_missing_status(status) or code == "RepoNotFound":
            # without a token the Hub answers 401 and RepoNotFound for repositories that do not exist
            of_file = code in ("EntryNotFound", "RevisionNotFound") or (not code and subject.count("/") > 1)
            kind = "file" if of_file else "repository"
            return MissingError(subject if kind == "file" else owner_and_name, kind=kind, detail=said)
        if is_denied_status(status):
            wrong_token = status == 401 and self._token and code != "GatedRepo"  # noqa: PLR2004 (Unauthorized)
            return AccessDenied(subject, url="" if wrong_token else f"{self.endpoint}/{owner_and_name}", detail=said)
        if is_temporary_status(status):
            return TemporaryFailure(subject, retry_after=parse_retry_after(answer.headers), detail=said)
        return RemoteError(subject, detail=said)

    def _request_listing(self, repo: str, call: CancelToken) -> Iterator[RepositoryListing]:
        from huggingface_hub import ModelInfo

        data = self._request_json(f"{self.endpoint}/api/models/{repo}", {"blobs": True}, repo, call)
        try:
            info = ModelInfo(**data)  # type: ignore[no-untyped-call]  # huggingface_hub declares no types of it
            commit, files = info.sha or "", tuple(_list_remote_files(info))
        except _UNEXPECTED_JSON as error:
            raise RemoteError(repo, detail=f"{self.endpoint} does not answer like the Hub") from error
        if not _COMMIT.fullmatch(commit):
            raise RemoteError(repo, detail=f"the response of {self.endpoint} has no commit")
        yield RepositoryListing(repo, commit, files)

    def _request_search(self, words: str, limit: int, call: CancelToken) -> Iterator[tuple[RepositoryInfo, ...]]:
        expand = ["downloads", "gated", "lastModified", "tags"]
        params: Any = {"filter": "gguf", "search": words, "sort": "downloads", "limit": limit, "expand": expand}
        data = self._request_json(f"{self.endpoint}/api/models", params, words, call)
        try:
            found = tuple(_parse_repository_info(item) for item in data[:limit])
        except _UNEXPECTED_JSON as error:
            raise RemoteError(words, detail=f"{self.endpoint} does not answer like the Hub") from error
        yield found

    def _request_json(self, url: str, params: dict[str, Any], subject: str, call: CancelToken) -> Any:
        """Return the JSON of a response with status 200."""
        from llmcli.network.connections import CALL_EXTENSION

        response = self._open_client().get(
            url, params=params, headers=self._request_headers(), extensions={CALL_EXTENSION: call}
        )
        if response.status_code != _OK:
            raise self._status_error(subject, ResponseHead(response.status_code, _header_fields(response)))
        try:
            return response.json()
        except ValueError as error:  # the page of a captive portal
            raise RemoteError(subject, detail=f"{self.endpoint} does not answer like the Hub") from error

    def _request_file(
        self, url: str, subject: str, byte_range: str | None, call: CancelToken
    ) -> Iterator[ResponseHead | bytes]:
        from llmcli.network.connections import CALL_EXTENSION

        headers = self._request_headers() | {"accept-encoding": "identity"}
        if byte_range:
            headers["range"] = byte_range
        extensions = {CALL_EXTENSION: call}
        with self._open_client().stream("GET", url, headers=headers, extensions=extensions) as response:
            answer = ResponseHead(response.status_code, _header_fields(response))
            if answer.status not in (_OK, _PARTIAL_CONTENT, _RANGE_REFUSED):
                raise self._status_error(subject, answer)
            yield answer
            if answer.status != _RANGE_REFUSED:
                yield from response.iter_raw()  # unbuffered

    def _request_headers(self) -> dict[str, str]:
        authorization = {"authorization": f"Bearer {self._token}"} if self._token else {}
        return {"user-agent": f"llmcli/{__version__}", **authorization}

    def _open_client(self) -> httpx2.Client:
        """Return the client, which keeps connections for later requests."""
        if self._client is None:
            from llmcli.network.connections import open_client

            policy = self.retry_policy
            self._client = open_client(
                self._environ, connect_timeout_s=policy.connect_timeout_s, read_timeout_s=policy.read_timeout_s
            )
        return self._client


def _header_fields(response: httpx2.Response) -> dict[str, str]:
    """Return the fields of a response's header with lower-case names, and the x-... fields of earlier redirects."""
    before = [item for part in response.history for item in part.headers.items()]
    own = [item for item in before if item[0].lower().startswith("x-")]  # not the length of another response
    return {name.lower(): value for name, value in [*own, *response.headers.items()]}


def _list_remote_files(info: ModelInfo) -> Iterator[RemoteFile]:
    """Yield the files of a repository that have an announced hash."""
    for item in info.siblings or []:
        if item.lfs is not None and _SHA256.fullmatch(item.lfs.sha256) and item.lfs.size > 0:
            yield RemoteFile(item.rfilename, item.lfs.size, item.lfs.sha256)


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


def _find_token(environ: Mapping[str, str]) -> str | None:
    """Return the token of HF_TOKEN or of the file that ``hf auth login`` writes."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environ.get(variable, "").strip():
            return environ[variable].strip()
    path = Path(environ.get("HF_TOKEN_PATH") or hub_home(environ) / "token").expanduser()
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip() or None
    return None
