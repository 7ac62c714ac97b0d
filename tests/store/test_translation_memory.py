"""The translation memory and its exchange format."""

from __future__ import annotations

import io
import sqlite3
import threading
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.errors import BadDocument, CannotCreate
from llmcli.store import tmx
from llmcli.store.translation_memory import TranslationMemory, TranslationUnit


@pytest.fixture
def memory(tmp_path):
    """Return an empty memory."""
    with TranslationMemory(tmp_path / "tm.sqlite") as opened:
        yield opened


def entry(source="hello", translation="salut", **more):
    return TranslationUnit("en", "fr", source, translation, **more)


def test_an_added_translation_is_found(memory):
    """Under its languages, its model and its variant only."""
    memory.add_units([entry(model="m", variant="v")])
    assert memory.find_translation("hello", ("en", "fr"), "m", "v") == "salut"
    for languages, model, variant in (
        (("en", "de"), "m", "v"),
        (("en", "fr"), "n", "v"),
        (("en", "fr"), "m", "w"),
        (("de", "fr"), "m", "v"),
    ):
        assert memory.find_translation("hello", languages, model, variant) is None
    assert memory.find_translation("Hello", ("en", "fr"), "m", "v") is None


def test_regions_of_the_source_language_match(memory):
    """Detection says "en" while an imported memory says "en-GB"; an unknown language matches any."""
    memory.add_units([TranslationUnit("en-GB", "fr", "hello", "salut"), TranslationUnit("", "fr", "bye", "adieu")])
    assert (
        memory.find_translation("hello", ("en", "fr"), "m", "v")
        == memory.find_translation("hello", ("", "fr"), "m", "v")
        == "salut"
    )
    assert memory.find_translation("bye", ("en", "fr"), "m", "v") == "adieu"


def test_regions_of_the_target_language(memory):
    """French of France matches a request for French, for human translations only; an exact match is preferred."""
    memory.add_units(
        [
            TranslationUnit("en", "fr-FR", "hello", "salut"),
            TranslationUnit("en", "fr-FR", "bye", "adieu", model="m", variant="v"),
        ]
    )
    assert memory.find_translation("hello", ("en", "fr"), "m", "v") == "salut"
    assert (
        memory.find_translation("bye", ("en", "fr"), "m", "v")
        is memory.find_translation("hello", ("en", "fr-CA"), "m", "v")
        is None
    )
    memory.add_units([entry(translation="bonjour")])
    assert memory.find_translation("hello", ("en", "fr"), "m", "v") == "bonjour"


def test_human_translations_come_first(memory):
    """Whatever was added last."""
    memory.add_units([entry(translation="mine"), entry(translation="the model's", model="m", variant="v")])
    assert memory.find_translation("hello", ("en", "fr"), "m", "v") == "mine"
    assert memory.count_by_languages() == [("en", "fr", 2, 1)]


def test_the_file_is_private(memory):
    """Translations may be confidential."""
    assert memory.path.stat().st_mode & 0o777 == 0o600


def test_writers_wait_for_each_other(memory):
    """Concurrent translations of two processes lose nothing."""

    def write(number):
        with TranslationMemory(memory.path) as own:
            for index in range(20):
                own.add_units([entry(f"{number} {index}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.count_by_languages() == [("en", "fr", 80, 80)]


def test_other_files_are_refused(tmp_path):
    """A text, another database, a directory; they do not change."""
    text = tmp_path / "text"
    text.write_text("no database " * 100)
    with pytest.raises(BadDocument):
        TranslationMemory(text)
    assert text.read_text() == "no database " * 100
    with pytest.raises(CannotCreate):
        TranslationMemory(tmp_path)
    newer = tmp_path / "newer"
    database = sqlite3.connect(newer)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(BadDocument):  # another program has set the version
        TranslationMemory(newer)


@pytest.mark.parametrize("version", [0, 1])
def test_the_database_of_another_program_is_unchanged(tmp_path, version):
    """Whatever its version is; so does a missing directory."""
    path = tmp_path / "other"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE theirs (name)")
    database.execute(f"PRAGMA user_version = {version}")
    database.close()
    before = path.read_bytes()
    with pytest.raises(BadDocument):
        TranslationMemory(path)
    assert path.read_bytes() == before
    with pytest.raises(CannotCreate):
        TranslationMemory(tmp_path / "none" / "tm")
    assert not (tmp_path / "none").exists()


def test_a_damaged_memory_is_refused(memory):
    """The error is one line instead of a traceback."""
    memory.add_units([entry(str(index) * 50) for index in range(500)])
    data = bytearray(memory.path.read_bytes())
    data[4096:12288] = b"\xff" * 8192
    memory.path.write_bytes(data)
    with pytest.raises(BadDocument), TranslationMemory(memory.path) as opened:
        list(opened.iter_units())


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20)), max_size=5))
def test_tmx_survives_a_round_trip(pairs):
    """Except for characters that XML cannot represent."""
    entries = [entry(source, translation, model="m") for source, translation in pairs]
    text = "".join(tmx.export_tmx(entries))
    read = list(tmx.read_tmx(io.BytesIO(text.encode()), "x.tmx"))
    clean = [(tmx._xml_text(s), tmx._xml_text(t)) for s, t in pairs]
    assert [(tmx._xml_text(e.source), tmx._xml_text(e.translation)) for e in read] == [
        pair for pair in clean if all((ET.fromstring(f"<x>{text}</x>").text or "").strip() for text in pair)
    ]
    ET.fromstring(text)


FOREIGN = """<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en-US" datatype="xml"/><body>
<tu><tuv xml:lang="de"><seg>Hallo <bpt i="1">&lt;b></bpt>Welt</seg></tuv><tuv xml:lang="EN-us"><seg>Hello world</seg></tuv>
<tuv xml:lang="fr"><seg> </seg></tuv></tu></body></tmx>"""


def test_tmx_of_other_tools():
    """The source language of the header, in any case; inline elements and blank segments are skipped."""
    assert list(tmx.read_tmx(io.BytesIO(FOREIGN.encode()), "x")) == [
        TranslationUnit("en-US", "de", "Hello world", "Hallo <b>Welt")
    ]


def test_tmx_without_a_language():
    """A unit whose language has no code is skipped and reported."""
    odd: list[str] = []
    text = FOREIGN.replace('"de"', '"qqq!"')
    assert list(tmx.read_tmx(io.BytesIO(text.encode()), "x", odd)) == []
    assert odd == ["qqq!"]


@pytest.mark.parametrize(
    "text", ["", "<tmx>", "no", "<html/>", '<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><tmx>&c;']
)
def test_broken_tmx(text):
    """Refused with the parser's message."""
    with pytest.raises(BadDocument):
        list(tmx.read_tmx(io.BytesIO(text.encode()), "x.tmx"))
