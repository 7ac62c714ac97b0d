"""Compares texts by their hidden states after each layer, for `llm embed`, `similar`, indexes and key sentences.

All layers of `--layers` are read in one evaluation of each text; "last" are the states after the last layer and the
norm, whose mean is over all tokens. Vectors are compared as `llm similar` does, by the cosine after mean and deviation
are taken out; "centred" is with the mean taken out alone, as key sentences are.

- "pairs": the correlation with the similarity of all pairs of 50 news texts, as people rated it (Lee, Pincombe and
  Welsh 2005), in the directory `--rated`: `lee.cor` and `similarities0-1.txt`, which the wheel of gensim has in
  `gensim/test/test_data`.
- "passages": recall at 5 and 12 of the passages that answer the questions of `passage_ranking.py`, by vectors alone.
- "key sentences": the share of the words of a package's one-line summary that stand in 40 to 100 words of key sentences
  of its description, for packages that are installed beside this one.
- "ms": the CPU time of a passage, without the layers after the one that is read.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

import common
import numpy as np
from check_quality import load_documents, split_sentences
from passage_ranking import QUESTIONS, QuestionSet, read_guides
from sentiment_quality import open_with_weights

from llmcli.backends.base import Backend, run_requests
from llmcli.settings import ORIGINAL_WEIGHTS
from llmcli.tasks.retrieval.passage_cutter import PASSAGE_CHARS
from llmcli.tasks.retrieval.passage_embedder import rank_by_similarity, shrunk_deviations
from llmcli.tasks.summarize.sentence_candidates import SentenceCandidate, SentenceStore
from llmcli.tasks.summarize.sentence_ranking import choose_sentences
from llmcli.types import HiddenStates, Request

Vectors = dict[int | None, np.ndarray]
"""By layer (None: the last one), a row for each text."""
MIN_SENTENCES, MAX_SENTENCES, WORDS = 8, 80, (40, 60, 100)
_PLAIN_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "be",
        "by",
        "can",
        "for",
        "from",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "that",
        "the",
        "this",
        "to",
        "with",
        "you",
        "your",
    ]
)


def read_vectors(backend: Backend, texts: Sequence[str], layers: Sequence[int]) -> Vectors:
    """Return the mean states of the texts after each of the layers; without layers those after the last one."""
    requests = [
        Request(str(n), (), prompt=text, hidden_states=True, state_layers=tuple(layers)) for n, text in enumerate(texts)
    ]
    found = {each.id: each.mean for each in run_requests(backend, requests) if isinstance(each, HiddenStates)}
    rows = np.stack([np.frombuffer(found[request.id], "<f4") for request in requests])
    names = layers or (None,)
    return dict(zip(names, np.split(rows, len(names), axis=1), strict=True))


def standardize(rows: np.ndarray, *, scaled: bool) -> np.ndarray:
    """Return the rows without their mean, with length 1, each component divided by its deviation if ``scaled``."""
    centred = rows - rows.mean(axis=0)
    if scaled:
        centred = centred / shrunk_deviations(rows.var(axis=0, dtype=np.float64), len(rows))
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))


def correlate(rows: np.ndarray, rated: np.ndarray, *, scaled: bool) -> float:
    """Return the correlation of the cosines of all pairs with the rated similarities."""
    above, unit = np.triu_indices(len(rows), 1), standardize(rows, scaled=scaled)
    return float(np.corrcoef((unit @ unit.T)[above], rated[above])[0, 1])


def rank_passages(given: QuestionSet, passages: np.ndarray, questions: np.ndarray) -> list[str]:
    """Return recall at 5 and 12 by vectors alone."""
    stored = [row.astype("<f2").tobytes() for row in passages / np.linalg.norm(passages, axis=1, keepdims=True)]
    asked = [row.astype("<f2").tobytes() for row in questions / np.linalg.norm(questions, axis=1, keepdims=True)]
    positions = [each.position for each in given.passages]
    ranked = [[positions[each] for each in rank_by_similarity(one, stored)] for one in asked]
    return given.figures(dict(zip(given.right, ranked, strict=True)))[:2]


def content_words(text: str) -> set[str]:
    """Return the words that tell something."""
    return {*re.findall(r"[a-z]{2,}", text.lower())} - _PLAIN_WORDS


def read_packages() -> list[tuple[str, list[str]]]:
    """Return the summary of each package and the sentences of its description."""
    summaries = {each.metadata["Name"]: each.metadata["Summary"] or "" for each in distributions()}
    found = []
    for name, text in load_documents(parity=1).items():
        flat = split_sentences(" ".join(text.split()))
        sentences = [each.strip() for each in flat if 4 <= len(each.split()) <= 60][:MAX_SENTENCES]
        if len(sentences) >= MIN_SENTENCES and content_words(summaries[name]):
            found.append((summaries[name], sentences))
    return found


def summary_share(summary: str, sentences: Sequence[str], rows: np.ndarray) -> float:
    """Return the share of the summary's words that key sentences have, as a mean over their lengths."""
    store, start = SentenceStore(), 0
    for number, (text, row) in enumerate(zip(sentences, rows, strict=True)):
        candidate = SentenceCandidate(
            start, start + len(text), len(text.split()), eligible=True, begins_paragraph=False
        )
        store.add(number, candidate, row)
        start += len(text) + 1
    wanted = content_words(summary)
    shares = []
    for words in WORDS:
        chosen = " ".join(sentences[each.number] for each in choose_sentences(store, words))
        shares.append(len(wanted & content_words(chosen)) / len(wanted))
    store.close()
    return statistics.mean(shares)


def main() -> None:
    """Read, compare and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--layers", type=int, nargs="+", required=True, help="the layers to read, counted from 1")
    parser.add_argument("--rated", type=Path, help="the directory with the rated pairs")
    parser.add_argument("--timed", type=int, default=24, help="passages whose time is measured (default: 24)")
    parser.add_argument("--weights", default=ORIGINAL_WEIGHTS, help="a type of weights (default: original)")
    options = parser.parse_args()
    given, packages = QuestionSet("docs/", read_guides(), QUESTIONS, PASSAGE_CHARS), read_packages()
    texts = {
        "passages": [each.passage.text for each in given.passages],
        "questions": [*given.right],
        "sentences": [text for _, sentences in packages for text in sentences],
    }
    rated = np.empty(0)
    if options.rated:
        texts["news"] = (options.rated / "lee.cor").read_text("latin-1").splitlines()
        rated = np.loadtxt(options.rated / "similarities0-1.txt")
    vectors: dict[str, Vectors] = {}
    times: dict[int | None, float] = {}
    with open_with_weights(common.model_path(options.model), options.weights) as backend:
        for name, some in texts.items():
            vectors[name] = read_vectors(backend, some, options.layers) | read_vectors(backend, some, ())
        for number, layer in enumerate((*options.layers, None)):
            new = [f"{number} {text}" for text in texts["passages"][: options.timed]]  # not in the prefix cache
            read_vectors(backend, new[:2], () if layer is None else (layer,))
            started = time.process_time()
            read_vectors(backend, new[2:], () if layer is None else (layer,))
            times[layer] = 1000 * (time.process_time() - started) / len(new[2:])
    ends = np.cumsum([len(sentences) for _, sentences in packages])[:-1]
    rows = []
    for layer in (*options.layers, None):
        pairs = [
            f"{correlate(vectors['news'][layer], rated, scaled=each):.3f}" if len(rated) else "-"
            for each in (True, False)
        ]
        recalls = rank_passages(given, vectors["passages"][layer], vectors["questions"][layer])
        parts = zip(packages, np.split(vectors["sentences"][layer], ends), strict=True)
        share = statistics.mean(summary_share(*package, part) for package, part in parts)
        rows.append(["last" if layer is None else str(layer), *pairs, *recalls, f"{share:.3f}", f"{times[layer]:.0f}"])
    header = ["layer", "pairs", "pairs, centred", "passages at 5", "at 12", "key sentences", "ms"]
    common.print_table(rows, header)


if __name__ == "__main__":
    main()
