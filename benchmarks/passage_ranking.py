"""Measures how `llm ask -f` and `llm index search` rank passages: by words, by vectors and by the model.

    python benchmarks/passage_ranking.py [--sdists DIR] [--model FILE] [--prompts DIRECTORY...]

The first set of documents are guides in docs/; the second one is the documentation of other packages, whose source
distributions in the directory DIR (`pip download --no-deps --no-binary :all: NAME==VERSION...`) have the versions that
`passage_questions.yaml` names. Each question was written for one passage, before a ranking was run.

Recall@5 and recall@12 are the shares of the questions whose passage is among the first 5 and 12. "words" is BM25, and
"prose first" the same in the order in which `llm ask` numbers passages. With a model: "vectors" are the hidden states
of the model alone, "words+vectors" is `llm index search` after `llm index add --embed` with a model for vectors, and
"words, then vectors" the same with the model that answers; "yes/no" is the joined order of words and of the yes/no
scores of the model, which `llm ask` uses with models of at least half a billion parameters. MRR is the mean reciprocal
rank of the right passage.
"""

from __future__ import annotations

import statistics
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

import common
import yaml

from llmcli.backends.base import Backend
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_file import Prompt
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.ask.document_question import (
    MAX_CANDIDATES,
    MAX_PASSAGES,
    RELEVANCE_PROMPT,
    fuse_margins,
    relevance_requests,
)
from llmcli.tasks.retrieval.passage_cutter import PASSAGE_CHARS
from llmcli.tasks.retrieval.passage_embedder import PassageEmbedder, rank_by_similarity
from llmcli.tasks.retrieval.passage_pool import DocumentPassages, FoundPassage, PassagePool, join_vectors, prose_first
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import ask_all

DOCS = Path(__file__).parents[1] / "docs"
OTHER_QUESTIONS = Path(__file__).with_name("passage_questions.yaml")
GUIDES = ("worker", "serve", "chat", "security", "ask", "redaction", "models", "translation")
DEPTH = 48
"""Passages of each ranking that are joined with another one, as in a search of an index for 12."""
QUESTIONS = {
    "What happens to running answers when a worker is stopped?": "give running answers five seconds to finish",
    "Where is the socket of a worker?": "in `llmcli-UID` in the directory for",
    "Which part of a response holds the reasoning of a thinking model?": "holds the reasoning separately",
    "How does a client of the server prove who it is?": "`Authorization: Bearer TOKEN`",
    "What can I do when a conversation becomes too long for the context?": "a summary replaces the oldest messages",
    "In which file are my chats saved?": "Chats are stored in `sessions.db`",
    "Can a model's output run a program on my machine?": "llm never executes a model's output",
    "How do I copy the answer to the clipboard?": "sends the answer to the clipboard",
    "How can names of people be found before text is sent?": "Names have no form that a pattern could find",
    "What does redaction miss?": "A value that is cut by the border",
    "Which model is good at translation and writing?": "good at translation and writing",
    "How does pull choose a quantization?": "chooses the best quantization that fits",
    "What happens when a download is interrupted?": "It continues where it stopped",
    "Where are the copies of a model in another type stored?": "Copies are in `derived` in the cache directory",
    "What does removing an imported model do to the original file?": "removes the import, never the original",
    "Which checks must a translated text with tags pass?": "every mark occurs exactly once",
    "How can I write the translations into another directory?": "mirrors the directory tree",
    "Does the starter notice a missing negation?": "does not see a negation that is missing",
}


class QuestionSet:
    """Questions about documents; ``right`` has the positions of the passages that answer each question."""

    def __init__(self, name: str, documents: Sequence[Document], questions: Mapping[str, str], max_chars: int) -> None:
        self.name = name
        self.pool = PassagePool([DocumentPassages(documents, max_chars)])
        self.passages = self.pool.all()
        self.right = {
            question: {each.position for each in self.passages if _has_phrase(each, phrase)}
            for question, phrase in questions.items()
        }
        missing = [question for question, found in self.right.items() if not found]
        if missing:
            sys.exit(f"{name}: no passage answers {missing}")

    def figures(self, rankings: Mapping[str, Sequence[int]]) -> list[str]:
        """Return recall@5, recall@12 and the mean reciprocal rank of rankings by their questions."""
        ranks = [
            next((rank for rank, each in enumerate(rankings[question], 1) if each in right), None)
            for question, right in self.right.items()
        ]
        recalls = [statistics.mean(rank is not None and rank <= limit for rank in ranks) for limit in (5, MAX_PASSAGES)]
        return [f"{x:.3f}" for x in (*recalls, statistics.mean(1 / rank if rank else 0 for rank in ranks))]


def _has_phrase(found: FoundPassage, phrase: str) -> bool:
    return " ".join(phrase.split()) in " ".join(found.passage.text.split())


def read_guides() -> list[Document]:
    """Return the guides of the first set."""
    return [Document(f"{name}.md", (DOCS / f"{name}.md").read_text("utf-8")) for name in GUIDES]


def read_sdists(directory: Path, names: Sequence[str]) -> Iterator[tuple[str, list[Document]]]:
    """Yield the name of each package, and the texts in the directory docs of its source distribution."""
    for name in names:
        package, version = name.split("==")
        with tarfile.open(directory / f"{package}-{version}.tar.gz") as archive:
            files = [(PurePath(each.name), each) for each in archive.getmembers() if each.isfile()]
            chosen = [
                (path, each) for path, each in files if path.parts[1] == "docs" and path.suffix in {".md", ".rst"}
            ]
            texts = ((path, archive.extractfile(each)) for path, each in sorted(chosen, key=lambda file: file[0]))
            yield name, [Document(str(path), file.read().decode()) for path, file in texts if file is not None]


def measure_words(given: QuestionSet) -> dict[str, dict[str, list[int]]]:
    """Return the rankings without a model: for each way the positions by their questions."""
    words, prose = {}, {}
    for question in given.right:
        found = given.pool.search(question, MAX_PASSAGES)
        words[question] = [each.position for each in found]
        prose[question] = [each.position for each in prose_first(found)]
    return {"words": words, "prose first": prose}


def measure_vectors(given: QuestionSet, backend: Backend) -> dict[str, dict[str, list[int]]]:
    """Return the rankings by vectors of the model, and by both."""
    embedder = PassageEmbedder(backend)
    texts = {each.position: each.passage.text for each in given.passages}
    vectors = {number: vector for some in embedder.embed(texts) for number, vector in some.items()}
    numbers, stored = list(vectors), list(vectors.values())
    alone, equal, added = {}, {}, {}
    for question in given.right:
        asked = embedder.embed_question(question)
        similar = [numbers[each] for each in rank_by_similarity(asked.vector, stored)[:DEPTH]]
        words = [each.position for each in given.pool.search(question, DEPTH)]
        alone[question] = similar
        equal[question] = join_vectors(words, similar, MAX_PASSAGES, dedicated=True)
        added[question] = join_vectors(words, similar, MAX_PASSAGES, dedicated=False)
    return {"vectors": alone, "words+vectors": equal, "words, then vectors": added}


def measure_scores(
    given: QuestionSet, backend: Backend, prompt: Prompt, count: int, name: str
) -> dict[str, dict[str, list[int]]]:
    """Return the ranking by words and the yes/no scores of the model, as `llm ask` joins and orders them."""
    joined = {}
    for question in given.right:
        found = given.pool.search(question, count)
        requests = list(relevance_requests(prompt, question, found, GenerationOptions()))
        scores = [[score.logprob for score in answer.scores] for answer in ask_all(backend, requests)]
        ranked = [found[number] for number in fuse_margins([yes - no for yes, no in scores])]
        joined[question] = [each.position for each in prose_first(ranked)[:MAX_PASSAGES]]
    return {f"yes/no {name}": joined}


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--sdists", type=Path, help="the directory with source distributions of other packages")
    parser.add_argument("--chars", type=int, default=PASSAGE_CHARS, help="the longest passage in characters")
    parser.add_argument("--words-only", action="store_true", help="measure no model")
    parser.add_argument("--candidates", type=int, default=MAX_CANDIDATES, help="passages that the model scores")
    parser.add_argument("--prompts", type=Path, nargs="*", default=[], help="directories with other ask.relevance.yaml")
    options = parser.parse_args()
    sets = [QuestionSet("docs/", read_guides(), QUESTIONS, options.chars)]
    if options.sdists:
        questions = yaml.safe_load(OTHER_QUESTIONS.read_text("utf-8"))
        documents = [each for _, some in read_sdists(options.sdists, list(questions)) for each in some]
        every = {question: phrase for some in questions.values() for question, phrase in some.items()}
        sets.append(QuestionSet("other packages", documents, every, options.chars))
    rows = []

    def note(given: QuestionSet, found: Mapping[str, Mapping[str, Sequence[int]]]) -> None:
        for way, rankings in found.items():
            rows.append([f"{given.name} ({len(given.right)})", way, *given.figures(rankings)])
            print(*rows[-1], file=sys.stderr, flush=True)

    for given in sets:
        note(given, measure_words(given))
    if not options.words_only:
        with (
            tempfile.TemporaryDirectory() as kept,
            common.open_engine(common.model_path(options.model), EngineOptions(cache=Path(kept))) as backend,
        ):
            for given in sets:
                note(given, measure_vectors(given, backend))
                for directory in (None, *options.prompts):
                    prompt = PromptLibrary(directory or Path("none")).get(RELEVANCE_PROMPT)
                    name = "(built-in)" if directory is None else str(directory)
                    note(given, measure_scores(given, backend, prompt, options.candidates, name))
    common.print_table(rows, ["questions", "ranking", "recall@5", "recall@12", "MRR"])


if __name__ == "__main__":
    main()
