"""Templates for questions about a table: questions whose words all name something become SQL without a model.

A question is read only if each of its words is explained: it names a column, a value or the rows, says what to compute,
or changes nothing. Otherwise the words that are left are reported, and the model writes the query.
"""

# ruff: noqa: S608 (names and texts are quoted, and the database answers nothing but SELECT)
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.tables.column_roles import ColumnFacts, ColumnRole
from llmcli.tasks.tables.question_conditions import ConditionReader, NoTemplateFits, choose_column
from llmcli.tasks.tables.question_words import (
    TIME_UNITS,
    QuestionCue,
    QuestionWord,
    name_words,
    singular,
    split_question,
)
from llmcli.tasks.tables.schema_linking import SchemaLink, SchemaLinkKind, TableVocabulary
from llmcli.tasks.tables.table_database import quote_name

_MIN_ROWS_PER_GROUP = 2
_DIRECTIONS = {QuestionCue.HIGHEST: "MAX", QuestionCue.MOST: "MAX", QuestionCue.LOWEST: "MIN", QuestionCue.LEAST: "MIN"}
_YES_OR_NO = frozenset(
    ["is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "can", "ist", "sind", "hat", "haben", "est"]
)
"""A question that begins with one of these asks for yes or no."""
_OF_ANYTHING = frozenset({"largest", "biggest", "smallest"})
_OF_TIME = frozenset({"latest", "newest", "earliest", "oldest", "youngest"})
_PLURALS = frozenset({"people"})
_KINDS_OF_PEOPLE = frozenset({"boys", "girls", "kids", "adults", "males", "females", "ladies", "gentlemen", "seniors"})
_FREQUENCY_NAMES = frozenset({"freq", "frequency", "frequencies", "count", "counts", "n"})
_ROW_NOUNS = frozenset("row rows record records line lines entry entries zeilen einträge lignes".split())  # noqa: SIM905
_LIMITED = frozenset({"top", "superlative", "most frequent"})
_COUNTS = frozenset({"count", "groups", "share"})
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_COMPARED = re.compile(r"""(?is)\b(?:WHERE|HAVING)\b.*?('(?:[^']|'')*'|(?<![\w"])-?\d[\d.]*(?![\w"]))""")
_CONDITIONAL_CUES = frozenset({QuestionCue.NOT, QuestionCue.EQUAL, QuestionCue.TOP})
_NAMES_NOTHING = frozenset({SchemaLinkKind.CUE, SchemaLinkKind.ROWS, SchemaLinkKind.PLAIN})
_COUNT_ALL = re.compile(r"count\(\*\)|\w \* ")


@frozen
class TemplateQuery:
    """The query that answers a question. ``template``: its kind. ``assumptions``: what was taken for what."""

    template: str
    sql: str
    assumptions: tuple[str, ...] = ()


@frozen
class QuestionReading:
    """What a question says of a table: its links, and its query; None if not all of its words are explained.

    ``columns``: those of the table.
    """

    links: tuple[SchemaLink, ...]
    query: TemplateQuery | None
    columns: tuple[ColumnFacts, ...] = ()

    def misused_by(self, statement: str) -> ColumnFacts | None:
        """Return a column of texts that a statement adds up or compares with a number, which SQLite does not refuse."""
        for column in self.columns:
            name = rf'(?:"{re.escape(column.name)}"|(?<![\w"]){re.escape(column.name)}(?![\w"]))'
            added = "SUM|AVG|TOTAL|MIN|MAX" if column.numeric else "SUM|AVG|TOTAL"
            is_text = column.filled and (column.unread or not column.numeric)
            if is_text and re.search(
                rf"\b(?:{added})\({name}\)|{name} (?:[<>]=?|BETWEEN) -?\d", statement, re.IGNORECASE
            ):
                return column
        return None

    def ignored_by(self, statement: str) -> list[str]:
        """Return the words for values, numbers, columns or something in capitals that a statement leaves out."""
        pairs = zip((None, *self.links), self.links, strict=False)
        return [link.text for before, link in pairs if not self._is_used(link, before, statement)]

    def find_unasked_value(self, statement: str) -> str:
        """Return what a statement looks for although the question names nothing of a table; "" for nothing."""
        if any(link.kind not in _NAMES_NOTHING or link.cue in _CONDITIONAL_CUES for link in self.links):
            return ""
        compared = _COMPARED.search(statement)
        return "" if compared is None else compared[1]

    def _is_used(self, link: SchemaLink, before: SchemaLink | None, statement: str) -> bool:
        lowered = statement.lower()
        match link.kind:
            case SchemaLinkKind.VALUE:
                texts = [value.lower() for match in link.values for value in match.values]
                is_exact = any(match.exact for match in link.values)
                return not is_exact or any(text in lowered for text in (*texts, *map(_stem, link.words)))
            case SchemaLinkKind.NUMBER:
                return link.unit != "" or link.words[0].key.isalpha() or _digits(link) in statement
            case SchemaLinkKind.COLUMN:
                return not link.whole or self._uses_column(link.columns[0], before, lowered)
            case _:
                return not link.is_name or self._looks_for(link, statement)

    def _uses_column(self, column: ColumnFacts, before: SchemaLink | None, statement: str) -> bool:
        """Whether a statement has a column, or one of its values.

        What is counted, and names of rows, may be left out.
        """
        names_rows = column.role is not ColumnRole.MEASURE and column.distinct == column.filled
        is_counted = names_rows or (before is not None and before.cue is QuestionCue.COUNT)
        has_value = any(match.column == column for link in self.links for match in link.values)
        selects_all = "*" in _COUNT_ALL.sub("", statement)
        return is_counted or has_value or selects_all or column.name.lower() in statement

    def _looks_for(self, link: SchemaLink, statement: str) -> bool:
        """Whether a statement has a name, or another text that may stand for it ("CA" for California)."""
        named = {value.lower() for link in self.links for match in link.values for value in match.values}
        others = {text.lower() for text in _LITERAL.findall(statement)} - named
        return bool(others) or any(_stem(word) in statement.lower() for word in link.words)

    @property
    def unexplained(self) -> list[str]:
        """The words that name nothing in the table and say nothing of what to compute."""
        return [link.text for link in self.links if link.kind is SchemaLinkKind.UNKNOWN]


def _stem(word: QuestionWord) -> str:
    return singular(word.key)


def _digits(link: SchemaLink) -> str:
    number = link.words[0].number
    return link.words[0].key[:4] if number is None else f"{number:.12g}"


def read_question(vocabulary: TableVocabulary, question: str) -> QuestionReading:
    """Return what a question names, and its query if a template fits."""
    words = split_question(question)
    links = vocabulary.link(words)
    query = None
    if links and words[0].key not in _YES_OR_NO:
        query = _read_links(vocabulary, _take_counted_noun(links))
        has_unknown = any(link.kind is SchemaLinkKind.UNKNOWN for link in links)
        counts_all = query is not None and " WHERE " not in query.sql and not _holds_only_prose(vocabulary)
        if has_unknown and query is not None and (query.template not in _COUNTS or counts_all):
            query = None  # "how many widows are there" does not ask for all rows
    return QuestionReading(tuple(links), query, tuple(vocabulary.columns))


def _holds_only_prose(vocabulary: TableVocabulary) -> bool:
    """Whether no column of a table can say of which kind a row is, so that a noun means all rows."""
    texts = [column for column in vocabulary.columns if not column.numeric and column.role is not ColumnRole.DATE]
    return bool(texts) and all(column.is_prose for column in texts)


def _take_counted_noun(links: Sequence[SchemaLink]) -> list[SchemaLink]:
    """Return the links, where an unknown noun after "how many" names the rows ("how many reviews are negative")."""
    found = [*links]
    for at, (before, link) in enumerate(pairwise(links), 1):
        is_signed = before.kind is SchemaLinkKind.SIGN and at > 1  # "how many negative reviews"
        cue = links[at - 2].cue if is_signed else before.cue
        key = link.words[0].key
        is_noun = link.kind is SchemaLinkKind.UNKNOWN and not link.is_name and (singular(key) != key or key in _PLURALS)
        is_noun = is_noun and key not in _KINDS_OF_PEOPLE
        if is_noun and cue in {QuestionCue.COUNT, QuestionCue.SHARE}:
            found[at] = replace(link, kind=SchemaLinkKind.ROWS)
    return found


def _read_links(vocabulary: TableVocabulary, links: Sequence[SchemaLink]) -> TemplateQuery | None:
    if any(link.kind is SchemaLinkKind.UNKNOWN for link in links):
        return None
    try:
        return _QuestionReader(vocabulary, links).read()
    except NoTemplateFits:
        return None


class _QuestionReader:
    """Reads the links of a question. Each method takes the links that it explains; none may be left."""

    def __init__(self, vocabulary: TableVocabulary, links: Sequence[SchemaLink]) -> None:
        self._vocabulary = vocabulary
        self._table = quote_name(vocabulary.table.name)
        self._conditions = ConditionReader(vocabulary, links)
        self._links = self._conditions.rest
        self._is_who = self._take_cue(QuestionCue.WHO) is not None
        self._is_when = self._take_cue(QuestionCue.WHEN) is not None
        self._is_where = self._take_cue(QuestionCue.WHERE) is not None

    def read(self) -> TemplateQuery:
        """Return the query. Raises ``NoTemplateFits``."""
        group = self._take_group()
        if group is not None:
            query = self._read_groups(*group)
        elif self._find(self._is_superlative) is not None:
            query = self._read_superlative()
        elif self._take_cue(QuestionCue.SHARE) is not None:
            query = self._read_share()
        elif (at := self._find(lambda link: link.cue is QuestionCue.COUNT)) is not None:
            self._links.pop(at)
            query = self._read_count(at)
        elif (cue := self._take_cue(QuestionCue.AVERAGE, QuestionCue.TOTAL)) is not None:
            column = self._take_measure()
            self._take_rows()
            query = self._aggregate("AVG" if cue is QuestionCue.AVERAGE else "SUM", column)
        else:
            query = self._read_lookup()
        self._take_cue(QuestionCue.WHICH, QuestionCue.LIST)
        self._take_cue(QuestionCue.WHICH, QuestionCue.LIST)
        is_limited = self._conditions.limit == 1 or query.template in _LIMITED
        if not is_limited or any(link.cue is not QuestionCue.AND for link in self._links):
            raise NoTemplateFits
        return replace(query, assumptions=tuple(self._conditions.assumptions))

    # ---- taking links ------------------------------------------------------------------------------------------------

    def _find(self, fits: Callable[[SchemaLink], bool]) -> int | None:
        return next((at for at, link in enumerate(self._links) if fits(link)), None)

    def _take_cue(self, *cues: QuestionCue) -> QuestionCue | None:
        at = self._find(lambda link: link.cue in cues)
        return None if at is None else self._links.pop(at).cue

    def _take_rows(self) -> bool:
        """Take what names the rows; return whether something did."""
        took = False
        while (at := self._find(self._names_rows)) is not None:
            self._links.pop(at)
            took = True
        return took

    def _names_rows(self, link: SchemaLink) -> bool:
        if link.kind is SchemaLinkKind.ROWS or link.cue is QuestionCue.ROWS:
            return True
        return link.kind is SchemaLinkKind.COLUMN and any(map(self._identifies_rows, link.columns))

    def _identifies_rows(self, column: ColumnFacts) -> bool:
        """Whether each row has another value of a column: its name, or a number that nothing is computed with."""
        is_name = column == self._vocabulary.key or column.role is ColumnRole.OTHER
        return is_name and column.distinct == column.filled

    def _take_column(self, wanted: str, direction: str = "", near: int | None = None) -> ColumnFacts | None:
        """Take a column that is ``wanted`` (see ``choose_column``), the nearest to a position.

        Return None if there is none.
        """
        places = [at for at, link in enumerate(self._links) if link.kind is SchemaLinkKind.COLUMN]
        if near is not None:
            places.sort(key=lambda at: (abs(at - near), at < near))
        for at in places:
            column = choose_column(self._links[at].columns, wanted, direction)
            if column is not None:
                self._links.pop(at)
                return column
        return None

    def _take_measure(self, direction: str = "", near: int | None = None) -> ColumnFacts:
        column = self._take_column("number", direction, near)
        if column is None:
            raise NoTemplateFits
        return column

    def _is_superlative(self, link: SchemaLink) -> bool:
        return link.kind is SchemaLinkKind.SUPERLATIVE or link.cue in _DIRECTIONS

    # ---- the templates -----------------------------------------------------------------------------------------------

    def _take_group(self) -> tuple[str, ColumnFacts] | None:
        """Take "per X", "each X" or "by X"; return the expression that groups, and its column."""
        at = self._find(lambda link: link.cue is QuestionCue.EACH)
        computes = any(link.cue in {QuestionCue.COUNT, QuestionCue.AVERAGE, QuestionCue.TOTAL} for link in self._links)
        if at is None and computes and self._find(self._is_superlative) is None:
            at = self._find(lambda link: link.cue is QuestionCue.BY)
        if at is None:
            return None
        self._links.pop(at)
        while at < len(self._links) and self._links[at].cue in {QuestionCue.DISTINCT, QuestionCue.COUNT}:
            self._links.pop(at)
        if at >= len(self._links) or self._links[at].kind is not SchemaLinkKind.COLUMN:
            raise NoTemplateFits
        link = self._links.pop(at)
        column = choose_column(link.columns, "group")
        if column is None:
            raise NoTemplateFits
        unit = TIME_UNITS.get(singular(link.words[0].key))
        if column.role is ColumnRole.DATE and unit is not None:
            if column.unread:
                raise NoTemplateFits
            return f"SUBSTR({column.quoted}, 1, {unit})", column
        return column.quoted, column

    def _read_groups(self, expression: str, column: ColumnFacts) -> TemplateQuery:
        """How many, or an average, for each group."""
        self._links = [link for link in self._links if link.columns != (column,)]  # "born per year" of a date of birth
        conditions = self._conditions.add(f"{column.quoted} IS NOT NULL")
        name = column.quoted if expression == column.quoted else f"{expression} AS period"
        order = "1" if expression != column.quoted or column.numeric or column.role is ColumnRole.DATE else "2 DESC, 1"
        counts_rows = bool(self._links) and self._names_rows(self._links[0])  # "parks per country"
        if self._take_cue(QuestionCue.COUNT) is not None or counts_rows:
            self._take_cue(QuestionCue.TOTAL)
            named_rows = self._take_rows()
            self._check_counts_rows()
            counted = None if named_rows else self._take_column("text")
            value = 'COUNT(*) AS "rows"' if counted is None else f"COUNT(DISTINCT {counted.quoted})"
        else:
            function = self._take_function()
            measure = self._take_measure(function if function in {"MAX", "MIN"} else "")
            conditions = self._conditions.add_number(measure)
            self._take_rows()
            value = f"{function}({measure.quoted})"
        return TemplateQuery(
            "groups", f"SELECT {name}, {value} FROM {self._table}{conditions()} GROUP BY 1 ORDER BY {order}"
        )

    def _take_function(self) -> str:
        """Take "average", "total", "highest" or "lowest"; return the function of SQL."""
        cue = self._take_cue(QuestionCue.AVERAGE, QuestionCue.TOTAL)
        if cue is not None:
            return str(cue.value)
        at = self._find(self._is_superlative)
        if at is None:
            raise NoTemplateFits
        link = self._links.pop(at)
        return link.direction or _DIRECTIONS[link.cue or QuestionCue.MOST]

    def _read_superlative(self) -> TemplateQuery:
        """The rows, the group or the value at the end of a scale."""
        at = self._find(self._is_superlative)
        if at is None:
            raise NoTemplateFits
        link = self._links.pop(at)
        direction = link.direction or _DIRECTIONS[link.cue or QuestionCue.MOST]
        limit = self._conditions.limit
        self._take_cue(QuestionCue.TOP)
        counts_rows = at < len(self._links) and self._names_rows(self._links[at])
        entity = self._take_entity()
        by = self._find(lambda each: each.cue is QuestionCue.BY)
        if by is not None:
            self._links.pop(by)
            measure, is_named = self._take_measure(direction, by), True
        elif link.cue in {QuestionCue.MOST, QuestionCue.LEAST} and (
            counts_rows or not any(map(_names_number, self._links))
        ):
            return self._read_most_frequent(entity, direction, limit)
        else:
            measure, is_named = self._find_measure(link, direction, at)
        self._links = [
            each for each in self._links if each.whole or measure not in each.columns
        ]  # "how long is the longest"
        has_rows = self._take_rows() or not is_named or self._asks_which()
        self._conditions.add_number(measure)
        key = entity or (self._vocabulary.key if has_rows else None)
        if key is not None and key.role is ColumnRole.CATEGORY and self._is_repeated(key):
            return self._read_group_superlative(key, measure, direction, limit)
        if key is not None:
            also = [column for column in self._take_columns() if column not in {key, measure}]
            columns = ", ".join(column.quoted for column in (key, measure, *also))
            return self._extreme_rows(columns, measure, direction, limit)
        if has_rows:
            return self._extreme_rows("*", measure, direction, limit)
        if limit > 1:
            raise NoTemplateFits
        return self._aggregate(direction, measure)

    def _extreme_rows(self, columns: str, measure: ColumnFacts, direction: str, limit: int) -> TemplateQuery:
        """The first rows by a measure; of one, all that are equal to it."""
        conditions = self._conditions
        if limit > 1:
            conditions.add(measure.holds_number)
            order = f"{measure.quoted}{' DESC' if direction == 'MAX' else ''}"
            return TemplateQuery(
                "top", f"SELECT {columns} FROM {self._table}{conditions()} ORDER BY {order} LIMIT {limit}"
            )
        conditions.add(f"{measure.quoted} = (SELECT {direction}({measure.quoted}) FROM {self._table}{conditions()})")
        return TemplateQuery("superlative", f"SELECT {columns} FROM {self._table}{conditions()}")

    def _is_repeated(self, column: ColumnFacts) -> bool:
        return column.filled >= _MIN_ROWS_PER_GROUP * column.distinct

    def _asks_which(self) -> bool:
        """Whether the question says "which", so that it asks for rows; "what" may ask for a value."""
        return any(
            link.cue is QuestionCue.WHICH and link.words[0].key not in {"what", "what's", "how", "wie"}
            for link in self._links
        )

    def _find_measure(self, link: SchemaLink, direction: str, near: int) -> tuple[ColumnFacts, bool]:
        """Return what a superlative measures, and whether a column is named: beside it, by its adjective, or both."""
        places = [at for at, each in enumerate(self._links) if each.kind is SchemaLinkKind.COLUMN]
        places.sort(key=lambda at: (abs(at - near + (at < near)), at < near))
        for at in places:
            columns = self._links[at].columns
            both = [column for column in columns if column in link.columns]  # "longest bill": its length, not its depth
            adjective = link.words[0].key
            measures_anything = adjective in _OF_ANYTHING or not (link.columns or adjective in _OF_TIME)
            column = choose_column(both, "number", direction)
            column = column or (choose_column(columns, "number", direction) if measures_anything else None)
            if column is not None:
                self._links.pop(at)
                return column, True
        measure = choose_column(link.columns, "number", direction)
        if measure is None:
            raise NoTemplateFits
        return measure, False

    def _take_entity(self) -> ColumnFacts | None:
        """Take the column that "which" or a number asks for; None if the rows themselves are asked for, or a value."""
        at = self._find(lambda link: link.cue in {QuestionCue.WHICH, QuestionCue.LIST})
        if self._wanted() != "any":
            return self._take_column(self._wanted()) or self._default_entity()
        while (
            at is not None
            and at + 1 < len(self._links)
            and self._links[at + 1].cue in {QuestionCue.DISTINCT, QuestionCue.TOP}
        ):
            self._links.pop(at + 1)
        candidates = [at + 1] if at is not None else []
        for place in (*candidates, *range(len(self._links))):
            if place < len(self._links) and self._links[place].kind is SchemaLinkKind.COLUMN:
                column = choose_column(self._links[place].columns, "text")
                unit = singular(self._links[place].words[0].key)
                if (
                    column is not None
                    and column.role is ColumnRole.DATE
                    and unit in TIME_UNITS
                    and unit != "day"
                    and not self._links[place].whole
                ):
                    raise NoTemplateFits  # a month of one year, or of all years?
                if column is not None:
                    self._links.pop(place)
                    return column
        return None

    def _default_entity(self) -> ColumnFacts:
        """Return the column that answers "who", "when" or "where" if the question does not name it."""
        if self._is_who and self._vocabulary.key is not None:
            return self._vocabulary.key
        fits = [column for column in self._vocabulary.columns if choose_column([column], self._wanted())]
        if self._is_who or len(fits) != 1:
            raise NoTemplateFits
        return fits[0]

    def _wanted(self) -> str:
        return "who" if self._is_who else "when" if self._is_when else "where" if self._is_where else "any"

    def _read_most_frequent(self, entity: ColumnFacts | None, direction: str, limit: int) -> TemplateQuery:
        """The group with the most or the fewest rows; equal ones are all returned."""
        self._take_rows()
        self._check_counts_rows()
        if direction == "MIN" and self._conditions:
            raise NoTemplateFits  # a group without such rows has the fewest, but none to count
        column = entity or self._take_column("group")
        if column is None:
            raise NoTemplateFits
        conditions = self._conditions.add(f"{column.quoted} IS NOT NULL")
        return self._ranked_groups("most frequent", column, "COUNT(*)", '"rows"', direction, limit, conditions())

    def _read_group_superlative(
        self, key: ColumnFacts, measure: ColumnFacts, direction: str, limit: int
    ) -> TemplateQuery:
        """The group with the highest or lowest total, or mean where there are no totals."""
        cue = self._take_cue(QuestionCue.AVERAGE, QuestionCue.TOTAL)
        function = "AVG" if cue is QuestionCue.AVERAGE else "SUM"
        if cue is None:  # the highest value, or the highest total? the row says which it is
            row_key = self._vocabulary.key
            also = [] if row_key is None or row_key == key else [row_key]
            columns = ", ".join(column.quoted for column in (key, *also, measure))
            self._conditions.assumptions.append(
                f"the {'highest' if direction == 'MAX' else 'lowest'} single value; ask for the total or the average of each {key.name} otherwise"
            )
            return self._extreme_rows(columns, measure, direction, limit)
        conditions = self._conditions.add(f"{key.quoted} IS NOT NULL")
        name = "mean" if function == "AVG" else "total"
        return self._ranked_groups(
            "superlative", key, f"{function}({measure.quoted})", name, direction, limit, conditions()
        )

    def _ranked_groups(
        self, template: str, column: ColumnFacts, value: str, name: str, direction: str, limit: int, where: str
    ) -> TemplateQuery:
        order = " DESC" if direction == "MAX" else ""
        groups = f"SELECT {column.quoted}, {value} AS {name}, RANK() OVER (ORDER BY {value}{order}) AS place FROM {self._table}{where} GROUP BY 1"
        sql = f"SELECT {column.quoted}, {name} FROM ({groups}) WHERE place <= {limit} ORDER BY place, 1"
        return TemplateQuery(template, sql)

    def _read_count(self, at: int) -> TemplateQuery:
        """How many rows, or how many different values of the column at a position, after "how many"."""
        distinct = self._take_cue(QuestionCue.DISTINCT) is not None
        named_rows = any(link.kind is SchemaLinkKind.ROWS or link.cue is QuestionCue.ROWS for link in self._links)
        self._take_cue(QuestionCue.TOTAL)
        if not any(link.cue is QuestionCue.ROWS and link.words[0].key in _ROW_NOUNS for link in self._links):
            self._check_counts_rows()
        if at >= len(self._links) or self._links[at].kind is not SchemaLinkKind.COLUMN:
            self._take_rows()
            key = self._vocabulary.key
            if distinct and key is None:
                raise NoTemplateFits
            counted = f"DISTINCT {key.quoted}" if distinct and key is not None else "*"
            return TemplateQuery("count", f"SELECT COUNT({counted}) FROM {self._table}{self._conditions()}")
        link = self._links[at]
        column = choose_column(link.columns, "group")
        if column is None:
            raise NoTemplateFits
        is_key = self._identifies_rows(column)
        self._links.pop(at)
        if not is_key and not _is_counted_by(link, column):
            raise NoTemplateFits
        if is_key and not distinct:
            self._take_rows()
            return TemplateQuery("count", f"SELECT COUNT(*) FROM {self._table}{self._conditions()}")
        if column.numeric and not distinct:
            if self._conditions.names_key and not named_rows:  # how many inhabitants a country has
                return TemplateQuery("lookup", f"SELECT {column.quoted} FROM {self._table}{self._conditions()}")
            raise NoTemplateFits
        if named_rows and not distinct and self._links and self._links[0].kind is not SchemaLinkKind.COLUMN:
            self._take_rows()
        self._take_rows()
        return TemplateQuery(
            "count distinct", f"SELECT COUNT(DISTINCT {column.quoted}) FROM {self._table}{self._conditions()}"
        )

    def _check_counts_rows(self) -> None:
        """Raise ``NoTemplateFits`` for a table of frequencies: each of its rows stands for many."""
        if any(column.numeric and column.name.lower() in _FREQUENCY_NAMES for column in self._vocabulary.columns):
            raise NoTemplateFits

    def _read_share(self) -> TemplateQuery:
        """The percentage of all rows that meet the one condition; with two it is not clear what the whole is."""
        self._take_rows()
        self._check_counts_rows()
        if self._conditions.count != 1:
            raise NoTemplateFits
        whole = f"(SELECT COUNT(*) FROM {self._table})"
        return TemplateQuery(
            "share", f"SELECT ROUND(100.0 * COUNT(*) / {whole}, 1) AS percent FROM {self._table}{self._conditions()}"
        )

    def _aggregate(self, function: str, column: ColumnFacts) -> TemplateQuery:
        conditions = self._conditions.add_number(column)
        return TemplateQuery("aggregate", f"SELECT {function}({column.quoted}) FROM {self._table}{conditions()}")

    def _take_columns(self) -> list[ColumnFacts]:
        """Take all columns that are left; each has to be clear."""
        found = []
        while (at := self._find(lambda link: link.kind is SchemaLinkKind.COLUMN)) is not None:
            column = choose_column(self._links.pop(at).columns, self._wanted())
            if column is None:
                raise NoTemplateFits
            found.append(column)
        return list(dict.fromkeys(found))

    def _read_lookup(self) -> TemplateQuery:
        """The values of columns, or the names of rows, that meet the conditions."""
        asks = (
            self._take_cue(QuestionCue.WHICH, QuestionCue.LIST) is not None
            or self._is_who
            or self._is_when
            or self._is_where
        )
        self._take_cue(QuestionCue.LIST)
        distinct = self._take_cue(QuestionCue.DISTINCT) is not None
        columns = self._take_columns()
        self._take_rows()
        key = self._vocabulary.key
        if not asks and not (columns and self._conditions):
            raise NoTemplateFits
        if not columns:
            if not self._conditions or key is None or distinct or self._is_when or self._is_where:
                raise NoTemplateFits
            return TemplateQuery("list", f"SELECT {key.quoted} FROM {self._table}{self._conditions()}")
        names = ", ".join(column.quoted for column in columns)
        if len(columns) == 1 and not self._conditions.names_key and (distinct or self._is_repeated(columns[0])):
            if columns[0].role is ColumnRole.MEASURE and not distinct:
                raise NoTemplateFits
            conditions = self._conditions.add(f"{names} IS NOT NULL")
            return TemplateQuery("distinct", f"SELECT DISTINCT {names} FROM {self._table}{conditions()} ORDER BY 1")
        if not self._conditions:
            raise NoTemplateFits
        if not self._conditions.names_one_row and key is not None and key not in columns:
            names = f"{key.quoted}, {names}"
        return TemplateQuery("lookup", f"SELECT {names} FROM {self._table}{self._conditions()}")


def _is_counted_by(link: SchemaLink, column: ColumnFacts) -> bool:
    """Whether a noun counts the values of a column: "eggs" are not those of "date of egg"."""
    named = [singular(word.key) for word in link.words]
    return (
        link.whole
        or column.numeric
        or all(singular(word) in {*named, "id", "name"} for word in name_words(column.name))
    )


def _names_number(link: SchemaLink) -> bool:
    return link.kind is SchemaLinkKind.COLUMN and choose_column(link.columns, "number") is not None
