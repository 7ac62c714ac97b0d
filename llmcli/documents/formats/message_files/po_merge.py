"""Merging as msgmerge does: a translated PO file gets the messages of a newer source; comments and headers are kept.

Source: the gettext manual, "Invoking msgmerge". There is no fuzzy matching: a new message has no translation.
"""

from __future__ import annotations

from llmcli.documents.formats.message_files import po_parser
from llmcli.errors import BadDocument


def merge_catalogs(translated: str, source: str) -> str:
    """Return ``translated`` with the messages of ``source``: new ones at the end, removed ones marked obsolete.

    If both have the same messages, the result is ``translated``, byte for byte. Raises ``BadDocument`` for it.
    """
    import polib

    for _ in po_parser.parse_entries(translated):
        pass  # raises with the line
    try:
        ours, theirs = polib.pofile(translated), polib.pofile(source)
    except OSError as error:
        raise BadDocument(detail=str(error)) from error
    mine = {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in ours if not entry.obsolete}
    wanted = {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in theirs if not entry.obsolete}
    if mine == wanted:
        return translated
    ours.merge(theirs)
    text = str(ours)
    return (text if text.endswith("\n") else text + "\n").replace("\n", "\r\n" if "\r\n" in translated else "\n")
