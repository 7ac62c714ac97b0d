"""The quality of translations by translating them back (translate --qe back-translation), without a reference.

The model translates each translation into the language of the source, without the user's instructions. The two texts
are compared by chrF, the F-score of character n-grams. Source: Popovic 2015, "chrF: character n-gram F-score for
automatic MT evaluation", with the averages of sacrebleu (Post 2018).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llmcli.errors import PartialError
from llmcli.errors.incomplete_results import LARGER_MODEL_ADVICE, AnswerRefused
from llmcli.fast_dataclass import replace
from llmcli.tasks.languages import Language, detect_language, parse_language
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.translate.answer_checks import clean_answer
from llmcli.tasks.translate.quality import rank_segments, without_code
from llmcli.tasks.translate.segment_state import SegmentOutcome
from llmcli.tasks.translate.translator import Brief, Translator, max_translation_tokens
from llmcli.types import Result

MIN_CHRF = 30.0
"""A translation with a lower score is doubtful."""
_MIN_LETTERS = 20
"""Letters of a source below which another word for the same may make all the difference."""
_MAX_SHOWN_CHARS = 100
_MAX_ORDER = 6
_RECALL_WEIGHT = 2
"""How many times more recall counts than precision (beta)."""


async def add_back_translations(
    run: TaskRun, translator: Translator, result: Result, outcomes: Sequence[SegmentOutcome]
) -> tuple[Result, list[SegmentOutcome]]:
    """Return a result with the field ``quality``, and the outcomes with the back-translation and chrF of each segment.

    ``quality`` lists the segments as that of ``add_quality_estimates`` does. A doubtful translation is a warning, and
    makes the result incomplete. A segment has no estimate if the model refuses to translate it back, and none has if
    the language of the source is unknown. Raises the failure of a request.
    """
    source = _source_language(result, outcomes)
    rows, doubtful = list(outcomes), 0
    if source is None:
        run.warn("the language of the source is unknown, so nothing is translated back: see --from")
    else:
        found = await _translate_back(run, translator, source, outcomes)
        for index, row in enumerate(outcomes):
            back = found.get(row.translation or "")
            if back is None:
                continue
            score = round(chrf(_plain(back), _plain(row.source)), 1)
            rows[index] = replace(row, suspicion=round(1 - score / 100, 2), back_translation=back, chrf=score)
            if score < MIN_CHRF and sum(map(str.isalpha, without_code(row.source))) >= _MIN_LETTERS:
                doubtful += 1
                place = f"{row.part}: \u201c{_shorten(row.source)}\u201d" if row.part else f"line {row.line}"
                run.warn(f"{place}: doubtful (chrF {score:.0f}): translated back, it says: {_shorten(back)}")
    incomplete = result.incomplete
    if doubtful and not result.cut:
        what = "translation is" if len(outcomes) == 1 else "translations are"
        incomplete = PartialError(
            message=f"{doubtful} of {len(outcomes)} {what} doubtful",
            advice=f"The warnings say where; {LARGER_MODEL_ADVICE}",
            type_name="DoubtfulTranslations",
        )
    return replace(
        result,
        fields={**result.fields, "quality": rank_segments(rows)},
        model=result.model or translator.backend.info().model,
        usage=run.usage.usage,
        warnings=tuple(dict.fromkeys([*result.warnings, *run.warnings])),
        cut=result.cut or doubtful > 0,
        incomplete=incomplete,
    ), rows


def _source_language(result: Result, outcomes: Sequence[SegmentOutcome]) -> Language | None:
    code = result.fields["from"]
    return parse_language(code) if code else detect_language("\n".join(row.source for row in outcomes))


async def _translate_back(
    run: TaskRun, translator: Translator, source: Language, outcomes: Sequence[SegmentOutcome]
) -> dict[str, str]:
    """Return the back-translations by translation; each text is translated once."""
    back = replace(translator, target=source, brief=Brief())
    texts = list(dict.fromkeys(row.translation for row in outcomes if row.translation))

    async def ask(index: int) -> str | None:
        text = texts[index]
        limit = max_translation_tokens(len(text))
        request = back.make_translation_request(f"{run.item}.back.{index}", text, limit, source=translator.target)
        try:
            answer = await run.ask(request)
        except AnswerRefused:
            return None
        return clean_answer(text, answer.text)

    answers = [answer async for answer in run.each(range(len(texts)), ask)]
    return {text: answer for text, answer in zip(texts, answers, strict=True) if answer is not None}


def _plain(text: str) -> str:
    return without_code(text).casefold()


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN_CHARS else f"{line[:_MAX_SHOWN_CHARS]}..."


def chrf(text: str, reference: str) -> float:
    """Return the F-score of the character n-grams of a text, from 0 to 100; white space does not count."""
    one, other = ("".join(each.split()) for each in (text, reference))
    precision = recall = 0.0
    orders = 0
    for order in range(1, min(_MAX_ORDER, len(one), len(other)) + 1):
        said, wanted = (Counter(each[at : at + order] for at in range(len(each) - order + 1)) for each in (one, other))
        same = (said & wanted).total()
        precision += same / said.total()
        recall += same / wanted.total()
        orders += 1
    if not precision:
        return 0.0
    precision, recall, weight = precision / orders, recall / orders, _RECALL_WEIGHT**2
    return 100 * (1 + weight) * precision * recall / (weight * precision + recall)
