"""The rules for a saved session that several processes have written."""

from __future__ import annotations

import sqlite3
from collections import Counter

from llmcli.store.session_store import SessionStore


def check_tree(path, reported, answer):
    """Assert that the file is sound, and that each turn that was reported is there once, in the one session.

    ``reported``: the questions whose answers were saved; ``answer`` returns what answers a question.
    """
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.execute("INSERT INTO turn_index (turn_index) VALUES ('integrity-check')")
    connection.close()
    with SessionStore(path) as store:
        (overview,) = store.list()
        tree = store.load_tree(overview.session)
        assert store.load_turns(overview.session)[-1].id == overview.session.head
    counts = Counter(turn.content for turn in tree if not turn.interrupted)
    assert [each for each in reported if counts[each] != 1 or counts[answer(each)] != 1] == []
    assert max(counts.values()) == 1
