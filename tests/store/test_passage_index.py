"""The index of passages: search, changes, and several processes."""

import stat
import subprocess
import sys
from dataclasses import replace

import pytest
from terminal import ROOT

from llmcli.errors import BadDocument
from llmcli.store.passage_index import FileState, IndexedPassage, IndexFiles, PassageIndex

STATE = FileState("a.txt", 10, 1, "digest", 2, 30)


def passage(text, path="a.txt", **fields):
    return IndexedPassage(path, text, path, None, 1, 1, 0, **fields)


@pytest.fixture
def index(tmp_path):
    """Return an empty index."""
    with PassageIndex(tmp_path / "i.sqlite", "/docs") as opened:
        yield opened


def texts(index, question, limit=10):
    return [index.passages([each])[each].text for each in index.search_words(question, limit)]


def test_the_best_passage_comes_first(index):
    """By BM25: a rare word counts more than a frequent one."""
    index.replace([(STATE, [passage("the cat and the dog"), passage("the zebra"), passage("the end")])])
    assert texts(index, "the zebra?")[0] == "the zebra"
    assert texts(index, "unicorn") == []


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("The tenants paid.", "TENANT"),
        ("Übergröße", "ubergroße"),
        ("東京都に住んでいます", "京都"),
        ("a NEAR b", 'NEAR("a" b) OR -x* ^'),
        ("snake_case name", "snake_case"),
    ],
)
def test_words_are_found_in_other_forms(index, text, question):
    """Stems, accents, scripts without blanks; and operators of FTS5 are words."""
    index.replace([(STATE, [passage(text), passage("nothing")])])
    assert texts(index, question) == [text]


def test_a_question_without_words_finds_nothing(index):
    """It is no error."""
    index.replace([(STATE, [passage("text")])])
    assert index.search_words("?! --", 5) == []


def test_headings_are_searched(index):
    """A passage is found by the heading above it."""
    index.replace([(STATE, [passage("It ends after a month.", headings=("Lease", "Notice period"))])])
    assert texts(index, "notice") == ["It ends after a month."]
    assert index.passages([1])[1].headings == ("Lease", "Notice period")


def test_a_changed_file_loses_its_old_passages(index):
    """Words, passages and vectors of the old content are gone."""
    index.replace([(STATE, [passage("old words")])])
    index.add_vectors("m", {1: b"ab"})
    index.replace([(replace(STATE, digest="new"), [passage("new words")])])
    assert texts(index, "old") == [] and texts(index, "new") == ["new words"]
    assert index.vectors("m") == ([], []) and index.missing_vectors("m") == index.missing_vectors("another model")
    index.remove(["a.txt"])
    assert texts(index, "new") == [] and index.files() == {}


def test_only_the_state_of_a_touched_file_changes(index):
    """Its passages stay."""
    index.replace([(STATE, [passage("words")])])
    touched = replace(STATE, modified_ns=99, notes=("a note",))
    index.replace([(touched, None)])
    assert index.files() == {"a.txt": touched} and texts(index, "words") == ["words"]


def test_a_vector_of_a_removed_passage_is_ignored(index):
    """Another process may have removed it."""
    index.add_vectors("m", {5: b"ab"})
    assert index.vectors("m") == ([], [])


def test_a_file_that_changed_while_it_was_read_is_not_the_same():
    """Its time may be that of the first change."""
    assert FileState("a", 1, 10**18, "", 10**18 + 2 * 10**9).is_same(1, 10**18)
    assert not FileState("a", 1, 10**18, "", 10**18 + 1).is_same(1, 10**18)


def test_the_file_is_private(index):
    """Only its owner may read it."""
    assert stat.S_IMODE(index.path.stat().st_mode) == 0o600


def test_each_directory_has_one_index(tmp_path):
    """By whatever path it is named."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "docs")
    files = IndexFiles(tmp_path / "cache" / "indexes")
    assert list(files.summaries()) == [] and not files.exists(str(tmp_path / "docs"))
    files.open(str(tmp_path / "docs")).close()
    assert files.exists(str(tmp_path / "link" / ".." / "docs"))
    assert [each.directory for each in files.summaries()] == [str(tmp_path / "docs")]
    assert files.remove(str(tmp_path / "link")) and not files.remove(str(tmp_path / "docs"))


def test_a_damaged_index_is_reported(tmp_path):
    """And left out of the list."""
    files = IndexFiles(tmp_path)
    files.path_of("/x").write_bytes(b"no database " * 100)
    with pytest.raises(BadDocument):
        files.open("/x")
    assert list(files.summaries()) == []


WRITER = """
import sys
from pathlib import Path
from llmcli.store.passage_index import FileState, IndexedPassage, PassageIndex

with PassageIndex(Path(sys.argv[1]), "/docs") as index:
    for number in range(40):
        path = f"{sys.argv[2]}{number % 10}"
        index.replace([(FileState(path, 1, 1, "", 1), [IndexedPassage(path, f"word {path}", path, None, 1, 1, 0)])])
"""


def test_two_processes_write_at_once(tmp_path):
    """No passage is lost or doubled."""
    file = tmp_path / "i.sqlite"
    command = [sys.executable, "-c", WRITER, str(file)]
    writers = [subprocess.Popen([*command, name], cwd=ROOT) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    with PassageIndex(file, read_only=True) as index:
        assert (
            len(index.search_words("word", 100))
            == len(index.missing_vectors("another model"))
            == len(index.files())
            == 20
        )
