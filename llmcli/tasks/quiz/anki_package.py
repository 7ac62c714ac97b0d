"""Anki packages (.apkg): a ZIP archive with the SQLite collection of one deck, written by genanki.

The same cards, deck name and date give the same bytes. Anki updates notes on a second import, and keeps what you have
learned: it knows a deck and a note type by their ids and a note by its GUID, and takes a note that is newer than its own.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from llmcli.errors import MissingExtra
from llmcli.tasks.quiz.card import Card
from llmcli.tasks.quiz.deck_exchange import card_sides

ANKI_EXTRA = "anki"
_NOTE_TYPE_ID = 1_764_633_600
_NOTE_TYPE = "llmcli"
_STYLE = ".card { font-family: sans-serif; font-size: 20px; text-align: center; }"
_FIRST_ID = 1 << 30
"""Smaller ids belong to Anki's own decks."""
_FIELD_SEPARATOR = "\x1f"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def anki_package(cards: Iterable[Card], name: str, modified: float) -> bytes:
    """Return the package of a deck called ``name``; ``modified``: when it changed, in seconds since 1970.

    Raises ``MissingExtra`` without genanki.
    """
    try:
        import genanki
    except ModuleNotFoundError as error:
        raise MissingExtra("genanki", detail=ANKI_EXTRA) from error
    template = {
        "name": "Card",
        "qfmt": "{{Front}}",
        "afmt": '{{FrontSide}}<hr id="answer">{{Back}}',
    }
    fields = [{"name": "Front"}, {"name": "Back"}]
    note_type = genanki.Model(_NOTE_TYPE_ID, _NOTE_TYPE, fields=fields, templates=[template], css=_STYLE)
    deck = genanki.Deck(_deck_id(name), _clean(name))
    for card in cards:
        sides = [_clean(side) for side in card_sides(card)]
        tags = [str(card.kind), str(card.level)]
        deck.add_note(genanki.Note(note_type, sides, tags=tags, guid=genanki.guid_for(_NOTE_TYPE, card.id)))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "collection.anki2"
        with closing(sqlite3.connect(path)) as connection:
            ids = itertools.count(int(modified * 1000))
            genanki.Package(deck).write_to_db(connection.cursor(), modified, ids)
            connection.commit()
        collection = path.read_bytes()
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in (("collection.anki2", collection), ("media", b"{}")):
            archive.writestr(zipfile.ZipInfo(member, _ZIP_DATE), content, zipfile.ZIP_DEFLATED)
    return output.getvalue()


def _deck_id(name: str) -> int:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return _FIRST_ID + int.from_bytes(digest[:4]) % _FIRST_ID


def _clean(text: str) -> str:
    """Return text that SQLite can store and that does not end a field."""
    return text.replace(_FIELD_SEPARATOR, " ").replace("\0", " ").encode("utf-8", "replace").decode()
