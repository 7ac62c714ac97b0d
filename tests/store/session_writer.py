"""A process that continues one session: each turn is a question, a growing answer and its end, as in a chat."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from llmcli.store.session import StoredMessage, new_session
from llmcli.store.session_store import SessionStore
from llmcli.types import Role


def write_turns(path: Path, writer: str, count: int) -> None:
    """Write ``count`` turns; print the number of each turn that is saved completely."""
    session, said = new_session("work"), ()
    for number in range(count):
        with SessionStore(path) as store:
            saved = store.save(session, [*said, StoredMessage(Role.USER, f"{writer} {number}")], joins=True)
        with SessionStore(path) as store:
            answer = StoredMessage(Role.ASSISTANT, f"answer {writer}", interrupted=True)
            saved = store.save(saved.session, [*saved.turns, answer])
        with SessionStore(path) as store:
            whole = replace(saved.turns[-1], content=f"answer {writer} {number}", interrupted=False)
            store.update_turn(whole)
        session, said = saved.session, (*saved.turns[:-1], whole)
        print(number, flush=True)


if __name__ == "__main__":
    write_turns(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
