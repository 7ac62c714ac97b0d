"""Questions about the subject of a sentence, by rule: "The worker keeps a model loaded." asks "What keeps it loaded?".

No word moves, so the question is as correct as the sentence: "What" or "Who" and the predicate, up to a second clause
(subject questions, Heilman and Smith 2010, Good Question! Statistical Ranking for Question Generation). The answer is
the subject without its article. The verb is one of a list, since many forms in -s are plurals, too; so the rule is
English.

A question points at its answer if the predicate does: log P(predicate | subject) exceeds that of other subjects of the
document by a margin, and no other sentence of the document says nearly the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from llmcli.fast_dataclass import frozen
from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.proofread import score_words
from llmcli.tasks.quiz.blank_scores import ScoredBlank, context_of, scoring_request
from llmcli.tasks.quiz.source_sentences import Blank, SourceSentence, SourceText
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import Request

MIN_TERMS, MAX_WORDS = 3, 18
"""The least number of telling words of a predicate, and the largest of all its words."""
TOLD_ELSEWHERE = 0.6
"""The share of a question's terms from which another sentence of the document says nearly the same."""
MAX_RIVALS = 6
MIN_PERSON_LEAD = 1.5
"""In nats, of "Who" over "What": small models are sure of persons, and find some programs slightly more likely to be
one."""
_NATS_PER_BIT = math.log(2)
_VERBS = (
    "accepts|adds|allows|applies|avoids|becomes|begins|belongs|brings|chooses|closes|combines|comes|compares|"
    "completes|consists|contains|continues|converts|corrects|covers|creates|decides|defines|deletes|delivers|depends|"
    "describes|determines|differs|divides|draws|eats|evaluates|excludes|expects|explains|extends|fails|finds|follows|"
    "forgets|gets|gives|goes|grows|happens|helps|hides|holds|ignores|implements|improves|includes|installs|"
    "interprets|joins|keeps|knows|lacks|lives|makes|means|moves|needs|offers|opens|owns|prevents|produces|protects|"
    "proves|provides|puts|raises|reads|receives|reduces|refers|refuses|rejects|removes|renames|replaces|represents|"
    "requires|resolves|restores|runs|saves|says|searches|selects|sends|separates|serves|shows|skips|slows|solves|"
    "specifies|suppresses|takes|tells|translates|treats|unifies|uses|verifies|wants|wins|writes|built|discovered|"
    "founded|held|invented|introduced|kept|led|published|saw|sowed|took|won|wrote"
)
_UNSURE_VERBS = (
    "answers|asks|attracts|blocks|breaks|calls|causes|changes|checks|controls|copies|costs|counts|cuts|displays|"
    "drops|ends|feeds|fills|formats|handles|leaves|lets|limits|links|lists|loads|locks|lowers|maps|marks|matches|"
    "measures|names|passes|picks|points|prints|registers|releases|repeats|reports|resets|returns|scores|sets|sorts|"
    "splits|stands|starts|stays|stops|stores|supports|tests|tracks|turns|updates|works|wraps|yields|described|"
    "designed|developed|drew|found|gave|left|lost|made|met|observed|proved|sent|stood|taught|told"
)
"""Also plurals or participles: a verb only before a word that begins its object."""
_OBJECT = r"(?=(?:a|an|the|each|every|its|their|his|her|one|two|three|four|five|six|all|any|many|several|few|some|more|most|at)\b|\d)"
_NOUN = (
    r"(?!(?:and|or|of|to|in|on|at|for|from|with|by|that|which|who|whose|if|as|than|is|are|was|were|has|have|not|no|it|they|you"
    r"|all|both|most|some|any|many|few|one|two|what|when|where|how|only|also|this|these|before|after|without|per|each|every"
    r"|other|same|such|another|more|rest|first|second|last|next|following|there|here|elsewhere|itself|alone|now|never|already|always|often"
    r"|\w+ly)\b)[^\W\d_](?:[\w+#/-]|\.(?=\w))*"
)
_SUBJECT = re.compile(
    rf"(?:(?:The|A|An|Each|Every) (?P<thing>{_NOUN}(?: {_NOUN}){{0,2}}?)|(?P<name>{_NOUN}(?: [A-Z][\w.-]*){{0,2}}))"
    rf" (?P<predicate>(?:(?:is|was|has|{_VERBS}) |(?:{_UNSURE_VERBS}) {_OBJECT}).+)[.!]\Z"
)
_PARENTHESIS = re.compile(r" \([^()]*\)")
_CLAUSE = re.compile(
    r"(?:[;:]|, (?:which|who|and|but|or|so|since|because|if|unless|when|while|with|without|as|even|not|except|until|before|after"
    r"|where|by|for|in)\b| and (?:\w+ ){1,3}(?:can|may|must|will|should|is|are|has|have)\b).*"
)
_TELLS_LITTLE = re.compile(
    r"(?:\w+ (?:not|no|never|only|what|why|how|where|like|as|that)|(?:is|was|has) (?:an?|one|for|about|over|[\d.,]+)) "
)
_UNCLEAR = re.compile(
    r"--|[,()\"\u201c\u201d]|\b(?:they|them|such|this|these|those|so|also|here|there|both|we|our|us|he|she|then|never|nothing"
    r"|instead|otherwise)\b",
    re.IGNORECASE,
)


@frozen
class SubjectQuestion:
    """The subject of a sentence as a blank, and the predicate that is asked about."""

    subject: Blank
    predicate: str

    @property
    def terms(self) -> frozenset[str]:
        """The telling words of the predicate."""
        return frozenset(find_terms(self.predicate)) - STOP_WORDS

    def ask(self, pronoun: str) -> str:
        """Return the question with "What" or "Who"."""
        return f"{pronoun} {self.predicate}?"


def find_question(sentence: SourceSentence) -> SubjectQuestion | None:
    """Return the question about the subject of a sentence.

    It is None if the rule does not fit, or the predicate tells little.
    """
    match = _SUBJECT.match(sentence.text)
    if match is None or _TELLS_LITTLE.match(match["predicate"]):
        return None
    predicate = _CLAUSE.sub("", _PARENTHESIS.sub("", match["predicate"])).strip()
    group = "thing" if match["thing"] else "name"
    found = SubjectQuestion(Blank(sentence, *match.span(group), is_exact=True), predicate)
    is_telling = len(found.terms) >= MIN_TERMS and not found.terms.intersection(find_terms(match[group]))
    is_short = len(predicate.split()) <= MAX_WORDS
    return found if is_telling and is_short and not _UNCLEAR.search(predicate) else None


class SubjectAsker:
    """Asks about the subjects of the sentences of one document."""

    def __init__(self, run: TaskRun, source: SourceText, options: GenerationOptions, prefix: str) -> None:
        self._run, self._source, self._options, self._prefix = run, source, options, prefix
        found = ((each.number, find_question(each)) for each in source.sentences)
        self._questions = {number: question for number, question in found if question is not None}
        self._terms = {each.number: frozenset(find_terms(each.text)) for each in source.sentences}

    def has_question(self, sentence: SourceSentence) -> bool:
        """Whether the rule makes a question of a sentence about a name or a word of the document's subject."""
        question = self._questions.get(sentence.number)
        return question is not None and self._source.is_of_subject(question.subject.answer)

    async def ask_about(self, sentence: SourceSentence) -> tuple[str, ScoredBlank]:
        """Return the question about a sentence that has one, and the scores of its answer."""
        question = self._questions[sentence.number]
        scored = await self._score(question, [*self._find_rivals(question)])
        is_person = question.subject.start == 0 and await self._is_person(question)
        return question.ask("Who" if is_person else "What"), scored

    def _find_rivals(self, question: SubjectQuestion) -> Iterator[str]:
        """Yield other subjects of the document, and words that look like the answer."""
        own = self._terms[question.subject.sentence.number]
        others = [each.subject.answer for each in self._questions.values()]
        others.sort(key=lambda each: -self._source.counts[each.lower()])
        names = dict.fromkeys([*others, *self._source.rivals(question.subject, MAX_RIVALS)])
        kept = [each for each in names if not own.intersection(find_terms(each))]
        yield from kept[:MAX_RIVALS]

    async def _score(self, question: SubjectQuestion, rivals: list[str]) -> ScoredBlank:
        """Score the predicate after the subject, and after each rival in its place."""
        subject = question.subject
        start = subject.start
        before = subject.sentence.text[:start]
        texts = {each: f"{before}{each} {question.predicate}" for each in (subject.answer, *rivals)}
        name = f"{subject.sentence.number}.subject"
        request = self._request(name, context_of(subject.sentence), (*texts.values(),), logprobs=0)
        scores = {each.candidate: each for each in (await self._run.ask(request)).scores}
        fits, own_bits = {}, 0.0
        for each, text in texts.items():
            (word,) = score_words(0, scores[text], [(start, start + len(each))])
            fits[each] = scores[text].logprob + word.bits * _NATS_PER_BIT
            own_bits = word.bits if each == subject.answer else own_bits
        margin = min((fits[subject.answer] - fits[each] for each in rivals), default=0.0)
        return ScoredBlank(subject, own_bits, -math.inf if self._is_told_elsewhere(question) else margin, 0.0)

    def _is_told_elsewhere(self, question: SubjectQuestion) -> bool:
        terms = question.terms
        return any(
            len(terms & other) >= TOLD_ELSEWHERE * len(terms)
            for number, other in self._terms.items()
            if number != question.subject.sentence.number
        )

    async def _is_person(self, question: SubjectQuestion) -> bool:
        """Whether the model rather asks "Who" than "What" after the sentence."""
        sentence = question.subject.sentence
        who, what = question.ask("Who"), question.ask("What")
        request = self._request(f"{sentence.number}.pronoun", f"{sentence.text}\nQuestion: ", (who, what))
        scores = {each.candidate: each.logprob for each in (await self._run.ask(request)).scores}
        return scores[who] - scores[what] >= MIN_PERSON_LEAD

    def _request(self, name: str, prompt: str, candidates: tuple[str, ...], **more: object) -> Request:
        return scoring_request(f"{self._prefix}.{name}", prompt, self._options, candidates=candidates, **more)
