"""The store of evaluated prefixes returns what was saved, and a failing store breaks nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from engine.tools import for_all
from hypothesis import strategies as st

from llmcli.engine.kv.disk_prefix_store import PrefixStore, StoredPrefix, delete_sessions
from llmcli.errors import OutputError

TOKENS = list(range(1000, 1020))
STATE = bytes(range(140))
ROOMY = 1 << 20


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "prefixes"


@pytest.fixture
def store(directory):
    return PrefixStore(directory, ROOMY, "a model")


@pytest.fixture
def umask():
    """Set a umask for the test."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def taken(directory):
    return sum(path.stat().st_size for path in directory.iterdir())


def saved(store, tokens=TOKENS, state=STATE):
    """Save a state and return its entry."""
    assert store.save(tokens, state)
    entry = store.find_longest(tokens)
    assert entry is not None and entry.tokens == tuple(tokens)
    return entry


def use(entry, at):
    """Set the time of the last use, in seconds after a fixed day long ago."""
    os.utime(entry.path, (1e9 + at, 1e9 + at))


def failing(number):
    def call(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return call


# ---- what is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [b"", b"\0", STATE, bytes(300_000)], ids=len)
def test_a_state_comes_back_as_it_was_saved(store, state):
    """Loading gives the bytes that were saved, also in another store of the same identity."""
    entry = saved(store, state=state)
    assert store.load(entry) == state


def test_a_later_process_finds_what_was_saved(directory, store):
    """Nothing is kept in memory: a new store of the same directory and identity finds everything."""
    saved(store)
    later = PrefixStore(directory, ROOMY, "a model")
    assert later.load(later.find_longest([*TOKENS, 7])) == STATE


def test_the_longest_prefix_is_found(store):
    """The longest of several prefixes of a prompt is found, but never one that is longer than the prompt."""
    for count in (3, 12, 7, 20):
        assert store.save(TOKENS[:count], bytes([count]))
    assert [len(store.find_longest(TOKENS[:count]).tokens) for count in (3, 6, 7, 11, 12, 19, 20)] == [
        3,
        3,
        7,
        7,
        12,
        12,
        20,
    ]
    assert store.load(store.find_longest([*TOKENS[:15], 1])) == b"\x0c"
    assert store.find_longest(TOKENS[:2]) is None
    assert store.find_longest([1, *TOKENS]) is None


def test_saving_again_replaces(directory, store):
    """The last state saved for the same tokens is kept."""
    saved(store)
    assert store.load(saved(store, state=b"another")) == b"another"
    assert len(names(directory)) == 1


def test_no_tokens_have_no_state(directory, store):
    """A state without tokens would match every prompt and save nothing, so it is neither stored nor found."""
    assert not store.save([], STATE)
    saved(store)
    assert store.find_longest([]) is None


def test_another_identity_is_never_found(directory, store):
    """A store does not find the states of another identity."""
    saved(store)
    other = PrefixStore(directory, ROOMY, "another model")
    assert other.find_longest(TOKENS) is None
    assert store.find_longest(TOKENS) is not None


def test_a_file_under_a_wrong_name_is_not_trusted(directory, store):
    """A file that was renamed to match other tokens or another identity is removed, not used."""
    other = PrefixStore(directory, ROOMY, "another model")
    theirs, longer = saved(other), saved(store, [*TOKENS, 5])
    mine = saved(store)
    for impostor in (theirs.path, longer.path):
        impostor.replace(mine.path)
        assert store.find_longest(TOKENS) is None
        assert not mine.path.exists()
        saved(store)
    saved(other)
    theirs.path.replace(mine.path)
    assert store.load(mine) is None
    assert names(directory) == []


tokens = st.lists(st.integers(0, 2), min_size=1, max_size=6)


@for_all(st.lists(st.tuples(st.booleans(), tokens), max_size=8), st.lists(tokens, min_size=1, max_size=6), examples=50)
def test_the_longest_common_prefix_is_found(saves, prompts):
    """Whatever was saved for two identities, the result equals a comparison of all token lists one by one."""
    with tempfile.TemporaryDirectory() as place:
        stores = [PrefixStore(Path(place) / "prefixes", ROOMY, name) for name in ("one", "two")]
        model = {}
        for number, (which, prefix) in enumerate(saves):
            assert stores[which].save(prefix, bytes([number]))
            model[which, tuple(prefix)] = bytes([number])
        for which in (False, True):
            for prompt in prompts:
                fitting = [key for key in model if key[0] == which and tuple(prompt[: len(key[1])]) == key[1]]
                entry = stores[which].find_longest(prompt)
                if not fitting:
                    assert entry is None
                    continue
                longest = max(fitting, key=lambda key: len(key[1]))
                assert entry.tokens == longest[1]
                assert stores[which].load(entry) == model[longest]


@for_all(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=40), examples=20)
def test_any_tokens_can_be_stored(numbers):
    """Every 32-bit number is a token, including negative ones."""
    with tempfile.TemporaryDirectory() as place:
        store = PrefixStore(Path(place), ROOMY, "a model")
        assert store.load(saved(store, numbers)) == STATE


# ---- damage ----------------------------------------------------------------------------------------------------------


def test_every_flipped_byte_is_noticed(store):
    """With one changed bit anywhere in a file, nothing is loaded and the file is removed."""
    entry = saved(store)
    good = entry.path.read_bytes()
    assert len(good) == 300
    for offset in range(len(good)):
        bad = bytearray(good)
        bad[offset] ^= 1 << offset % 8
        entry.path.write_bytes(bad)
        assert store.load(entry) is None, offset
        assert not entry.path.exists(), offset


def test_a_damaged_head_is_not_found(store):
    """With one changed bit in format, identity or tokens, a shorter prefix is found and the file is removed."""
    shorter, entry = saved(store, TOKENS[:4]), saved(store)
    good = entry.path.read_bytes()
    for offset in range(len(good) - len(STATE) - 32):
        bad = bytearray(good)
        bad[offset] ^= 0x80 >> offset % 8
        entry.path.write_bytes(bad)
        assert store.find_longest(TOKENS) == shorter, offset
        assert not entry.path.exists(), offset


@pytest.mark.parametrize("tail", [b"", b"\0"], ids=["cut", "cut and padded"])
def test_every_truncation_is_noticed(store, tail):
    """With a file truncated at any length, also if padded again, nothing is loaded and the file is removed."""
    entry = saved(store)
    good = entry.path.read_bytes()
    for length in range(len(good)):
        bad = good[:length] + tail * (len(good) - length)
        if bad == good:  # the last byte of the checksum may be the padding itself
            continue
        entry.path.write_bytes(bad)
        assert store.load(entry) is None, length
        assert not entry.path.exists(), length


def test_appended_bytes_are_noticed(store):
    """A file with extra bytes is not used."""
    entry = saved(store)
    entry.path.write_bytes(entry.path.read_bytes() + b"\0")
    assert store.load(entry) is None
    assert not entry.path.exists()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EIO, errno.EACCES])
def test_a_temporarily_unreadable_file_stays(store, monkeypatch, number):
    """It is not found and not loaded, but stays usable: only damaged files are removed."""
    entry = saved(store)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing(number))
        assert store.find_longest(TOKENS) is None
        assert store.load(entry) is None
    assert store.load(store.find_longest(TOKENS)) == STATE


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC])
def test_a_conversations_state_stays_until_the_next_one_is_saved(directory, store, monkeypatch, number):
    """A failed save removes nothing."""
    assert store.save(TOKENS, STATE, MINE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing(number))
        assert not store.save([*TOKENS, 7], b"longer", MINE)
    assert store.load(store.find_session(MINE)) == STATE
    assert store.save([*TOKENS, 7], b"longer", MINE)
    assert store.load(store.find_session(MINE)) == b"longer"
    assert len(names(directory)) == 1


def test_a_vanished_file_is_no_error(store):
    """A file that another process evicts between finding and loading gives None."""
    entry = saved(store)
    entry.path.unlink()
    assert store.load(entry) is None
    assert store.find_longest(TOKENS) is None


def test_foreign_names_are_left_alone(directory, store):
    """Files with other names are neither read nor removed."""
    saved(store)
    count = len(TOKENS)
    others = ["README", "x.state", f"{'0' * 16}-{count}-{'0' * 31}.state", f"{'0' * 16}-0{count}-{'0' * 32}.state"]
    for name in others:
        (directory / name).write_bytes(b"not ours")
        os.utime(directory / name, (1, 1))
    assert store.load(store.find_longest(TOKENS)) == STATE
    assert PrefixStore(directory, 340, "a model").save([1] * 20, STATE)
    assert store.find_longest(TOKENS) is None
    assert {*others} <= {*names(directory)}


# ---- the limit -------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first(directory):
    """Saving evicts in the order of last use, whatever the identity; loading counts as use."""
    store, other = (PrefixStore(directory, 1200, name) for name in ("a model", "another model"))
    entries = [saved(store, [1] * 20), saved(other, [2] * 20), saved(store, [3] * 20), saved(store, [4] * 20)]
    for at, entry in enumerate(entries):
        use(entry, at)
    assert store.load(entries[0]) == STATE
    kept = []
    for number in (5, 6, 7):
        assert store.save([number] * 20, STATE)
        kept.append([entry.path.exists() for entry in entries])
    assert kept == [[True, False, True, True], [True, False, False, True], [True, False, False, False]]


def test_replacing_a_state_evicts_no_other(directory):
    """A state that is saved again replaces the old one, even if that was used last."""
    store = PrefixStore(directory, 600, "a model")
    first, second = saved(store, [1] * 20), saved(store, [2] * 20)
    use(first, 1)
    use(second, 2)
    assert store.save([2] * 20, STATE)
    assert first.path.exists() and second.path.exists()


@pytest.mark.parametrize("identities", [("a model",), ("a model", "another model", "a third")], ids=len)
def test_the_limit_holds_over_many_saves(directory, identities):
    """However many states of different sizes and identities are saved, all files together stay within the limit."""
    stores = [PrefixStore(directory, 2000, name) for name in identities]
    for number in range(50):
        store = stores[number % len(stores)]
        assert store.save([number] * (1 + number % 7), bytes(number * 37 % 1500))
        assert store.find_longest([number] * 7) is not None
        assert taken(directory) <= 2000


def test_a_state_may_take_all_of_the_limit(directory):
    """The limit counts whole files: a file of exactly that size is stored, one byte more is not."""
    store = PrefixStore(directory, 300, "a model")
    assert store.save(TOKENS, STATE)
    assert taken(directory) == 300
    assert not PrefixStore(directory, 299, "a model").save(TOKENS, STATE)


def test_a_state_above_the_limit_evicts_nothing(directory):
    """A state that can never fit is refused before anything is removed for it."""
    store = PrefixStore(directory, 400, "a model")
    entry = saved(store)
    assert not store.save([1, 2], bytes(400))
    assert store.load(entry) == STATE
    assert len(names(directory)) == 1


def test_no_room_at_all_creates_nothing(directory):
    """A limit of zero turns the store off."""
    assert not PrefixStore(directory, 0, "a model").save(TOKENS, STATE)
    assert not directory.exists()


def test_files_being_written_count(directory):
    """Space that another process is writing to is not reused, and its file stays."""
    store = PrefixStore(directory, 1000, "a model")
    entry = saved(store)
    (directory / "another.tmp").write_bytes(bytes(800))
    assert not store.save([1] * 20, STATE)
    assert entry.path.exists()
    assert (directory / "another.tmp").exists()


def test_leftovers_of_killed_processes_are_removed_after_an_hour(directory, store):
    """Saving removes temporary files that were not written to for an hour; younger ones stay."""
    saved(store)
    for name, age in (("killed.tmp", 3700), ("writing.tmp", 3500)):
        (directory / name).write_bytes(b"half")
        os.utime(directory / name, (time.time() - age,) * 2)
    saved(store, [1, 2])
    assert [name for name in names(directory) if name.endswith(".tmp")] == ["writing.tmp"]


# ---- directories and disks -------------------------------------------------------------------------------------------


def test_only_the_user_can_read(tmp_path, umask):
    """Directory and files are accessible to the user only, whatever the umask."""
    umask(0)
    store = PrefixStore(tmp_path / "prefixes", ROOMY, "a model")
    entry = saved(store)
    assert entry.path.stat().st_mode & 0o777 == 0o600
    assert entry.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o720, 0o777, 0o1777], ids=oct)
def test_a_directory_open_to_others_is_not_used(directory, store, mode):
    """Others could read prompts or plant states, so nothing is found, saved or changed."""
    saved(store)
    directory.chmod(mode)
    assert store.find_longest(TOKENS) is None
    assert not store.save([1, 2], STATE)
    assert len(names(directory)) == 1
    directory.chmod(0o700)
    assert store.find_longest(TOKENS) is not None


def test_a_directory_of_another_user_is_not_used(directory, store, monkeypatch):
    """The owner of the directory could plant states."""
    saved(store)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert store.find_longest(TOKENS) is None
    assert not store.save([1, 2], STATE)
    assert len(names(directory)) == 1


def test_looking_creates_nothing(directory, store):
    """Finding in a missing directory returns None and does not create it."""
    assert store.find_longest(TOKENS) is None
    assert store.load(StoredPrefix((1, 2), directory / "x")) is None
    assert not directory.exists()


def test_a_file_in_place_of_the_directory(tmp_path):
    """If the directory cannot exist, nothing is stored and nothing fails."""
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/below"):
        store = PrefixStore(tmp_path / place, ROOMY, "a model")
        assert store.find_longest(TOKENS) is None
        assert not store.save(TOKENS, STATE)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_directory_can_be_read(directory, store, monkeypatch):
    """On a read-only file system states are found and loaded, none is saved, and no exception escapes."""
    entry = saved(store)
    for name in ("open", "unlink", "utime", "mkdir"):
        monkeypatch.setattr(os, name, failing(errno.EROFS))
    assert not store.save([1, 2], STATE)
    assert store.load(store.find_longest(TOKENS)) == STATE
    entry.path.write_bytes(b"damaged")
    assert store.load(entry) is None
    assert names(directory) == [entry.path.name]


@pytest.mark.parametrize(
    ("function", "number"),
    [("write", errno.ENOSPC), ("ftruncate", errno.EFBIG), ("scandir", errno.EIO), ("replace", errno.EDQUOT)],
)
def test_a_full_disk_leaves_nothing(directory, store, monkeypatch, function, number):
    """A save that fails at any step reports it, and leaves the existing files unchanged."""
    entry = saved(store)
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing(number))
        assert not store.save(TOKENS, b"new")
        assert not store.save([1, 2], STATE)
    assert names(directory) == [entry.path.name]
    assert store.load(entry) == STATE


def test_a_disk_that_fills_up_midway_leaves_nothing(directory, store, monkeypatch):
    """Short writes are continued; when nothing more can be written, the partial file is removed."""
    written, write = [], os.write

    def short(fd, data):
        if sum(written) + 7 > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(write(fd, data[:7]))
        return written[-1]

    monkeypatch.setattr(os, "write", short)
    room = 200
    assert not store.save(TOKENS, STATE)
    assert 0 < sum(written) <= room
    assert names(directory) == []
    room = ROOMY
    assert store.load(saved(store)) == STATE


def test_an_interrupted_save_leaves_nothing(directory, store, monkeypatch):
    """Ctrl-C during a write is raised; the partial file is removed and the descriptor closed."""

    def interrupted(fd, data):
        raise KeyboardInterrupt

    opened = os.open
    fds = []
    monkeypatch.setattr(os, "open", lambda *args: fds.append(opened(*args)) or fds[-1])
    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save(TOKENS, STATE)
    assert names(directory) == []
    with pytest.raises(OSError):
        os.fstat(fds[0])


# ---- several at once -------------------------------------------------------------------------------------------------

BUSY = """
import sys
from pathlib import Path
from llmcli.engine.kv.disk_prefix_store import PrefixStore

store = PrefixStore(Path(sys.argv[1]), 1500, "a model")
print("ready", flush=True)
sys.stdin.read()
for turn in range(120):
    tokens = [turn % 6] * 20
    store.save(tokens, bytes([turn % 6]) * (100 + turn % 6))
    entry = store.find_longest(tokens)
    state = None if entry is None else store.load(entry)
    assert state in (None, bytes([turn % 6]) * (100 + turn % 6)), state
"""


def test_processes_share_a_directory(directory):
    """Processes that save, load and evict the same states get whole ones or none, and the limit holds."""
    command = [sys.executable, "-c", BUSY, str(directory)]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options["env"] = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, **options)) for _ in range(3)]
        for process in processes:
            process.stdout.readline()  # "ready": all start together
        for process in processes:
            process.stdin.close()
        errors = [process.stderr.read() for process in processes]
    assert errors == [b""] * 3
    assert [process.returncode for process in processes] == [0] * 3
    assert taken(directory) <= 1500
    assert names(directory) and all(name.endswith(".state") for name in names(directory))


def test_threads_share_a_store(directory):
    """Threads that save and load the same state at the same time never see a part of it."""
    store = PrefixStore(directory, ROOMY, "a model")
    states = [bytes([number]) * 20_000 for number in range(4)]
    wrong = []

    def work(state):
        for _ in range(25):
            if not store.save(TOKENS, state):
                wrong.append("not saved")
            entry = store.find_longest(TOKENS)
            if entry is None or store.load(entry) not in states:
                wrong.append("not loaded")

    threads = [threading.Thread(target=work, args=(state,)) for state in states]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(names(directory)) == 1


def test_a_file_renamed_while_counting_is_counted(directory, monkeypatch):
    """A temporary file that is renamed between the listing and the stat call is still counted."""
    store = PrefixStore(directory, 700, "a model")
    first = saved(store, [1] * 20)
    use(first, 1)
    second = saved(store, [2] * 20)
    second.path.rename(directory / "other.tmp")
    scan = os.scandir

    def scandir(path):
        listing = scan(path)
        entries = list(listing)
        if (directory / "other.tmp").exists():
            (directory / "other.tmp").rename(second.path)
        listing.close()
        return Listing(entries)

    monkeypatch.setattr(os, "scandir", scandir)
    assert store.save([3] * 20, STATE)
    assert taken(directory) == 600
    assert not first.path.exists()


class Listing(list):
    """What ``os.scandir`` returns, read beforehand."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


# ---- conversations ---------------------------------------------------------------------------------------------------

MINE, OTHER = "1" * 32, "2" * 32


def test_states_of_a_conversation_are_deleted(directory, store):
    """For all models; states of other conversations and of prompt files stay, and a missing directory is no error."""
    delete_sessions(directory, MINE.__eq__)
    assert store.save(TOKENS, STATE, MINE) and store.save(TOKENS, STATE, OTHER)
    saved(store)
    another = PrefixStore(directory, ROOMY, "another model")
    kept = next(directory.glob(f"*-{MINE}.state"))
    kept.rename(kept.with_name("f" * 16 + kept.name[16:]))
    assert another.save(TOKENS[:5], STATE, OTHER) and store.save(TOKENS[:7], STATE, MINE)
    delete_sessions(directory, MINE.__eq__)
    assert store.find_session(MINE) is None
    assert another.find_session(OTHER).tokens == tuple(TOKENS[:5])
    assert store.find_longest(TOKENS) is not None
    delete_sessions(directory, lambda _: True)
    assert len(names(directory)) == 1


def test_a_state_that_cannot_be_deleted_is_reported(directory, store):
    """Otherwise users would believe that it was removed."""
    store.save(TOKENS, STATE, MINE)
    (file,) = directory.iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(OutputError):
        delete_sessions(directory, MINE.__eq__)
