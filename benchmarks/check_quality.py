"""Measures whether `llm check` tells true sentences about a document from false ones, against difflib and word overlap.

The documents are the descriptions of the Python packages that are installed beside this one. A true claim is one of
their sentences after a light paraphrase by rules (other words for common ones, another order of two parts), so that its
words are not those of the document. A false claim is such a paraphrase in which one number or one name has been
exchanged for another one of the same document, or in which a negation has been put in or taken out. Half of the claims
are false.

Signals and weights were chosen on the documents whose name has an even SHA-256; the figures are those of the odd ones.
Each claim is checked against its whole document, as `llm check` does. The figures are areas under the ROC curve (AUC),
for all claims and for each kind of error against the true claims. Baselines: the highest `difflib` ratio to a sentence
of the document, and the share of the claim's words that stand in the document. Also shown: what is compared by rule
alone, and the signals of the model alone. Errors of these kinds suit the rules; other errors are left to the model.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import random
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import common

from llmcli.backends.base import Backend
from llmcli.config.engine_options import EngineOptions
from llmcli.documents.reading.document import Document
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.check import plain_claim
from llmcli.tasks.claim_verification.claim_checks import PASSAGES_PER_CLAIM, check_claims, find_evidence
from llmcli.tasks.claim_verification.support_scorer import RULE_FEATURES, SupportScorer, support_probability
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.types import ItemFailed, Result

MIN_WORDS, MAX_WORDS = 8, 32
CLAIMS_PER_DOCUMENT = 30
KINDS = ("number", "name", "negation")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*(?![\w]|\.\w)")
_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][A-Za-z]{2,}(?: [A-Z][a-z]{2,})?(?![\w/-])")
_NEGATABLE = re.compile(r"\b(is|are|was|were|can|will|should|does|has been|have been|must|may)\b(?! not|n't|not)")
_NEGATED = re.compile(r"\b(is|are|was|were|can|will|should|does|has been|have been|must|may) not\b|\bcannot\b")
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r".+?(?:(?<=[.!?\u2026])[\"'\u201d\u2019\u00bb)\]]{0,3}(?=\s)|$)")
_MARKUP = re.compile(r"[`*_#|<>\[\]{}\\=~^$]|https?:|::|\.\. ")
_PARAPHRASES = [
    (re.compile(rf"\b{old}\b"), new)
    for old, new in (
        ("allows you to", "lets you"),
        ("allows", "permits"),
        ("provides", "offers"),
        ("provide", "offer"),
        ("in order to", "to"),
        ("is used to", "serves to"),
        ("are used to", "serve to"),
        ("such as", "for example"),
        ("However,", "But"),
        ("also", "in addition"),
        ("supports", "works with"),
        ("support for", "handling of"),
        ("a number of", "several"),
        ("requires", "needs"),
        ("require", "need"),
        ("contains", "includes"),
        ("uses", "employs"),
        ("make sure", "ensure"),
        ("if you want to", "to"),
        ("because", "since"),
        ("by default", "unless told otherwise"),
        ("library", "package"),
        ("function", "routine"),
        ("create", "make"),
        ("easily", "with ease"),
        ("simple", "plain"),
        ("fast", "quick"),
        ("many", "numerous"),
        ("must", "has to"),
        ("should", "ought to"),
        ("currently", "at present"),
        ("only", "solely"),
        ("the following", "these"),
        ("when", "whenever"),
        ("need to", "have to"),
        ("example", "sample"),
        ("available", "on offer"),
        ("version", "release"),
        ("install", "set up"),
        ("project", "undertaking"),
        ("please", "kindly"),
        ("Please", "Kindly"),
        ("This", "It"),
        ("use", "employ"),
    )
]


@dataclass(frozen=True)
class Claim:
    """``kind`` is "true" or what is wrong with it; ``text`` is checked against the document called ``document``."""

    document: str
    text: str
    kind: str


def load_documents(parity: int) -> dict[str, str]:
    """Return the descriptions of the installed packages whose name has a SHA-256 of this parity."""
    found = {}
    for each in distributions():
        name, text = each.metadata["Name"], each.metadata.get_payload()
        if isinstance(text, str) and int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == parity:
            found[name] = text
    return dict(sorted(found.items()))


def split_sentences(text: str) -> list[str]:
    """Return the sentences by a rule that stays the same, so that the claims do."""
    return _SENTENCE.findall(text)


def candidate_sentences(text: str) -> list[str]:
    """Return the sentences of prose in a document."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in split_sentences(" ".join(paragraph.split())):
            said = sentence.strip()
            long_enough = MIN_WORDS <= len(said.split()) <= MAX_WORDS
            if long_enough and said[0].isupper() and said[-1] == "." and not _MARKUP.search(said):
                found.append(said)
    return list(dict.fromkeys(found))


def paraphrase(sentence: str, choice: random.Random) -> str:
    """Return the sentence in other words, by at most three rules."""
    rules = [rule for rule in _PARAPHRASES if rule[0].search(sentence)]
    for pattern, new in choice.sample(rules, min(3, len(rules))):
        sentence = pattern.sub(new, sentence, count=1)
    before, comma, after = sentence[:-1].partition(", ")
    if comma and before.split()[0] in {"If", "When", "For", "In", "With", "By", "To", "As", "Since", "While"}:
        sentence = f"{after[0].upper()}{after[1:]}, {before[0].lower()}{before[1:]}."
    return sentence


def falsify(sentence: str, document: str, kind: str, choice: random.Random) -> str | None:
    """Return the sentence with one error of this kind, None if it has no place for it."""
    if kind == "negation":
        negated = _NEGATED.search(sentence)
        if negated:
            positive = "can" if negated[0] == "cannot" else negated[1]
            return sentence[: negated.start()] + positive + sentence[negated.end() :]
        place = _NEGATABLE.search(sentence)
        return None if place is None else f"{sentence[: place.end()]} not{sentence[place.end() :]}"
    pattern = _NUMBER if kind == "number" else _NAME
    places = list(pattern.finditer(sentence))
    others = sorted({match[0] for match in pattern.finditer(document)} - {match[0] for match in places})
    if not places or not others:
        return None
    place = choice.choice(places)
    return sentence[: place.start()] + choice.choice(others) + sentence[place.end() :]


def make_claims(documents: dict[str, str]) -> list[Claim]:
    """Return true and false claims in equal number; no sentence is used twice."""
    claims = []
    for name, text in documents.items():
        choice = random.Random(name)  # noqa: S311 (the same claims each time)
        sentences = candidate_sentences(text)
        choice.shuffle(sentences)
        true: list[Claim] = []
        false: list[Claim] = []
        flat = " ".join(text.split())
        for sentence in sentences:
            if len(true) > len(false):
                order = sorted(KINDS, key=lambda kind: (sum(claim.kind == kind for claim in [*claims, *false]), kind))
                wrong = [(kind, falsify(sentence, flat, kind, choice)) for kind in order]
                made = next(((kind, said) for kind, said in wrong if said is not None), None)
                if made is not None:
                    false.append(Claim(name, paraphrase(made[1], choice), made[0]))
            elif any(falsify(sentence, flat, kind, choice) for kind in KINDS):  # the same kind of sentences
                true.append(Claim(name, paraphrase(sentence, choice), "true"))
            if len(false) * 2 >= CLAIMS_PER_DOCUMENT:
                break
        claims += [*true[: len(false)], *false]
    return claims


def area_under_curve(scores: list[float], positive: list[bool]) -> float:
    """Return the probability that a positive has a higher score than a negative; equal scores count one half.

    NaN if all or none are positive.
    """
    ranked = sorted(zip(scores, positive, strict=True))
    wins, negatives, index = 0.0, 0, 0
    while index < len(ranked):
        end = index
        while end < len(ranked) and ranked[end][0] == ranked[index][0]:
            end += 1
        tied = ranked[index:end]
        above, below = sum(each[1] for each in tied), sum(not each[1] for each in tied)
        wins += above * (negatives + below / 2)
        negatives += below
        index = end
    pairs = sum(positive) * negatives
    return wins / pairs if pairs else math.nan


def difflib_ratio(claim: str, document: str) -> float:
    """Return the highest ratio to a sentence of the document."""
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(claim)
    best = 0.0
    for sentence in split_sentences(" ".join(document.split())):
        matcher.set_seq1(sentence.strip())
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
            best = max(best, matcher.ratio())
    return best


def word_overlap(claim: str, document: str) -> float:
    """Return the share of the claim's words that stand in the document."""
    known = {word.casefold() for word in _WORD.findall(document)}
    said = [word.casefold() for word in _WORD.findall(claim)]
    return sum(word in known for word in said) / len(said)


def strongest_features(
    backend: Backend, documents: Mapping[str, str], claims: list[Claim], passages: int
) -> list[dict[str, float]]:
    """Return the features of the strongest support of each claim, as ``llm check`` finds it."""
    scorer = SupportScorer(backend, PromptLibrary(Path("none")), GenerationOptions())
    found: list[dict[str, float]] = []

    async def check_document(run: TaskRun) -> Result:
        own = [plain_claim(claim.text) for claim in claims if claim.document == run.name]
        evidence = find_evidence([Document(run.name, documents[run.name])], own, passages)
        checked = await check_claims(run, scorer, own, evidence, run.name)
        found.extend(dict(supports[0].features) for supports in checked.supports)
        return run.result(None)

    for name in dict.fromkeys(claim.document for claim in claims):
        for event in run_task(backend, check_document, name=name):
            if isinstance(event, ItemFailed):
                raise event.error
    return found


def main() -> None:
    """Check the claims and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--even", action="store_true", help="the documents that weights were chosen on")
    parser.add_argument("--count", type=int, help="claims (default: all)")
    parser.add_argument("--passages", type=int, default=PASSAGES_PER_CLAIM, help="for each claim")
    options = parser.parse_args()
    documents = load_documents(parity=0 if options.even else 1)
    claims = make_claims(documents)[: options.count]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as kept:
        model = common.model_path(options.model)
        with common.open_engine(model, EngineOptions(cache=Path(kept))) as backend:
            features = strongest_features(backend, documents, claims, options.passages)
    seconds = time.perf_counter() - started
    scores = {
        "llm check": [support_probability(each) for each in features],
        "  by rule alone": [_partial(each, lambda name: name in RULE_FEATURES) for each in features],
        "  by the model alone": [_partial(each, lambda name: name not in RULE_FEATURES) for each in features],
        "difflib ratio": [difflib_ratio(claim.text, documents[claim.document]) for claim in claims],
        "word overlap": [word_overlap(claim.text, documents[claim.document]) for claim in claims],
    }
    rows = []
    for name, values in scores.items():
        row = [name, f"{area_under_curve(values, [claim.kind == 'true' for claim in claims]):.3f}"]
        for kind in KINDS:
            chosen = [index for index, claim in enumerate(claims) if claim.kind in {"true", kind}]
            true = [claims[index].kind == "true" for index in chosen]
            row.append(f"{area_under_curve([values[index] for index in chosen], true):.3f}")
        rows.append(row)
    kinds = ", ".join(f"{sum(claim.kind == kind for claim in claims)} {kind}" for kind in ("true", *KINDS))
    print(
        f"{len(claims)} claims ({kinds}) about {len({claim.document for claim in claims})} documents, {seconds:.0f} s"
    )
    common.print_table(rows, ["AUC", "all", *KINDS])


def _partial(features: Mapping[str, float], wanted: Callable[[str], bool]) -> float:
    return support_probability({name: value for name, value in features.items() if wanted(name)})


if __name__ == "__main__":
    main()
