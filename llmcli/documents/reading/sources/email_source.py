"""Email (RFC 5322, MIME): the main header fields, the text, and the attachments that can be read."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import cast

from llmcli.documents.reading.passages import Section, SourceDocument
from llmcli.documents.reading.sources.html_source import html_sections
from llmcli.errors import BadDocument, InputError

_SHOWN_FIELDS = ("From", "To", "Cc", "Date", "Subject")
MAX_ATTACHMENTS = 200
MAX_EMAIL_DEPTH = 3
"""Emails that are attached to emails."""


def read_email(
    data: bytes, name: str, read_attachment: Callable[[bytes, str], SourceDocument]
) -> Iterator[Section | str]:
    """Yield the fields, the text and the readable attachments of an email, and a note for each other attachment.

    ``read_attachment`` reads the bytes of an attachment by its file name. Raises ``BadDocument``, and ``MissingExtra``
    for an attachment.
    """
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        yield from _read_message(message, read_attachment, 0)
    except (RecursionError, LookupError, ValueError, AttributeError, TypeError) as error:
        raise BadDocument(name, detail=f"the email is damaged: {error}") from error


def _read_message(
    message: EmailMessage, read_attachment: Callable[[bytes, str], SourceDocument], depth: int
) -> Iterator[Section | str]:
    subject = " ".join(str(message.get("Subject", "")).split())
    headings = (subject,) if subject else ()
    fields = [(field, " ".join(str(message[field]).split())) for field in _SHOWN_FIELDS if message[field]]
    yield Section("\n".join(f"{field}: {value}" for field, value in fields), headings)
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
        if depth == MAX_EMAIL_DEPTH:
            yield f"the attachment {file} was left out: emails in emails, too deep"
            return
        for inner in _read_message(cast("EmailMessage", part.get_content()), read_attachment, depth + 1):
            yield inner if isinstance(inner, str) else Section(inner.text, (*headings, *inner.headings), part=file)
        return
    if part.is_multipart():
        yield f"the attachment {file} ({kind}) was left out"
        return
    try:
        document = read_attachment(part.get_payload(decode=True) or b"", file)  # type: ignore[arg-type]
    except InputError as error:
        yield f"the attachment {file} was left out: {error.detail or kind}"
        return
    for index, passage in enumerate(document.passages):
        text = passage.text if index else f"Attachment {file}:\n\n{passage.text}"
        yield Section(text, (*headings, *passage.headings), passage.page, file)
    yield from (f"{file}: {note}" for note in document.notes)


def _part_text(part: EmailMessage) -> str:
    """Return the text of a part; bytes that its character set does not allow are replaced."""
    payload = cast("bytes", part.get_payload(decode=True)) or b""
    charset = part.get_content_charset("utf-8")
    try:
        return payload.decode(charset, "replace").replace("\r\n", "\n")
    except LookupError:  # a character set without a codec
        return payload.decode("utf-8", "replace").replace("\r\n", "\n")
