"""Bringing an index up to date."""

import os
from pathlib import Path

import pytest
from tasks.helpers import of

from llmcli.errors import BadDocument, MissingError
from llmcli.interrupt import Interrupt
from llmcli.store.passage_index import PassageIndex
from llmcli.tasks.retrieval.index_update import IndexChanges, IndexUpdater
from llmcli.tasks.retrieval.passage_embedder import rank_by_similarity
from llmcli.types import ItemFailed, Notice


@pytest.fixture
def docs(tmp_path):
    """Create a directory with two documents."""
    directory = tmp_path / "docs"
    directory.mkdir()
    (directory / "a.txt").write_text("alpha")
    (directory / "b.md").write_text("# Beta\n\nbeta text")
    return directory


@pytest.fixture
def update(tmp_path, docs):
    """Return a function that updates the index and returns the changes, the events and what a word finds."""

    def run(word="alpha"):
        with PassageIndex(tmp_path / "i.sqlite", str(docs)) as index:
            updater = IndexUpdater(index, str(docs), Interrupt())
            events = list(updater.update())
            found = index.passages(index.search_words(word, 9)).values()
            return updater.changes, events, [Path(each.path).name for each in found]

    return run


def test_only_changes_are_read(update, docs):
    """New, changed and removed files; a file with a new time and the same content stays as it is."""
    assert update()[::2] == (IndexChanges(added=2), ["a.txt"])
    os.utime(docs / "a.txt", ns=(1, 1))
    assert update()[0] == IndexChanges(unchanged=2)
    (docs / "a.txt").write_text("gamma")
    (docs / "b.md").unlink()
    (docs / "c.txt").write_text("alpha too")
    assert update()[::2] == (IndexChanges(added=1, changed=1, removed=1), ["c.txt"])


def test_a_change_of_the_same_size_and_second_is_seen(update, docs):
    """A file that was written just before it was read is read again."""
    update()
    status = (docs / "a.txt").stat()
    (docs / "a.txt").write_text("omega")
    os.utime(docs / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert update("omega")[2] == ["a.txt"]


def test_an_unreadable_file_is_reported_each_time(update, docs):
    """Its old passages are removed, and the other files are indexed."""
    update()
    (docs / "a.pdf").write_bytes(b"<!DOCTYPE html><p>log in")
    (docs / "a.txt").write_bytes(b"alpha \xff\xfe")
    for _ in range(2):
        changes, events, found = update()
        assert [Path(each.name).name for each in of(ItemFailed, events)] == ["a.pdf", "a.txt"]
        assert isinstance(of(ItemFailed, events)[0].error, BadDocument)
        assert (changes.failed, found) == (2, [])


def test_what_is_left_out_of_a_file_is_said(update, docs):
    """A large table is indexed as its overview."""
    (docs / "big.csv").write_text("a,b\n" + "1,2\n" * 20_000)
    assert "big.csv: a table with 20,000 rows" in of(Notice, update()[1])[0].text


def test_a_missing_directory_is_an_error(update, docs):
    """Nothing is removed from its index."""
    update()
    docs.rename(docs.with_name("moved"))
    with pytest.raises(MissingError):
        update()


def test_similar_vectors_come_first():
    """By the cosine, without what all vectors share."""
    import numpy as np

    def vector(*values):
        return np.array(values, "<f2").tobytes()

    assert rank_by_similarity(vector(9, 1), [vector(9, -1), vector(9, 0), vector(9, 1)]) == [2, 1, 0]
    assert rank_by_similarity(vector(1, 0), []) == []
    others = [vector(100 * (-1) ** n, n % 3 - 1, 1 - n % 3) for n in range(40)]
    assert rank_by_similarity(vector(100, 1, 2), [vector(100, -1, -2), vector(50, 1, 2), *others])[0] == 1
