"""Measures whether `llm translate --qe` ranks damaged translations above right ones, against the ratio of lengths.

The segments are messages of a PO file that translators wrote, such as that of Django. Each of ``--count`` messages
stands for itself, as a right translation, and once for each error that can be made in it: another number (of messages
with digits), a negation put in or taken out, words left out (a quarter of them), words of another message in their
place, the translation of another message, and the source text itself (no translation at all). The figures are areas
under the ROC curve (AUC) for all and for each error against the right translations. The typical length and surprisal
are those of the right translations, as in a document most of which is right.

Features and weights were chosen on the messages whose source has an even SHA-256 (``--even``) in German; the figures
are those of the odd ones.
"""

from __future__ import annotations

import hashlib
import random
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import common
from check_quality import area_under_curve

from llmcli.config.engine_options import EngineOptions
from llmcli.documents.formats.message_files.po_parser import parse_entries
from llmcli.fast_dataclass import replace
from llmcli.prompts.prompt_library import PromptLibrary
from llmcli.tasks.languages import parse_language
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun, run_task
from llmcli.tasks.translate.quality import QualityFeatures, measure_translations, suspicion, typical_features
from llmcli.tasks.translate.segment_state import SegmentOutcome, SegmentStatus
from llmcli.tasks.translate.translator import Translator
from llmcli.types import ItemFailed, Result

KINDS = ("number", "negation", "left out", "other words", "other message", "untranslated")
_MIN_WORDS, _MAX_CHARACTERS = 5, 300
_DIGITS = re.compile(r"\d+")
_NEGATIONS = {"de": ("nicht", "kein"), "fr": ("pas", "aucun"), "es": ("no", "ning"), "it": ("non", "nessun")}


@dataclass(frozen=True)
class Pair:
    """A source text and a translation; ``kind`` is what is wrong with it, "" for a right one."""

    source: str
    translation: str
    kind: str = ""


def load_pairs(files: list[Path], count: int, parity: int) -> list[Pair]:
    """Return translated messages of at least five words, always the same ones, whose sources have this parity."""
    found = {}
    for file in files:
        for entry in parse_entries(file.read_text(encoding="utf-8")):
            source, translation = entry.value("msgid"), entry.value("msgstr")
            is_usable = len(source.split()) >= _MIN_WORDS and len(source) <= _MAX_CHARACTERS
            if translation and is_usable and hashlib.sha256(source.encode()).digest()[0] % 2 == parity:
                found[source] = Pair(source, translation)
    pairs = list(found.values())
    random.Random(1).shuffle(pairs)  # noqa: S311 (the same messages each time)
    return pairs[:count]


def damage(pair: Pair, pairs: list[Pair], target: str, choice: random.Random) -> list[Pair]:
    """Return the translations of a message with one error each."""
    words, other = pair.translation.split(" "), choice.choice([each for each in pairs if each != pair])
    made = {"other message": other.translation, "untranslated": pair.source}
    number = _DIGITS.search(pair.translation)
    if number is not None:
        wrong = str(int(number[0]) + choice.randint(1, 60))
        made["number"] = pair.translation[: number.start()] + wrong + pair.translation[number.end() :]
    negation = _NEGATIONS.get(target, ("not",))[0]
    if negation in words:
        made["negation"] = " ".join(word for word in words if word != negation)
    elif len(words) > 3:
        at = choice.randrange(2, len(words))
        made["negation"] = " ".join([*words[:at], negation, *words[at:]])
    count = max(1, len(words) // 4)
    at = choice.randrange(len(words) - count + 1)
    made["left out"] = " ".join(words[:at] + words[at + count :])
    there = other.translation.split(" ")[:count]
    made["other words"] = " ".join(words[:at] + there + words[at + count :])
    return [Pair(pair.source, text, kind) for kind, text in made.items() if text not in {"", pair.translation}]


def main() -> None:
    """Score and print."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("po", type=Path, nargs="+", help="PO files with translations from English")
    parser.add_argument("--to", default="de", help="their language (default: de)")
    parser.add_argument("--count", type=int, default=200, help="messages (default: 200)")
    parser.add_argument("--even", action="store_true", help="the messages that weights were chosen on")
    parser.add_argument("--threads", type=int, help="one thread is faster than two on a busy machine")
    options = parser.parse_args()
    pairs = load_pairs(options.po, options.count, parity=0 if options.even else 1)
    choice = random.Random(2)  # noqa: S311 (the same errors each time)
    scored = [*pairs, *(wrong for pair in pairs for wrong in damage(pair, pairs, options.to, choice))]
    rows = [SegmentOutcome(1, "message", SegmentStatus.EXISTING, each.source, each.translation) for each in scored]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as kept:
        model = common.model_path(options.model)
        prompt = PromptLibrary(Path(kept)).get("translate")
        with common.open_engine(model, EngineOptions(cache=Path(kept), threads=options.threads)) as backend:
            translator = Translator(backend, prompt, GenerationOptions(), parse_language(options.to))
            found: dict[int, QualityFeatures] = {}

            async def measure(run: TaskRun) -> Result:
                found.update(await measure_translations(run, translator, rows, parse_language("en")))
                return run.result(None)

            for event in run_task(backend, measure):
                if isinstance(event, ItemFailed):
                    raise event.error
    measured = [found[number] for number in range(len(scored))]
    typical = typical_features(measured[: len(pairs)])
    rated = {
        "llm translate --qe": [suspicion(each, typical) for each in measured],
        "  by rule alone": [suspicion(replace(each, surprisal=typical.surprisal), typical) for each in measured],
        "  by surprisal alone": [each.surprisal for each in measured],
    }
    lengths = [abs(len(each.translation) / len(each.source) - 1.2) for each in scored]
    print(f"{len(pairs)} messages, {len(scored)} translations, {time.perf_counter() - started:.0f} s")
    table = []
    for name, values in {**rated, "length ratio": lengths}.items():
        row = [name]
        for kinds in (KINDS, *((kind,) for kind in KINDS)):
            chosen = [n for n, each in enumerate(scored) if not each.kind or each.kind in kinds]
            wrong = [bool(scored[n].kind) for n in chosen]
            row.append(f"{area_under_curve([values[n] for n in chosen], wrong):.3f}" if any(wrong) else "")
        table.append(row)
    counts = [sum(each.kind == kind for each in scored) for kind in KINDS]
    header = ["AUC", f"all {sum(counts)}", *(f"{kind} {n}" for kind, n in zip(KINDS, counts, strict=True))]
    common.print_table(table, header)


if __name__ == "__main__":
    main()
