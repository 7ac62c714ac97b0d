"""How well the yes/no ranking of `llm ask` finds the passage that answers a question, for one or several prompts.

The documents are the guides in docs/, in passages of up to 700 characters. Each question was written for one passage. The
model ranks the best passages by BM25, that one among them. "model" is the mean reciprocal rank of the right passage by the
model alone, "AUC" the share of the other candidates that it ranks below it, "joined" the mean reciprocal rank of the two
rankings together, as `llm ask` uses it.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import common

from llmcli.backends.base import Backend
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.prompts import Prompt, PromptLibrary
from llmcli.tasks.ask.document_question import MAX_CANDIDATES, fuse_margins, relevance_requests
from llmcli.tasks.ask.document_question import RELEVANCE_PROMPT as PROMPT
from llmcli.tasks.retrieval.passage_pool import DocumentPassages, FoundPassage, PassagePool
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import ask_all

DOCS = Path(__file__).parents[1] / "docs"
GUIDES = ("worker", "serve", "chat", "security", "ask", "redaction", "models", "translation")
PASSAGE_CHARS = 700
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


def find_candidates(pool: PassagePool, question: str, phrase: str, count: int) -> tuple[list[FoundPassage], int]:
    """Return the candidates for a question, the right passage among them, and its place."""
    found = pool.search(question, count)
    right = next((place for place, each in enumerate(found) if phrase in each.passage.text), None)
    if right is None:
        right = len(found) - 1
        found[right] = next(each for each in pool.all() if phrase in each.passage.text)
    return found, right


def measure(backend: Backend, prompt: Prompt, pool: PassagePool, count: int) -> list[float]:
    """Return the model's reciprocal rank, its AUC and the joined reciprocal rank, each the mean over all questions."""
    rows: list[tuple[float, float, float]] = []
    for question, phrase in QUESTIONS.items():
        found, right = find_candidates(pool, question, phrase, count)
        requests = relevance_requests(prompt, question, found, GenerationOptions())
        scores = [[score.logprob for score in answer.scores] for answer in ask_all(backend, requests)]
        margins = [yes - no for yes, no in scores]
        others = [margin for place, margin in enumerate(margins) if place != right]
        above = sum(margin > margins[right] for margin in others)
        rows.append((
            1 / (1 + above),
            sum((margins[right] > margin) + (margins[right] == margin) / 2 for margin in others) / len(others),
            1 / (1 + fuse_margins(margins).index(right)),
        ))  # fmt: skip
    return [statistics.mean(column) for column in zip(*rows, strict=True)]


def main() -> None:
    """Measure and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument(
        "--candidates", type=int, default=MAX_CANDIDATES, help=f"passages to rank (default: {MAX_CANDIDATES})"
    )
    parser.add_argument(
        "--prompts", type=Path, nargs="*", default=[], help="directories with another ask.relevance.yaml"
    )
    options = parser.parse_args()
    documents = [Document(f"{name}.md", (DOCS / f"{name}.md").read_text("utf-8")) for name in GUIDES]
    pool = PassagePool([DocumentPassages(documents, PASSAGE_CHARS)])
    rows = []
    with (
        tempfile.TemporaryDirectory() as kept,
        common.open_engine(common.model_path(options.model), EngineOptions(cache=Path(kept))) as backend,
    ):
        for directory in (Path("none"), *options.prompts):
            prompt = PromptLibrary(directory).get(PROMPT)
            figures = measure(backend, prompt, pool, options.candidates)
            rows.append(
                [str(directory) if directory in options.prompts else "built-in", *(f"{x:.3f}" for x in figures)]
            )
    common.print_table(rows, ["prompt", "model", "AUC", "joined"])


if __name__ == "__main__":
    main()
