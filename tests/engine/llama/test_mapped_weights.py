"""The pages of repacked tensors: released while a file is loaded, and never another's."""

import mmap
import os
from pathlib import Path

import pytest

from llmcli.engine.llama import memory_budget
from llmcli.engine.llama.memory_budget import RepackedPages
from llmcli.models.gguf.header import Header, TensorInfo

pytestmark = pytest.mark.skipif(not memory_budget.CAN_RELEASE, reason="Linux only")

PAGES = 40
OFFSET = 1000
"""The data section begins in the middle of a page."""


def tensor(name: str, first_page: int, pages: int, kind: str = "Q4_0") -> TensorInfo:
    page = mmap.PAGESIZE
    return TensorInfo(name, (32, 32), kind, first_page * page, pages * page)


TENSORS = (tensor("token_embd.weight", 0, 8), tensor("a", 8, 8), tensor("b", 16, 8), tensor("c", 24, 8, "F32"))


@pytest.fixture
def weights(tmp_path) -> Path:
    """A file of random pages."""
    path = tmp_path / "weights.gguf"
    path.write_bytes(os.urandom(PAGES * mmap.PAGESIZE))
    return path


def pages_of(path: Path, tensors: tuple[TensorInfo, ...] = TENSORS, types: frozenset[str] = frozenset({"Q4_0"})):
    return RepackedPages(
        path, Header(3, {"general.architecture": "llama"}, tensors, OFFSET, path.stat().st_size), types
    )


class Mapping:
    """The file, mapped as llama.cpp does it, with all pages read."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        self.path = path
        self.read()

    def read(self) -> bytes:
        return bytes(self.map)

    @property
    def resident_pages(self) -> int:
        """Pages of the mapping in this process's memory (proc_pid_smaps(5))."""
        lines = iter(Path("/proc/self/smaps").read_text(encoding="ascii", errors="replace").splitlines())
        assert any(line.endswith(str(self.path)) for line in lines)
        rss = next(line for line in lines if line.startswith("Rss:"))
        return int(rss.split()[1]) * 1024 // mmap.PAGESIZE


def test_the_pages_of_repacked_tensors_are_released(weights):
    """Only whole pages, not those of embeddings and of other types; what is read again is the same."""
    pages, mapping = pages_of(weights), Mapping(weights)
    content = mapping.read()
    assert mapping.resident_pages == PAGES
    pages.release(1.0)
    assert mapping.resident_pages == PAGES - 15  # "a" and "b" follow one another; half a page at each end stays
    assert mapping.read() == content == weights.read_bytes()


def test_pages_are_released_each_sixteenth_of_the_load_and_at_its_end(weights):
    """Those that were read in the meantime."""
    pages, mapping = pages_of(weights), Mapping(weights)
    released = []
    for fraction in (0.0, 0.6, 0.61, 0.68, 0.7, 1.0, 1.0):
        mapping.read()
        pages.release(fraction)
        released.append(mapping.resident_pages < PAGES)
    assert released == [False, True, False, True, False, True, True]


def test_pages_that_are_yet_to_be_read_stay(weights):
    """Of 32 pages 24 are read, of which 16 may be those of other tensors: only the first repacked tensor is released."""
    pages, mapping = pages_of(weights), Mapping(weights)
    pages.release(0.5)
    assert mapping.resident_pages == PAGES
    pages.release(0.75)
    assert mapping.resident_pages == PAGES - 7


@pytest.mark.parametrize("types", [frozenset(), frozenset({"Q8_0"})])
def test_nothing_is_released_where_nothing_is_repacked(weights, types):
    """The kernels of this processor read the tensors in the file."""
    pages, mapping = pages_of(weights, types=types), Mapping(weights)
    pages.release(1.0)
    assert mapping.resident_pages == PAGES


def test_only_the_mapping_of_this_load_is_touched(weights):
    """An earlier one is used by another model, and of two new ones it is not known which one stays."""
    earlier = Mapping(weights)
    pages = pages_of(weights)
    pages.release(1.0)
    assert earlier.resident_pages == PAGES
    mappings = [Mapping(weights), Mapping(weights)]
    pages.release(1.0)
    assert [mapping.resident_pages for mapping in mappings] == [PAGES, PAGES]


def test_a_link_to_the_file_is_followed(weights, tmp_path):
    """The cache of models holds links."""
    link = tmp_path / "link.gguf"
    link.symlink_to(weights)
    pages, mapping = pages_of(link), Mapping(weights)
    pages.release(1.0)
    assert mapping.resident_pages < PAGES


def test_ranges_of_a_trimmed_mapping_end_where_it_ends(weights):
    """llama.cpp unmaps both ends of the file when it has loaded it."""
    pages = pages_of(weights)
    with weights.open("rb") as file:
        mapping = mmap.mmap(
            file.fileno(), 8 * mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ, offset=12 * mmap.PAGESIZE
        )
    content = bytes(mapping)
    pages.release(1.0)
    assert bytes(mapping) == content == weights.read_bytes()[12 * mmap.PAGESIZE : 20 * mmap.PAGESIZE]
