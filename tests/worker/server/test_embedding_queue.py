"""Embedding for many clients: each in turn, none blocks others, no work for those that left."""

from __future__ import annotations

import array
import threading

import pytest

from llmcli.errors import ContextOverflow, InternalError, OutOfMemory
from llmcli.worker.server.embedding_queue import EmbeddingQueue


class Embedder:
    """Records what is embedded; the first text waits for ``go``."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.closed = False

    def tokenize(self, given):
        if given == "long":
            raise ContextOverflow(tokens=9, context=8)
        return list(given)

    def embed(self, tokens, gone, pooling, measured):
        self.begun.set()
        self.go.wait()
        self.seen.append(tokens[0])
        return array.array("f", [tokens[0]])

    def close(self):
        self.closed = True


@pytest.fixture
def embedder():
    return Embedder()


@pytest.fixture
def queue(embedder):
    queue = EmbeddingQueue(lambda: embedder)
    yield queue
    embedder.go.set()
    queue.close()
    assert embedder.closed or not embedder.begun.is_set()


def never() -> bool:
    return False


def test_clients_take_turns(queue, embedder):
    """A long list does not delay a short one."""
    first = queue.submit([[1], [2], [3]], never)
    embedder.begun.wait()
    second = queue.submit([[7]], never)
    embedder.go.set()
    assert second.result() == ([array.array("f", [7])], 1)
    vectors, tokens = first.result()
    assert [vector[0] for vector in vectors] == [1, 2, 3] and tokens == 3
    assert embedder.seen.index(7) == 1


def test_nothing_is_embedded_for_a_client_that_left(queue, embedder):
    """Whether it disconnected while it waited or between two of its texts."""
    left = threading.Event()
    first = queue.submit([[1], [2], [3]], left.is_set)
    waiting = queue.submit([[4]], left.is_set)
    embedder.begun.wait()
    left.set()
    last = queue.submit([[5]], never)
    embedder.go.set()
    last.result()
    assert embedder.seen == [1, 5]
    for job in (first, waiting):
        with pytest.raises(InternalError, match="cancelled"):
            job.result()


def test_an_error_affects_one_client(queue, embedder):
    """A text that is too long fails its own list; the others continue."""
    embedder.go.set()
    bad, good = queue.submit(["long"], never), queue.submit([[1]], never)
    with pytest.raises(ContextOverflow):
        bad.result()
    assert good.result()[1] == 1


def test_a_model_that_could_not_be_loaded_is_tried_again(embedder):
    """An exception of ``make`` is not cached."""
    embedder.go.set()
    tries = iter([OutOfMemory("model"), None])

    def make():
        error = next(tries)
        if error is not None:
            raise error
        return embedder

    queue = EmbeddingQueue(make)
    with pytest.raises(OutOfMemory):
        queue.submit([[1]], never).result()
    assert queue.submit([[1]], never).result()[1] == 1
    queue.close()


def test_closing_cancels_waiting_clients(embedder):
    """The server can end while clients wait."""
    queue = EmbeddingQueue(lambda: embedder)
    first, waiting = queue.submit([[1], [2]], never), queue.submit([[3]], never)
    embedder.begun.wait()
    closing = threading.Thread(target=queue.close)
    closing.start()
    while not queue._closing:
        pass
    embedder.go.set()
    closing.join()
    with pytest.raises(InternalError, match="cancelled"):
        first.result()
    assert waiting.cancelled() and embedder.closed
