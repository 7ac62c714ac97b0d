"""The decks of `llm quiz make`, and the reviews of `llm quiz run`.

Questions: up to 200 cloze and choice cards about the descriptions of four installed Python packages (`DOCUMENTS`, or
`--documents`), with one model. Every answer must stand in its quote, and every quote in its document. The yield is the
share of the sentences looked at that gave a card, by the reason of the others. `--draw FILE` writes 25 of the cards,
drawn by a seed, for a reader to judge; `quiz_judgements.jsonl` has those of two models with the judgement, and
`--judged` counts it. The reader looked for another answer that a learner could defend by the document: not another
spelling, and not what the document contradicts.

Reviews: `--simulate` lets a learner answer for half a year. The learner is the memory model of `fsrs`: a card is
recalled with its retrievability. The same learner, with the same random numbers, reviews each card when `fsrs` alone
says that it is due, and by the session of `llm quiz run`, once a day. The figure is the ratio of the numbers of
reviews.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import common
from check_quality import load_documents

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.tasks.quiz.card import CardKind
from llmcli.tasks.quiz.deck_making import DeckOptions, make_deck
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import ItemFailed, Result

DOCUMENTS = ("charset-normalizer", "httpcore2", "openai", "pypdfium2")
KINDS = (CardKind.CLOZE, CardKind.CHOICE)
SEED = 42
JUDGED = Path(__file__).with_name("quiz_judgements.jsonl")
_STARTED = datetime(2026, 1, 1, 8, tzinfo=UTC)


def load_sources(names: Sequence[str]) -> list[Document]:
    """Return the descriptions of packages."""
    found = {**load_documents(0), **load_documents(1)}
    return [Document(name, found[name]) for name in names]


def make_cards(model: str, sources: Sequence[Document], count: int, threads: int | None) -> Mapping[str, Any]:
    """Return the fields of the result of `llm quiz make`."""
    with tempfile.TemporaryDirectory() as kept:
        options = EngineOptions(cache=Path(kept), threads=threads)
        with common.open_engine(model, options) as backend:
            for event in make_deck(backend, sources, GenerationOptions(), DeckOptions(count, KINDS)):
                if isinstance(event, ItemFailed):
                    raise event.error
                if isinstance(event, Result):
                    return event.fields
    raise SystemExit("no result")


def count_unfounded(cards: Sequence[Mapping[str, Any]], sources: Sequence[Document]) -> int:
    """Return how many answers do not stand in their quote, or quotes not in their document at their place."""
    texts = {each.name: each.text for each in sources}
    return sum(
        card["answer"] not in card["quote"]["text"]
        or texts[card["quote"]["source"]][card["quote"]["start"] : card["quote"]["end"]] != card["quote"]["text"]
        for card in cards
    )


def measure_questions(options: argparse.Namespace) -> None:
    """Make the cards and print their figures."""
    started, model = time.perf_counter(), common.model_path(options.model)
    sources = load_sources(options.documents)
    fields = make_cards(model, sources, options.count, options.threads)
    cards = fields["cards"]
    versions = ", ".join(f"{each.name} {version(each.name)}" for each in sources)
    print(f"{Path(model).name}: {len(cards)} cards of {fields['sentences']} sentences ({versions})")
    print(f"yield {len(cards) / fields['sentences']:.0%}; dropped: {dict(fields['dropped'])}")
    print(
        f"kinds: {dict(Counter(card['kind'] for card in cards))}, levels: {dict(Counter(card['level'] for card in cards))}"
    )
    print(f"answers or quotes that do not stand in the source: {count_unfounded(cards, sources)}")
    print(f"{time.perf_counter() - started:.0f} s, {time.process_time():.0f} s of CPU")
    if options.deck is not None:
        Path(options.deck).write_text(
            "".join(json.dumps(card, ensure_ascii=False) + "\n" for card in cards), encoding="utf-8"
        )
    if options.draw is not None:
        drawn = random.Random(SEED).sample(cards, min(25, len(cards)))  # noqa: S311 (the same cards each time)
        names = ("id", "kind", "question", "answer", "choices")
        shown = [
            {"model": Path(model).stem, **{name: card[name] for name in names}, "quote": card["quote"]["text"]}
            for card in drawn
        ]
        text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in shown)
        Path(options.draw).write_text(text, encoding="utf-8")


def count_judged() -> None:
    """Print what the reader found in the drawn cards."""
    judged = [json.loads(line) for line in JUDGED.read_text(encoding="utf-8").splitlines()]
    for model in sorted({each["model"] for each in judged}):
        own = [each for each in judged if each["model"] == model]
        print(f"{model}: {sum(each['second_answer'] for each in own)} of {len(own)} have a second right answer")
    print(f"all: {sum(each['second_answer'] for each in judged)} of {len(judged)}")


# ---- reviews ---------------------------------------------------------------------------------------------------------


def simulate(cards: int, days: int, seed: int) -> tuple[int, int]:
    """Return the reviews of the schedule of fsrs alone, and those of the sessions of llm quiz run."""
    from llmcli.tasks.quiz.review_schedule import Rating, ReviewSchedule

    def recalls(card: str, number: int, chance: float) -> bool:
        return random.Random(f"{seed} {card} {number}").random() < chance  # noqa: S311 (the same learner each time)

    names = [f"card {number}" for number in range(cards)]
    plain, plain_reviews = ReviewSchedule(), 0
    for name in names:
        due, number = _STARTED, 0
        while due < _STARTED + timedelta(days=days):
            rating = Rating.GOOD if recalls(name, number, plain.retrievability(name, due) or 0.5) else Rating.AGAIN
            plain.review(name, rating, due)
            due, number = plain.due(name), number + 1
            plain_reviews += 1
    own, reviews, counts = ReviewSchedule(), 0, Counter[str]()
    for day in range(days):
        for name, now in _session(own, names, _STARTED + timedelta(days=day)):
            rating = Rating.GOOD if recalls(name, counts[name], own.retrievability(name, now) or 0.5) else Rating.AGAIN
            own.review(name, rating, now)
            counts[name] += 1
            reviews += 1
    return plain_reviews, reviews


def _session(schedule: Any, names: Sequence[str], now: datetime) -> Iterator[tuple[str, datetime]]:
    """Yield the cards of one session, a quarter of a minute each."""
    while (name := schedule.next_card(names, now)) is not None:
        yield name, now
        now += timedelta(seconds=15)


def main() -> None:
    """Print the figures that were asked for."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--documents", nargs="+", default=DOCUMENTS, metavar="PACKAGE", help="packages to ask about")
    parser.add_argument("--count", type=int, default=200, help="cards")
    parser.add_argument("--threads", type=int, help="one thread is faster than two on a busy machine")
    parser.add_argument("--draw", metavar="FILE", help="write 25 drawn cards for a reader")
    parser.add_argument("--deck", metavar="FILE", help="write all cards")
    parser.add_argument("--judged", action="store_true", help="count the committed judgements only")
    parser.add_argument("--simulate", action="store_true", help="simulate the learner only")
    options = parser.parse_args()
    if options.judged:
        count_judged()
    elif options.simulate:
        for seed in range(5):
            plain, own = simulate(cards=100, days=180, seed=seed)
            print(f"seed {seed}: fsrs {plain} reviews, llm quiz run {own}: ratio {own / plain:.3f}")
    else:
        measure_questions(options)


if __name__ == "__main__":
    main()
