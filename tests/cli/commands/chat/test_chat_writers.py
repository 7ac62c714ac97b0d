"""Chats on terminals that continue one session at the same time, some of which are killed."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import pexpect
import pytest
from session_checks import check_tree


class Writer(threading.Thread):
    """A person who says ``turns`` messages in the session "work"; a chat that is killed is opened again.

    ``reported``: the messages after whose answers the prompt came back.
    """

    def __init__(self, start, number, turns, after_turn):
        super().__init__(daemon=True)
        self.chat = None
        self.reported = []
        self._start_chat, self._number, self._turns, self._after_turn = start, number, turns, after_turn
        self._said = 0

    def run(self):
        while self._said < self._turns:
            self.chat = self._start_chat("--session", "work")
            try:
                self.chat.prompt()
                while self._said < self._turns:
                    self._say_next()
            except pexpect.EOF:  # it was killed
                continue

    def _say_next(self):
        message = f"writer {self._number} turn {self._said}"
        self._said += 1
        assert f"You said: {message}" in self.chat.say(message)
        self.reported.append(message)
        self._after_turn()

    def kill(self):
        """Kill the chat, if it runs."""
        if self.is_alive() and self.chat is not None and not self.chat.ended:
            self.chat.kill(signal.SIGKILL)
            self.chat.reap()
            self.chat.hang_up()


def run_writers(start, *, writers, turns, seed, kill_after=(), kill_every_s=None):
    """Let persons write one session; kill a chat after these numbers of turns, or once in so many seconds."""
    chance, lock, answered = random.Random(seed), threading.Lock(), []

    def kill_one():
        with lock:
            chance.choice(running).kill()

    def after_turn():
        with lock:
            answered.append(None)
            due = len(answered) in kill_after
        if due:
            kill_one()

    running = [Writer(start, number, turns, after_turn) for number in range(writers)]
    for each in running:
        each.start()
    for each in running:
        while each.is_alive():
            each.join(kill_every_s)
            if kill_every_s is not None and each.is_alive():
                kill_one()
    for each in running:
        if not each.chat.ended:
            each.chat.type("/exit\r")
            assert each.chat.wait() == 0
    reported = [message for each in running for message in each.reported]
    check_tree(Path(os.environ["LLMCLI_DATA_DIR"], "sessions.db"), reported, "You said: {}".format)
    return len(reported)


def test_three_chats_of_one_session(chat_on_terminal):
    """Two are killed in between; each turn after which the prompt came back is there once."""
    assert run_writers(chat_on_terminal, writers=3, turns=3, seed=1, kill_after=(2, 4)) >= 7


@pytest.mark.stress
def test_eight_chats_of_one_session(chat_on_terminal):
    """Eight with 40 turns each, two killed a second."""
    reported = run_writers(chat_on_terminal, writers=8, turns=40, seed=2, kill_every_s=0.5)
    assert reported > 200
