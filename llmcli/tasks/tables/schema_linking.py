"""Links between the words of a question and a table: the columns, values and rows that they name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum

from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.tables.column_roles import ColumnFacts, ColumnRole, find_roles
from llmcli.tasks.tables.question_words import (
    MONTHS,
    TIME_UNITS,
    QuestionCue,
    QuestionWord,
    comparative_of,
    find_cue,
    is_plain,
    is_search_verb,
    is_unit,
    is_unit_name,
    name_words,
    other_names,
    parse_sign,
    question_language,
    relation,
    singular,
    superlative_of,
)
from llmcli.tasks.tables.table_database import QueryError, TableDatabase, quote_name
from llmcli.tasks.tables.table_loader import Table

_MAX_VALUE_WORDS = 6
_MIN_ABBREVIATION = 3
_KEY_NAMES = frozenset({"name", "title"})
_BOOLEAN_TEXTS = (frozenset({"yes", "no"}), frozenset({"true", "false"}), frozenset({"y", "n"}), frozenset({"t", "f"}))
_CODE = re.compile(r"[A-Z]{2,4}|[a-z]{2,3}")
_MIN_CODES_SHARE = 0.9
_DEMONYM_ENDS = ("an", "ese", "ish", "ic", "i")
_TOKEN = re.compile(r"\w+")
_LIST_SPLIT = re.compile(r"[\s,;|/]+")


class SchemaLinkKind(StrEnum):
    """What a link names."""

    COLUMN = "column"
    VALUE = "value"
    ROWS = "rows"
    CUE = "cue"
    SUPERLATIVE = "superlative"
    NUMBER = "number"
    MONTH = "month"
    SIGN = "sign"
    PLAIN = "plain"
    UNKNOWN = "unknown"


@frozen
class ValueMatch:
    """Texts of a column that words name. ``exact``: each is ``text`` as a whole; ``pattern``: what LIKE finds them by.

    ``text``: the words, if they are not the whole text. ``longer``: another text that has the words among others.
    """

    column: ColumnFacts
    values: tuple[str, ...]
    exact: bool = True
    pattern: str = ""
    text: str = ""
    longer: str = ""


@frozen
class SchemaLink:
    """Words of the question, from ``start`` on, and what they name. ``before``: the word before them.

    ``columns``: those that the words may mean; ``whole``: they are its whole name. ``unit``: of a number.
    """

    kind: SchemaLinkKind
    words: tuple[QuestionWord, ...]
    start: int = 0
    before: str = ""
    cue: QuestionCue | None = None
    columns: tuple[ColumnFacts, ...] = ()
    whole: bool = False
    values: tuple[ValueMatch, ...] = ()
    direction: str = ""
    unit: str = ""

    @property
    def is_name(self) -> bool:
        """Whether unknown words are a name: in quotation marks, or with a capital letter within the sentence."""
        word = self.words[0]
        return self.kind is SchemaLinkKind.UNKNOWN and (word.quoted or (self.start > 0 and word.text[0].isupper()))

    @property
    def text(self) -> str:
        """The words as they stand in the question."""
        return " ".join(word.text for word in self.words)


class TableVocabulary:
    """The names and texts of a table that questions may use."""

    def __init__(self, database: TableDatabase, table: Table) -> None:
        """Read the columns and, of those with at most ``MAX_ROWS`` of them, the texts. Raises ``QueryError``."""
        self._database = database
        self.table = table
        self.columns = find_roles(database, table)
        self._nouns = {singular(word) for word in name_words(table.name)}
        self._texts: dict[str, dict[str, list[str]]] = {}
        """Of each column of texts, the texts in lower case; without those of columns that have too many."""
        self._large: list[ColumnFacts] = []
        self._lists: set[str] = set()
        self._question: Sequence[QuestionWord] = ()
        self._booleans: dict[str, str] = {}
        """The condition for each column of truth values."""
        for column in self.columns:
            self._read_texts(column)
        self.key = self._find_key()

    def _read_texts(self, column: ColumnFacts) -> None:
        if column.numeric:
            if column.distinct in {1, 2} and column.low >= 0 and column.high == 1 and not column.mixed:
                self._booleans[column.name] = f"{column.quoted} = 1"
            return
        found = self._database.query(
            f"SELECT DISTINCT {column.quoted} FROM {quote_name(self.table.name)} WHERE {column.quoted} IS NOT NULL"  # noqa: S608 (quoted)
        )
        if found.truncated:
            self._large.append(column)
            return
        texts: dict[str, list[str]] = defaultdict(list)
        for (value,) in found.rows:
            texts[" ".join(_TOKEN.findall(str(value).lower()))].append(str(value))
        self._texts[column.name] = texts
        if any(texts.keys() <= pair for pair in _BOOLEAN_TEXTS) and texts:
            true = [values[0] for key, values in texts.items() if key in {"yes", "true", "y", "t"}]
            if true:
                self._booleans[column.name] = f"{column.quoted} = {quote_text(true[0])}"
        cells = [value for values in texts.values() for value in values]
        parts = [part for cell in cells for part in _LIST_SPLIT.split(cell) if part]
        is_codes = sum(_CODE.fullmatch(part) is not None for part in parts) >= _MIN_CODES_SHARE * len(parts)
        if parts and len(parts) > len(cells) and is_codes:
            self._lists.add(column.name)

    def _find_key(self) -> ColumnFacts | None:
        """Return the column that says which row it is: the one called as the table, a name, or texts that differ."""
        texts = [each for each in self.columns if not each.numeric and each.role is not ColumnRole.DATE]
        for column in texts:
            nouns = {singular(word) for word in name_words(column.name)}
            if nouns and nouns <= self._nouns and 2 * column.distinct > column.filled:
                return column
        differing = [each for each in texts if 2 * each.distinct > each.filled > 0]
        named = [each for each in differing if _KEY_NAMES & {*name_words(each.name)}]
        dates = [each for each in self.columns if each.role is ColumnRole.DATE and each.distinct == each.filled]
        return next(iter([*named, *differing, *dates]), None)

    def true_condition(self, column: ColumnFacts) -> str | None:
        """Return the condition that a column of truth values is true; None for another column."""
        return self._booleans.get(column.name)

    def date_separator(self, column: ColumnFacts) -> str:
        """Return "-" or "/", which stands between year and month."""
        (first,) = self._database.query(f"SELECT MIN({column.quoted}) FROM {quote_name(self.table.name)}").rows[0]  # noqa: S608 (quoted)
        return str(first)[4:5] or "-"

    def time_columns(self) -> list[ColumnFacts]:
        """Return the columns that hold dates or years."""
        years = [each for each in self.columns if each.numeric and "year" in name_words(each.name)]
        return [*(each for each in self.columns if each.role is ColumnRole.DATE and not each.unread), *years]

    def link(self, words: Sequence[QuestionWord]) -> list[SchemaLink]:
        """Return what the words name, without those that change nothing; the longest and most exact name counts."""
        links: list[SchemaLink] = []
        self._question, at = words, 0
        self._look_up_large(words)
        while at < len(words):
            found = self._link_first(words[at:])
            if found.kind is not SchemaLinkKind.PLAIN:
                links.append(replace(found, start=at, before=words[at - 1].key if at else ""))
            at += len(found.words)
        return links

    def _link_first(self, words: Sequence[QuestionWord]) -> SchemaLink:
        """Return what the first words name: whole names count before cues, and these before parts of names."""
        cue = _find_cue(words)
        plain = cue is not None or is_plain(words[0], language=question_language(self._question))
        return (
            self._link_number(words)
            or self._link_exact(words, cue, plain=plain)
            or self._link_cue(words, cue)
            or self._link_rows(words[0])
            or (self._link_plain(words[0]) if plain else None)
            or self._link_sign(words[0])
            or self._link_derived(words)
            or SchemaLink(SchemaLinkKind.UNKNOWN, (words[0],))
        )

    def _link_number(self, words: Sequence[QuestionWord]) -> SchemaLink | None:
        """Return a number with its unit; the unit may begin the name of a column ("miles per gallon")."""
        if words[0].number is None and not words[0].is_date:
            return None
        if len(words) > 1 and is_unit(words[1]) and self._match_columns(words[1:])[2] != 0:
            return SchemaLink(SchemaLinkKind.NUMBER, tuple(words[:2]), unit=words[1].key)
        return SchemaLink(SchemaLinkKind.NUMBER, (words[0],))

    def _link_exact(
        self, words: Sequence[QuestionWord], cue: tuple[QuestionCue, int] | None, *, plain: bool
    ) -> SchemaLink | None:
        """Return the whole name of a column, or a whole text, that is not shorter than the cue."""
        columns, column_length, rank = self._match_columns(words)
        if rank != 0 or (cue is not None and cue[0] is QuestionCue.LIST and words is self._question):
            column_length = 0
        values, value_length = self._match_values(words, plain=plain)
        cue_length = cue[1] if cue is not None else 1
        if values and value_length > column_length and value_length >= cue_length:
            return SchemaLink(SchemaLinkKind.VALUE, tuple(words[:value_length]), values=values)
        if column_length == 1 and self._denotes_rows(words[0], columns):
            return SchemaLink(SchemaLinkKind.ROWS, (words[0],))
        if column_length >= cue_length:
            return SchemaLink(SchemaLinkKind.COLUMN, tuple(words[:column_length]), columns=columns, whole=True)
        return None

    def _denotes_rows(self, word: QuestionWord, columns: Sequence[ColumnFacts]) -> bool:
        """Whether a plural names the rows and no numbers: "flights" in a table of flights with their numbers."""
        is_plural = singular(word.key) != word.key and singular(word.key) in self._nouns
        return is_plural and all(each.numeric and each.name.lower() != word.key for each in columns)

    def _link_cue(self, words: Sequence[QuestionWord], cue: tuple[QuestionCue, int] | None) -> SchemaLink | None:
        """Return "more than", "heavier than", "heaviest" or another word that says what to compute."""
        comparative = comparative_of(words[0].key) if len(words) > 1 and words[1].key == "than" else None
        if comparative is not None:
            comparison = QuestionCue.OVER if comparative[0] == "MAX" else QuestionCue.UNDER
            return SchemaLink(SchemaLinkKind.CUE, tuple(words[:2]), cue=comparison, columns=self._named(comparative[1]))
        superlative = superlative_of(words[0].key)
        if superlative is not None:
            columns = self._named(superlative[1])
            return SchemaLink(SchemaLinkKind.SUPERLATIVE, (words[0],), columns=columns, direction=superlative[0])
        return None if cue is None else SchemaLink(SchemaLinkKind.CUE, tuple(words[: cue[1]]), cue=cue[0])

    def _link_rows(self, word: QuestionWord) -> SchemaLink | None:
        """Return a name of the rows, or of a month if there are dates."""
        if not word.quoted and singular(word.key) in self._nouns:
            return SchemaLink(SchemaLinkKind.ROWS, (word,))
        is_month = word.key in MONTHS and (word.text[0].isupper() or len(word.key) > _MIN_ABBREVIATION)
        return SchemaLink(SchemaLinkKind.MONTH, (word,)) if is_month and self.time_columns() else None

    def _link_plain(self, word: QuestionWord) -> SchemaLink:
        """Return that a word changes nothing; in capitals it is a name ("US", "discipline A")."""
        return SchemaLink(SchemaLinkKind.UNKNOWN if self._is_in_capitals(word) else SchemaLinkKind.PLAIN, (word,))

    def _link_sign(self, word: QuestionWord) -> SchemaLink | None:
        """Return "negative" or "positive" where columns have numbers of both kinds; ``direction``: "<" or ">"."""
        sign = None if word.quoted else parse_sign(word.key)
        columns = tuple(column for column in self.columns if column.has_signs)
        return SchemaLink(SchemaLinkKind.SIGN, (word,), columns=columns, direction=sign) if sign and columns else None

    def _is_in_capitals(self, word: QuestionWord) -> bool:
        if word.text == "I" or word is self._question[0]:
            return False
        return word.text.isupper() and not all(other.text.isupper() for other in self._question if other.text.isalpha())

    def _link_derived(self, words: Sequence[QuestionWord]) -> SchemaLink | None:
        """Return a part of a name, a word derived from a text or a part of one, or another noun for a column."""
        columns, length, _ = self._match_columns(words)
        if columns:
            return SchemaLink(SchemaLinkKind.COLUMN, tuple(words[:length]), columns=columns)
        for length in range(min(_MAX_VALUE_WORDS, len(words)), 0, -1):
            values = (self._match_related(words[0]) if length == 1 else ()) or self._match_contained(words[:length])
            if values:
                return SchemaLink(SchemaLinkKind.VALUE, tuple(words[:length]), values=values)
        dates = [column for column in self.columns if column.role is ColumnRole.DATE]
        is_time = len(dates) == 1 and singular(words[0].key) in TIME_UNITS
        named = tuple(dates) if is_time else self._named(other_names(words[0].key))
        return SchemaLink(SchemaLinkKind.COLUMN, (words[0],), columns=named) if named else None

    # ---- columns -----------------------------------------------------------------------------------------------------

    def _match_columns(self, words: Sequence[QuestionWord]) -> tuple[tuple[ColumnFacts, ...], int, int]:
        """Return the columns whose names have the most words in common with the first ones, how many, and the rank.

        The rank is 0 if the words are the whole name.
        """
        if words[0].quoted:
            exact = [each for each in self.columns if each.name.lower() == words[0].key]
            return tuple(exact[:1]), 1, 0 if exact else 9
        matches = [(*_match_name(column.name, words), column) for column in self.columns]
        most = max((matched for matched, *_ in matches), default=0)
        if not most:
            return (), 0, 9
        best = sorted((each[1:] for each in matches if each[0] == most), key=lambda each: each[1])
        chosen = [each for each in best if each[1] == 0] or best
        columns = [column for *_, column in chosen]
        if chosen[0][1] == 0:
            columns += [each for each in self.columns if any(_is_copy(each.name, whole.name) for whole in columns)]
        return tuple(columns), max(used for used, *_ in chosen), chosen[0][1]

    def _named(self, nouns: Sequence[str]) -> tuple[ColumnFacts, ...]:
        """Return the columns that have one of the nouns in their names."""
        for noun in nouns:
            found = [each for each in self.columns if any(_names(word, noun) for word in name_words(each.name))]
            if found:
                return tuple(found)
        return ()

    # ---- values ------------------------------------------------------------------------------------------------------

    def _look_up_large(self, words: Sequence[QuestionWord]) -> None:
        """Look for runs of the words among the texts of columns that have too many to be kept.

        A common word is no name there: a film "Out" is not meant by "came out".
        """
        common = {word.key for word in words if word.text.islower() and not word.quoted}
        runs = {
            " ".join(word.key for word in words[at : at + length])
            for length in range(1, _MAX_VALUE_WORDS + 1)
            for at in range(len(words) - length + 1)
        }
        wanted = ", ".join(map(quote_text, sorted(runs)))
        for column in self._large:
            try:
                found = self._database.query(
                    f"SELECT DISTINCT {column.quoted} FROM {quote_name(self.table.name)} WHERE LOWER({column.quoted}) IN ({wanted})"  # noqa: S608 (quoted)
                )
            except QueryError:  # the question is too long, or the table: then its words are not explained
                continue
            texts: dict[str, list[str]] = defaultdict(list)
            for (value,) in found.rows:
                if str(value).lower() not in common or str(value)[:1].islower():
                    texts[" ".join(_TOKEN.findall(str(value).lower()))].append(str(value))
            self._texts[column.name] = texts

    def _match_values(self, words: Sequence[QuestionWord], *, plain: bool) -> tuple[tuple[ValueMatch, ...], int]:
        """Return the texts that the first words are, and how many words; a plain word only if it has capitals."""
        for length in range(min(_MAX_VALUE_WORDS, len(words)), 0, -1):
            if length > 1 and any(word.quoted for word in words[:length]):
                continue
            first = words[0]
            if length == 1 and not first.quoted and not self._may_be_value(first, plain=plain):
                continue
            key = " ".join(part for word in words[:length] for part in _TOKEN.findall(word.key))
            last = words[length - 1].key
            keys = (
                [key, f"{key.removesuffix(last)}{singular(last)}", f"{key}s", f"{key}es"] if not first.quoted else [key]
            )
            for candidate in dict.fromkeys(keys):
                found = [
                    self._as_match(column, self._texts[column.name][candidate], candidate)
                    for column in self.columns
                    if candidate in self._texts.get(column.name, {})
                    and _same_case(first.text, self._texts[column.name][candidate])
                ]
                if found:
                    return tuple(found), length
        return (), 0

    def _as_match(self, column: ColumnFacts, values: Sequence[str], key: str) -> ValueMatch:
        """Return the match of whole texts; in a column of lists of codes, also of lists with the code."""
        if column.name in self._lists:
            return self._find_in_texts(column, key) or ValueMatch(column, tuple(values))
        others = () if column in self._large else (text for text in self._texts[column.name] if text != key)
        longer = next((text for text in others if f" {key} " in f" {text} "), "")
        return ValueMatch(column, tuple(values), longer=self._texts[column.name][longer][0] if longer else "")

    def _may_be_value(self, word: QuestionWord, *, plain: bool) -> bool:
        """Whether a word alone may be a text: a plain word and a letter only in capitals."""
        if len(word.key) == 1:
            return word.text == "I" or self._is_in_capitals(word)
        return not plain or _is_capitals(word.text)

    def _match_related(self, word: QuestionWord) -> tuple[ValueMatch, ...]:
        """Return the texts from which a word is derived, or which are derived from it; the nearest ones."""
        best, found = 99, dict[str, tuple[ColumnFacts, list[str]]]()
        if word.quoted or len(word.key) < _MIN_ABBREVIATION:
            return ()
        for column in self.columns:
            for key, values in self._texts.get(column.name, {}).items():
                distance = relation(word.key, key)
                if distance is not None and distance > 1 and not self._may_be_derived(word, key, column):
                    continue
                if distance is not None and distance <= best:
                    found = {} if distance < best else found
                    best = distance
                    found.setdefault(column.name, (column, []))[1].extend(values)
        text = word.text if best > 1 else ""
        matches = [
            ValueMatch(column, tuple(values), text=text) for column, values in found.values() if len(values) == 1
        ]
        return tuple(matches)

    def _may_be_derived(self, word: QuestionWord, key: str, column: ColumnFacts) -> bool:
        """Whether a word may stand for a text with another end: no name for another name ("Paula", "Paul")."""
        if column == self.key:
            return False
        is_name = word.text[0].isupper() and word is not self._question[0]
        return not is_name or any(each.endswith(_DEMONYM_ENDS) for each in (word.key, key))

    def _match_contained(self, words: Sequence[QuestionWord]) -> tuple[ValueMatch, ...]:
        """Return the texts that have the words among others, if these are texts of one column.

        Sentences are searched only for quoted words, and for those after a verb such as "mention".
        """
        if len(words[0].key) < _MIN_ABBREVIATION or any(word.number is not None for word in words):
            return ()
        key = " ".join(part for word in words for part in _TOKEN.findall(word.key))
        earlier = self._question[: next(at for at, word in enumerate(self._question) if word is words[0])]
        searched = words[0].quoted or any(map(is_search_verb, earlier))
        found = [
            self._find_in_texts(column, key)
            for column in self.columns
            if column.name in self._texts and (searched or not column.is_prose)
        ]
        matches = tuple(match for match in found if match is not None)
        return matches if len(matches) == 1 else ()

    def _find_in_texts(self, column: ColumnFacts, key: str) -> ValueMatch | None:
        texts = self._texts[column.name]
        for wanted in dict.fromkeys((key, singular(key))):
            having = [text for text in texts if f" {wanted} " in f" {text} "]
            if having:
                values = tuple(value for text in having for value in texts[text])
                # the case of other letters than ASCII counts in LIKE, and "_" is any letter
                like = [value for text in texts for value in texts[text] if wanted in value.lower()]
                is_pattern = wanted.isascii() and "_" not in wanted and len(like) == len(values)
                return ValueMatch(column, values, exact=False, pattern=wanted if is_pattern else "", text=wanted)
        return None


def _find_cue(words: Sequence[QuestionWord]) -> tuple[QuestionCue, int] | None:
    """Return the cue that the first words are; "and under 10" is no limit of the number before it."""
    cue = find_cue(words)
    if cue is None or words[0].key not in {"and", "or"} or not len(words) > cue[1] > 1:
        return cue
    following = words[cue[1]]
    return find_cue(words[:1]) if following.number is not None or following.key == "than" else cue


def _is_capitals(text: str) -> bool:
    return len(text) > 1 and text.isupper()


def _same_case(text: str, values: Sequence[str]) -> bool:
    """Whether a short word in capitals stands so in a text: "UK" is not the language "uk"."""
    is_short = text.isupper() and len(text) <= _MIN_ABBREVIATION
    return not is_short or any(text in value for value in values)


def _match_name(name: str, words: Sequence[QuestionWord]) -> tuple[int, int, int]:
    """Return how many words of a name the first words are, how many these are, and the rank (0: all)."""
    if words[0].key == name.lower():
        return len(name_words(name)), 1, 0
    parts = name_words(name)
    while len(parts) > 1 and is_unit_name(parts[-1]):
        parts.pop()
    left, matched, used, exact, skipped = [*parts], 0, 0, True, -1
    for at, word in enumerate(words):
        part = next((each for each in left if _names(each, word.key)), None)
        joined = word.key + words[at + 1].key if part is None and at + 1 < len(words) else ""  # "per capita": percap
        if joined and (
            part := next((each for each in left if len(each) > _MIN_ABBREVIATION and joined.startswith(each)), None)
        ):
            left.remove(part)
            matched, used, exact, skipped = matched + 1, at + 2, False, at + 1
        elif at == skipped:
            continue
        elif part is not None:
            left.remove(part)
            matched, used = matched + 1, at + 1
            exact = exact and singular(part) == singular(word.key)
        elif at == 0 or not left or word.key not in {"of", "the", "in"}:
            break
    connecting = {"of", "per", "in", "the", "is", "has"}
    rest = [each for each in left if each not in connecting]
    # "of" or "in" alone names no column
    if not matched or all(each in connecting for each in parts if each not in left):
        return 0, 0, 9
    return matched, used, (0 if exact else 1) if not rest else 2 + len(rest)


def _is_copy(name: str, other: str) -> bool:
    """Whether a column is a second one of a name: "price_2" beside "price"."""
    base, _, number = name.rpartition("_")
    return number.isdigit() and base.lower() == other.lower()


def _names(part: str, key: str) -> bool:
    """Whether a word is a part of a name: the same word, one that is derived from it, or one that it abbreviates."""
    if relation(part, key) is not None:
        return True
    return len(part) >= _MIN_ABBREVIATION and len(key) >= len(part) + _MIN_ABBREVIATION and key.startswith(part)


def quote_text(text: str) -> str:
    """Return a text in SQL."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
