"""``/v1/files`` and ``/v1/batches`` of ``llm serve --batches``.

Source: the OpenAI API reference, "Files" and "Batch".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llmcli.openai_api.batches import BATCH_URLS
from llmcli.openai_api.fields import FieldError, Fields, load_json, parse_body
from llmcli.openai_api.http_errors import error_response
from llmcli.serve.batch_queue import BatchQueue
from llmcli.serve.batch_store import MAX_STORED_BYTES, ApiObject, BatchStore, Upload
from llmcli.serve.middleware import send_denial
from llmcli.serve.multipart import FormPart, MultipartError, MultipartParser, find_boundary

FILES_PATH, BATCHES_PATH = "/v1/files", "/v1/batches"
MAX_FILE_BYTES = 200 << 20
"""Bytes of one file, as in the protocol."""
_STALL_S = 60.0
"""Seconds without a byte after which an upload is refused."""
_MAX_VALUE_BYTES = 512
_MAX_FILENAME_CHARS = 255
_MAX_METADATA, _MAX_KEY_CHARS, _MAX_VALUE_CHARS = 16, 64, 512
_DEFAULT_PAGE, _MAX_PAGE = 20, 10_000
_PURPOSE = "batch"


class BatchEndpoints:
    """The endpoints on a queue of batches."""

    def __init__(self, queue: BatchQueue) -> None:
        self._queue = queue
        self._store = queue.store

    def routes(self) -> list[Route]:
        """Return the routes of all paths."""
        return [
            Route(FILES_PATH, self.list_files, methods=["GET"]),
            Route(FILES_PATH, _UploadEndpoint(self._store), methods=["POST"]),
            Route(f"{FILES_PATH}/{{id}}", self.get_file, methods=["GET"]),
            Route(f"{FILES_PATH}/{{id}}", self.delete_file, methods=["DELETE"]),
            Route(f"{FILES_PATH}/{{id}}/content", self.get_content, methods=["GET"]),
            Route(BATCHES_PATH, self.list_batches, methods=["GET"]),
            Route(BATCHES_PATH, self.create_batch, methods=["POST"]),
            Route(f"{BATCHES_PATH}/{{id}}", self.get_batch, methods=["GET"]),
            Route(f"{BATCHES_PATH}/{{id}}/cancel", self.cancel_batch, methods=["POST"]),
        ]

    # ---- files ----------------------------------------------------------------------------------------------------

    async def list_files(self, request: Request) -> Response:
        """``GET /v1/files``."""
        purpose = request.query_params.get("purpose")
        return _page(request, [each for each in self._store.list_files() if purpose in {None, each["purpose"]}])

    async def get_file(self, request: Request) -> Response:
        """``GET /v1/files/ID``."""
        found = self._store.find_file(request.path_params["id"])
        return _missing("file", request) if found is None else JSONResponse(found)

    async def delete_file(self, request: Request) -> Response:
        """``DELETE /v1/files/ID``."""
        file_id = request.path_params["id"]
        if not self._store.delete_file(file_id):
            return _missing("file", request)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def get_content(self, request: Request) -> Response:
        """``GET /v1/files/ID/content``."""
        found = self._store.find_file(request.path_params["id"])
        if found is None:
            return _missing("file", request)
        return FileResponse(self._store.content_path(found["id"]), media_type="application/octet-stream")

    # ---- batches --------------------------------------------------------------------------------------------------

    async def list_batches(self, request: Request) -> Response:
        """``GET /v1/batches``."""
        return _page(request, self._store.list_batches())

    async def create_batch(self, request: Request) -> Response:
        """``POST /v1/batches``."""
        try:
            input_file, endpoint, metadata = parse_body(_parse_batch, load_json(await request.body()))
        except FieldError as problem:
            return error_response(400, problem.message, param=problem.param)
        if self._store.find_file(input_file) is None:
            return error_response(400, f"there is no file {input_file!r} here", param="input_file_id")
        return JSONResponse(self._queue.submit(input_file, endpoint, metadata))

    async def get_batch(self, request: Request) -> Response:
        """``GET /v1/batches/ID``."""
        found = self._store.find_batch(request.path_params["id"])
        return _missing("batch", request) if found is None else JSONResponse(found)

    async def cancel_batch(self, request: Request) -> Response:
        """``POST /v1/batches/ID/cancel``."""
        found = self._store.find_batch(request.path_params["id"])
        return _missing("batch", request) if found is None else JSONResponse(self._queue.cancel(found["id"]))


def _parse_batch(fields: Fields) -> tuple[str, str, Mapping[str, str] | None]:
    input_file, endpoint, window = (fields.string(name) for name in ("input_file_id", "endpoint", "completion_window"))
    if input_file is None:
        raise FieldError("input_file_id", "input_file_id is missing")
    if endpoint not in BATCH_URLS:
        raise FieldError("endpoint", f"endpoint must be one of {', '.join(BATCH_URLS)}")
    if window != "24h":
        raise FieldError("completion_window", "completion_window must be 24h")
    metadata = fields.mapping("metadata")
    if metadata is not None and not _is_metadata(metadata):
        words = f"metadata has at most {_MAX_METADATA} texts, of {_MAX_VALUE_CHARS} characters each"
        raise FieldError("metadata", words)
    return input_file, endpoint, metadata


def _is_metadata(metadata: Mapping[str, Any]) -> bool:
    return len(metadata) <= _MAX_METADATA and all(
        len(name) <= _MAX_KEY_CHARS and isinstance(value, str) and len(value) <= _MAX_VALUE_CHARS
        for name, value in metadata.items()
    )


def _missing(kind: str, request: Request) -> Response:
    return error_response(404, f"there is no {kind} {request.path_params['id']!r} here", param="id", code="not_found")


def _page(request: Request, objects: Sequence[ApiObject]) -> Response:
    """Return a page of a list that begins with the newest, as ``limit``, ``after`` and ``order`` ask for it."""
    limit, after = request.query_params.get("limit", str(_DEFAULT_PAGE)), request.query_params.get("after")
    if not (limit.isdecimal() and 1 <= int(limit[:9]) <= _MAX_PAGE):
        return error_response(400, f"limit must be from 1 to {_MAX_PAGE}", param="limit")
    ordered = [*reversed(objects)] if request.query_params.get("order") == "asc" else [*objects]
    if after is not None:
        ids = [each["id"] for each in ordered]
        if after not in ids:
            return error_response(400, f"there is no {after!r} here", param="after")
        ordered = ordered[ids.index(after) + 1 :]
    page = ordered[: int(limit)]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    more = len(ordered) > len(page)
    return JSONResponse({"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": more})


# ---- uploads ------------------------------------------------------------------------------------------------------


class _Refused(Exception):  # becomes a response
    def __init__(self, status: int, message: str, *, param: str | None = None) -> None:
        super().__init__()
        self.response = error_response(status, message, param=param)


class _UploadEndpoint:
    """``POST /v1/files``: the file goes to the disk while it arrives."""

    def __init__(self, store: BatchStore) -> None:
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope)
        try:
            with self._store.open_upload() as upload:
                form = _Form(upload)
                await self._read_form(form, headers, Request(scope, receive).stream())
                response: Response = JSONResponse(self._add_file(form, upload))
        except ClientDisconnect:
            return
        except _Refused as refused:
            await send_denial(refused.response, headers, receive, send)
            return
        except OSError as error:
            denial = error_response(507, f"the file cannot be stored: {error.strerror}")
            await send_denial(denial, headers, receive, send)
            return
        await response(scope, receive, send)

    async def _read_form(self, form: _Form, headers: Headers, pieces: AsyncIterator[bytes]) -> None:
        """Read the body to its end. Raises ``_Refused``."""
        room = MAX_STORED_BYTES - self._store.stored_bytes
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > 2 * MAX_FILE_BYTES:
            raise _Refused(413, f"the file is larger than {MAX_FILE_BYTES} bytes", param="file")
        try:
            parser = MultipartParser(find_boundary(headers.get("content-type", "")), form.begin, form.add)
            while True:
                async with asyncio.timeout(_STALL_S):
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                parser.feed(piece)
                if form.size > MAX_FILE_BYTES:
                    raise _Refused(413, f"the file is larger than {MAX_FILE_BYTES} bytes", param="file")
                if form.size > room:
                    raise _Refused(507, "there is no room for the file: delete others", param="file")
        except MultipartError as problem:
            raise _Refused(400, str(problem)) from problem
        except TimeoutError:
            raise _Refused(408, "the file did not arrive in time") from None
        if not parser.complete:
            raise _Refused(400, "the body ends in the middle of a part")

    def _add_file(self, form: _Form, upload: Upload) -> ApiObject:
        if form.filename is None:
            raise _Refused(400, "file is missing", param="file")
        purpose = form.values.pop("purpose", b"").decode("utf-8", "replace")
        if purpose != _PURPOSE:
            raise _Refused(400, f"purpose must be {_PURPOSE}", param="purpose")
        for name in form.values:
            raise _Refused(400, f"{name} is not supported: files are deleted after 24 hours", param=name)
        return self._store.add_file(upload, form.filename[:_MAX_FILENAME_CHARS], purpose)


class _Form:
    """The fields of an upload; the content of ``file`` goes into ``upload``."""

    def __init__(self, upload: Upload) -> None:
        self.filename: str | None = None
        self.values: dict[str, bytes] = {}
        self.size = 0
        """Bytes of the file so far."""
        self._upload = upload
        self._part = FormPart("", None)

    def begin(self, part: FormPart) -> None:
        if part.name == "file":
            if self.filename is not None:
                raise _Refused(400, "there are two files", param="file")
            self.filename = part.filename or "file"
        else:
            self.values[part.name] = b""
        self._part = part

    def add(self, data: bytes) -> None:
        if self._part.name == "file":
            self.size += len(data)
            self._upload.file.write(data)
            return
        self.values[self._part.name] += data
        if len(self.values[self._part.name]) > _MAX_VALUE_BYTES:
            raise _Refused(400, f"{self._part.name} is too long", param=self._part.name)
