"""Email (RFC 5322, MIME): the main header fields, the text, and the attachments that can be read."""

from __future__ import annotations

import email
import email.header
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any, cast

from llmcli.documents.reading.passages import Section, SourceDocument
from llmcli.documents.reading.sources.html_source import html_sections
from llmcli.errors import BadDocument, InputError

_SHOWN_FIELDS = ("From", "To", "Cc", "Date", "Subject")
MAX_ATTACHMENTS = 200
MAX_EMAIL_DEPTH = 3
"""Emails that are attached to emails."""
MAX_PARSED_FIELD_CHARS = 10_000
"""The longest header field that Python's parser gets: the time that it takes grows with the square of the length."""


def read_email(
    data: bytes, name: str, read_attachment: Callable[[bytes, str], SourceDocument]
) -> Iterator[Section | str]:
    """Yield the fields, the text and the readable attachments of an email, and a note for each other attachment.

    ``read_attachment`` reads the bytes of an attachment by its file name. Raises ``BadDocument``, and ``MissingExtra``
    for an attachment.
    """
    try:
        message = cast("EmailMessage", email.message_from_bytes(data, policy=_BoundedPolicy()))
        yield from _read_message(message, read_attachment, 0)
    except RecursionError as error:
        raise BadDocument(name, detail="the email is damaged: its parts are nested too deeply") from error
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise BadDocument(name, detail=f"the email is damaged: {error}") from error


class _BoundedPolicy(EmailPolicy):
    """Parses fields as Python's default policy does, and long ones without their structure."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        if len(value) <= MAX_PARSED_FIELD_CHARS:
            return super().header_fetch_parse(name, value)
        if name.lower().startswith("content-"):  # its parameters are no text of the email
            return super().header_fetch_parse(name, value[:MAX_PARSED_FIELD_CHARS])
        return "".join(_decode_word(*word) for word in email.header.decode_header(value))


def _decode_word(word: bytes | str, charset: str | None) -> str:
    """Return a part of a field as ``email.header.decode_header`` gives it (RFC 2047)."""
    if isinstance(word, str):
        return word
    try:
        return word.decode(charset or "ascii", "replace")
    except LookupError:  # a character set without a codec
        return word.decode("ascii", "replace")


def _read_message(
    message: EmailMessage, read_attachment: Callable[[bytes, str], SourceDocument], depth: int
) -> Iterator[Section | str]:
    subject = " ".join(str(message.get("Subject", "")).split())
    headings = (subject,) if subject else ()
    fields = [(field, " ".join(str(message[field]).split())) for field in _SHOWN_FIELDS if message[field]]
    yield Section("\n".join(f"{field}: {value}" for field, value in fields), headings)
    if message.get_content_type() == "message/rfc822":  # an email whose only content is another one
        yield from _read_inner_message(message, headings, read_attachment, depth, part="")
        return
    body = message.get_body(preferencelist=("plain", "html"))
    if body is not None:
        text = _part_text(cast("EmailMessage", body))
        if body.get_content_subtype() == "html":
            for section in html_sections(text, whole=True):
                yield Section(section.text, (*headings, *section.headings))
        else:
            yield Section(text, headings)
    for count, part in enumerate(message.iter_attachments()):
        if count == MAX_ATTACHMENTS:
            yield f"only the first {MAX_ATTACHMENTS} attachments were read"
            return
        yield from _read_part(part, headings, read_attachment, depth)


def _read_part(
    part: EmailMessage, headings: tuple[str, ...], read_attachment: Callable[[bytes, str], SourceDocument], depth: int
) -> Iterator[Section | str]:
    kind = part.get_content_type()
    file = " ".join((part.get_filename() or kind).split())
    if kind == "message/rfc822":
        yield from _read_inner_message(part, headings, read_attachment, depth, part=file)
        return
    if part.is_multipart():
        yield f"the attachment {file} ({kind}) was left out"
        return
    try:
        document = read_attachment(part.get_payload(decode=True) or b"", file)  # type: ignore[arg-type]  # bytes, since it is decoded
    except InputError as error:
        yield f"the attachment {file} was left out: {error.detail or kind}"
        return
    for index, passage in enumerate(document.passages):
        text = passage.text if index else f"Attachment {file}:\n\n{passage.text}"
        yield Section(text, (*headings, *passage.headings), passage.page, file)
    yield from (f"{file}: {note}" for note in document.notes)


def _read_inner_message(
    outer: EmailMessage,
    headings: tuple[str, ...],
    read_attachment: Callable[[bytes, str], SourceDocument],
    depth: int,
    *,
    part: str,
) -> Iterator[Section | str]:
    """Yield what is read of the email that a part of another one holds; ``part`` as in ``Section``."""
    if depth == MAX_EMAIL_DEPTH:
        yield f"the attachment {part or 'message/rfc822'} was left out: emails in emails, too deep"
        return
    for inner in _read_message(cast("EmailMessage", outer.get_content()), read_attachment, depth + 1):
        if isinstance(inner, str):
            yield inner
        else:
            yield Section(inner.text, (*headings, *inner.headings), inner.page, part or inner.part)


def _part_text(part: EmailMessage) -> str:
    """Return the text of a part; bytes that its character set does not allow are replaced."""
    payload = cast("bytes", part.get_payload(decode=True)) or b""
    charset = part.get_content_charset("utf-8")
    try:
        return payload.decode(charset, "replace").replace("\r\n", "\n")
    except LookupError:  # a character set without a codec
        return payload.decode("utf-8", "replace").replace("\r\n", "\n")
