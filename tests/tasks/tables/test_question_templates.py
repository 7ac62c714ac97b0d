"""Questions about a table that templates answer, and those that they leave to the model."""

from pathlib import Path

import pytest
import yaml

from llmcli.documents.reading.source_reader import read_source
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables.question_templates import read_question
from llmcli.tasks.tables.schema_linking import TableVocabulary
from llmcli.tasks.tables.table_database import TableDatabase
from llmcli.tasks.tables.table_loader import Table, load_tables

SETS = Path(__file__).parents[3] / "benchmarks" / "table_questions"
ROWS = [
    # name, kind, length_cm, weight_kg, price, born, is_tame, legs, notes
    ["Rex", "dog", 90, 30.5, 400, "2019-05-02", 1, 4, "loud, likes Anna"],
    ["Mia", "cat", 46, 4.0, 120, "2020-11-30", 1, 4, "quiet"],
    ["Tom", "cat", 50, 5.5, 90, "2021-03-15", 0, 4, "likes Ben"],
    ["Bea", "parrot", 33, 0.4, 900, "2019-07-01", 1, 2, None],
    ["Kim", "dog", 60, 12.0, None, "2021-03-20", 0, 4, "NA"],
    ["Ada", "cat", 48, "NA", 150, "2022-01-09", 0, 4, "quiet"],
]
PETS = Table("pets", ("name", "kind", "length_cm", "weight_kg", "price", "born", "is_tame", "legs", "notes"), ROWS)


def ask(question, table=PETS):
    """Return the template of a question, and its rows; None without one."""
    with TableDatabase([table], Interrupt()) as database:
        query = read_question(TableVocabulary(database, table), question).query
        return None if query is None else (query.template, [list(row) for row in database.query(query.sql).rows])


@pytest.mark.parametrize(
    ("question", "template", "rows"),
    [
        ("How many pets are there?", "count", [[6]]),
        ("How many?", "count", [[6]]),
        ("how many rows", "count", [[6]]),
        ("Number of cats", "count", [[3]]),
        ("How many of the pets are cats or dogs?", "count", [[5]]),
        ("How many pets are not cats?", "count", [[3]]),
        ("How many tame cats are there?", "count", [[1]]),
        ("How many pets are not tame?", "count", [[3]]),
        ("How many pets have no price?", "count", [[1]]),
        ("How many pets are longer than 0.5 m?", "count", [[2]]),
        ("How many pets have a length of at least 50 cm?", "count", [[3]]),
        ("How many cost more than 100 and less than 500?", "count", [[3]]),
        ("How many pets weigh over 1 kg?", "count", [[4]]),
        ("How many pets have 4 legs?", "count", [[5]]),
        ("How many pets have 2 or 4 legs?", "count", [[6]]),
        ("How many pets were born in 2019 or 2020?", "count", [[3]]),
        ("What is the highest price per kind?", "groups", [["parrot", 900], ["dog", 400], ["cat", 150]]),
        ("pets per kind", "groups", [["cat", 3], ["dog", 2], ["parrot", 1]]),
        ("How many pets cost between 1 and 2 hundred?", None, None),
        ("How many pets were born in 2019?", "count", [[2]]),
        ("How many pets were born in March 2021?", "count", [[2]]),
        ("Which pets were born on 15 March 2021?", "list", [["Tom"]]),
        ("Which pets were born before 2020?", "list", [["Rex"], ["Bea"]]),
        ("Which pets were born between 2020 and 2021?", "list", [["Mia"], ["Tom"], ["Kim"]]),
        ("Which pets were born since 2021-03-20?", "list", [["Kim"], ["Ada"]]),
        ("How many different kinds are there?", "count distinct", [[3]]),
        ("What kinds are there?", "distinct", [["cat"], ["dog"], ["parrot"]]),
        ("Which kinds were born in 2021?", "distinct", [["cat"], ["dog"]]),
        ("What is the average price of the cats?", "aggregate", [[120.0]]),
        ("What is the total weight?", "aggregate", [[52.4]]),
        ("What is the highest weight?", "aggregate", [[30.5]]),
        ("How long is the shortest cat?", "aggregate", [[46]]),
        ("Which pet is the heaviest?", "superlative", [["Rex", 30.5]]),
        ("Which pet is the most expensive?", "superlative", [["Bea", 900]]),
        ("What is the cheapest cat?", "superlative", [["Tom", 90]]),
        ("Which cat has the lowest price?", "superlative", [["Tom", 90]]),
        ("What are the two longest pets?", "top", [["Rex", 90], ["Kim", 60]]),
        ("Top 3 pets by weight", "top", [["Rex", 30.5], ["Kim", 12.0], ["Tom", 5.5]]),
        ("Which three pets have the lowest price?", "top", [["Tom", 90], ["Mia", 120], ["Ada", 150]]),
        ("Which kind is the most common?", "most frequent", [["cat", 3]]),
        ("Which kind has the fewest pets?", "most frequent", [["parrot", 1]]),
        ("How many pets are there of each kind?", "groups", [["cat", 3], ["dog", 2], ["parrot", 1]]),
        ("average price by kind", "groups", [["parrot", 900.0], ["dog", 400.0], ["cat", 120.0]]),
        ("How many pets were born per year?", "groups", [["2019", 2], ["2020", 1], ["2021", 2], ["2022", 1]]),
        ("What is the price of Mia?", "lookup", [[120]]),
        ("Mia's price", "lookup", [[120]]),
        ("When was Tom born?", "lookup", [["2021-03-15"]]),
        ("Which kind is Bea?", "lookup", [["parrot"]]),
        ("How much does Rex weigh?", "lookup", [[30.5]]),
        ("What percentage of the pets is tame?", "share", [[50.0]]),
        ("Which pets have notes with Anna?", "list", [["Rex"]]),
        ("How many animals are cats?", "count", [[3]]),
        ("Wie viele cats gibt es?", "count", [[3]]),
        ("Combien de cats y a-t-il ?", "count", [[3]]),
    ],
)
def test_the_kinds_of_questions(question, template, rows):
    """Each has a template, whose query gives the right rows."""
    found = ask(question)
    assert found == (None if template is None else (template, rows))


@pytest.mark.parametrize(
    "question",
    [
        "How many widows are there?",  # an unknown noun alone does not ask for all rows
        "How many unicorns are in Berlin?",
        "How many are from Berlin?",
        "How many pets are over 3?",  # over 3 what?
        "How many pets weigh over 3 cm?",
        "How many pets are cats or tame?",  # two columns
        "How many more cats are there than dogs?",
        "What are the top 2 prices per kind?",
        "How many used pets are there?",
        "How many pets are off?",
        "What is the ratio of cats to dogs?",
        "Is Rex a dog?",
        "Is the price of Mia over 100?",
        "What is the price of Otto?",
        "Which pet is the best?",
        "Which month had the most pets?",  # of one year, or of all?
        "Why is Rex loud?",
        "What is the capital of France?",
        "the",
        "",
    ],
)
def test_a_question_with_unexplained_words_has_no_template(question):
    """A part of its words alone would be a guess."""
    assert ask(question) is None


ORDERS = Table(
    "orders",
    ("customer", "shop", "children", "share", "cost", "cost_2", "size", "temp_c", "placed"),
    [
        ["Paul", "Niger", 0, 0.5, 1, 10, "1,234", -7, "2021-03-5"],
        ["Maria", "Italy", 2, 0.6, 2, 5, 7, -3, "2021-03-15"],
        ["Otto", "Niger", 0, 0.3, 3, 7, 8, 0.4, "2021-11-25"],
        ["Anna", "Italy", 1, 0.9, 4, 7, 9, 12, "2021-12-24"],
    ],
)


@pytest.mark.parametrize(
    "question",
    [
        "How many children does Paula have?",  # not those of Paul
        "How many orders are from Nigeria?",  # Niger is another country
        "How many orders have a share over 50%?",  # or 0.5?
        "What is the average cost?",  # which of two columns
        "How many orders have a size over 5?",  # "1,234" is a text
        "What is the highest size?",
        "How many orders were placed on 5 March?",  # the day is not written with two digits
        "How many orders were placed after 2021-03-10?",
        "What is the latest size?",
        "Which shop has the fewest orders with 2 children?",  # one without any has fewer
        "How many Italy orders are Niger?",
        "How many orders have a temp over 50 fahrenheit?",
        "How many orders have a temp over 1,5?",
        "Wie viele orders haben temp über 3.5.2021?",
    ],
)
def test_a_question_that_a_table_leaves_open_has_no_template(question):
    """A query would give a wrong answer that looks right."""
    assert ask(question, ORDERS) is None


@pytest.mark.parametrize(
    "question",
    ["How many pets were born in 2019 and 2021?", "How many pets were born from March to May 2021?"],
)
def test_two_values_of_one_thing_have_no_template(question):
    """No row has both."""
    assert ask(question) is None


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("How many orders have no children?", [[2]]),
        ("How many orders have a temp below -5?", [[1]]),
        ("How many orders have a temp over .3?", [[2]]),
        ("Wie viele orders haben temp über 0,5?", [[1]]),
        ("Wie viele orders haben temp unter 1.000?", [[4]]),
        ("How many orders are Italian?", [[2]]),
        ("How many orders have cost 2?", None),
    ],
)
def test_numbers_of_a_question(question, rows):
    """With signs, without a zero before the point, and with a decimal comma in German."""
    found = ask(question, ORDERS)
    assert (found and found[1]) == rows


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("What is the highest salary in discipline A?", [[5]]),  # "A" is no article
        ("How many were hired in the 1990s?", None),
        ("How many men earn a salary over 5?", None),  # not all who do
        ("How many girls earn a salary over 5?", None),
        ("How many people earn a salary over 5?", None),  # "earn" is unexplained
        ("How many have a salary over 5?", [[2]]),
    ],
)
def test_words_that_are_none_of_the_table(question, rows):
    """They may restrict what is counted."""
    table = Table("t", ("discipline", "salary", "year", "sex"), [["A", 5, 1990, "Male"], ["B", 7, 1991, "Female"]] * 2)
    found = ask(question, table)
    assert (found and found[1][0][-1:]) == (rows and rows[0])


def test_rows_of_frequencies_are_not_counted():
    """Each stands for many."""
    table = Table("t", ("class", "survived", "Freq"), [["1st", "yes", 20], ["2nd", "yes", 30], ["2nd", "no", 5]])
    assert ask("How many survived?", table) is None and ask("How many rows per class?", table) is None
    assert ask("total freq per class", table)[1] == [["2nd", 35], ["1st", 20]]
    assert ask("How many rows are there?", table) == ("count", [[3]])  # the rows themselves


def test_a_longer_text_with_the_same_words_is_said():
    """The question may mean both."""
    table = Table("t", ("maker", "x"), [["AIRBUS", 1], ["AIRBUS INDUSTRIE", 2], ["BOEING", 3], ["BOEING", 3]])
    with TableDatabase([table], Interrupt()) as database:
        query = read_question(TableVocabulary(database, table), "How many rows of Airbus?").query
    assert query.assumptions == ('"AIRBUS" is looked for, but not "AIRBUS INDUSTRIE"',)


def test_a_common_word_is_no_title():
    """In a column of more texts than are kept."""
    rows = [[f"Film {number}", 1999] for number in range(1001)] + [["Out", 1998]]
    table = Table("films", ("title", "year"), rows)
    assert ask("How many films came out in 1999?", table) is None
    assert ask("What is the year of Out?", table)[1] == [[1998]]


def test_names_of_columns_without_letters():
    """They are named by nothing."""
    table = Table("t", ("€", "%", "name"), [[1, "x", "Anna"], [2, "y", "Ben"]])
    assert ask("Who has the most rows?", table)[1] == [["Anna", 1], ["Ben", 1]]
    assert ask("How many rows?", table) == ("count", [[2]])


def test_what_like_does_not_find_is_listed():
    """The case of umlauts counts in LIKE."""
    table = Table("t", ("place", "x"), [["München Süd", 1], ["MÜNCHEN NORD", 2], ["Köln Süd", 3]])
    assert ask("How many rows in München?", table)[1] == [[2]]


def test_the_unit_that_a_column_does_not_name_is_said():
    """The numbers may be in another one."""
    with TableDatabase([ORDERS], Interrupt()) as database:
        query = read_question(TableVocabulary(database, ORDERS), "How many orders have more than 1 kg children?").query
    assert query.assumptions == ("the numbers of children are taken to be in kg",)


def test_texts_among_numbers_are_not_compared():
    """SQLite sorts texts after numbers, so "NA" would be the heaviest."""
    assert ask("Which pets weigh at least 12 kg?")[1] == [["Rex"], ["Kim"]]
    assert ask("What is the highest weight among cats?")[1] == [[5.5]]


def test_equal_rows_are_all_returned():
    """Of the highest and the most frequent."""
    table = Table("t", ("name", "group", "points"), [["a", "x", 3], ["b", "x", 9], ["c", "y", 9], ["d", "y", 1]])
    assert ask("Who has the most points?", table)[1] == [["b", 9], ["c", 9]]
    assert ask("Which group is the most frequent?", table)[1] == [["x", 2], ["y", 2]]


def test_numbers_of_rows_are_no_numbers():
    """Receipts are the rows; their numbers are not added up."""
    table = Table("sales", ("receipt", "shop"), [[1, "North"], [2, "South"], [3, "North"]])
    assert ask("How many receipts are there?", table) == ("count", [[3]])
    assert ask("How many receipts has each shop?", table) == ("groups", [["North", 2], ["South", 1]])
    assert ask("Which shop has the most receipts?", table)[1] == [["North", 2]]


def test_a_plural_names_the_rows_before_their_numbers():
    """The most flights are no flight with the highest number."""
    table = Table("flights", ("carrier", "flight"), [["UA", 5], ["UA", 5], ["EV", 6055]])
    assert ask("Which carrier has the most flights?", table) == ("most frequent", [["UA", 2]])
    assert ask("How many flights has each carrier?", table)[1] == [["UA", 2], ["EV", 1]]


def test_words_within_texts():
    """A derived word or a word of a text stands for it; a list of codes has a code among others."""
    rows = [["Ford Pinto", "Europe", "EUR CHF"], ["Ford F 100", "Asia", "EUR"], ["Opel", "Asia", "USD GBP"]]
    table = Table("cars", ("name", "origin", "currencies"), [*rows, ["Fiat", "Europe", "USD"]])
    assert ask("How many European cars are there?", table)[1] == [[2]]
    assert ask("How many Fords are there?", table)[1] == [[2]]
    assert ask("Which cars use EUR?", table)[1] == [["Ford Pinto"], ["Ford F 100"]]
    assert ask("How many cars use uk?", table) is None and ask("How many are from the US?", table) is None


REVIEWS = Table(
    "rated",
    ("text", "rating"),
    (
        ("this player has no picture at all, and the reviews did not say it", -2.5),
        ("a negative surprise: it broke after a week, and support did not answer", -1.0),
        ("the picture is sharp and the sound is better than I hoped", 3.0),
        ("I would buy it again, since my old one had never been so good", 2.5),
        ("it does what it should do, and the battery lasts for a week", 0.0),
    ),
)


@pytest.mark.parametrize(
    ("question", "count"),
    [
        ("How many reviews are there?", 5),
        ("How many reviews are negative?", 2),
        ("How many negative reviews are there?", 2),
        ("How many rows have a negative rating?", 2),
        ("How many ratings are positive?", 2),
        ("How many reviews have a positive rating?", 2),
        ("How many reviews mention a picture?", 2),
        ('How many reviews contain "negative"?', 1),
        ("How many reviews have a rating below zero?", 2),
    ],
)
def test_sentences_are_searched_only_on_request(question, count):
    """A word of the question that some sentence has does not ask for it; the sign of a number is a condition."""
    assert ask(question, REVIEWS) == ("count", [[count]])


def test_the_sign_of_a_number_is_said():
    """Which column is meant by "negative" stands in the warnings."""
    with TableDatabase([REVIEWS], Interrupt()) as database:
        query = read_question(TableVocabulary(database, REVIEWS), "How many reviews are negative?").query
    assert query is not None and query.assumptions == ('"negative" is taken for rating below 0',)


def test_a_sign_that_two_columns_have_has_no_template():
    """Two columns have negative numbers, and the question names none of them."""
    table = Table("days", ("day", "low", "high"), (("mon", -1, 2), ("tue", -3, -1), ("wed", 1, 4)))
    assert ask("How many days are negative?", table) is None
    assert ask("How many days have a negative low?", table) == ("count", [[2]])


def test_what_is_taken_for_what_is_said():
    """Where a word could name texts of two columns, and for a part of a text."""
    table = Table("t", ("country", "capital", "area"), [["Peru", "Lima", 5], ["Mexico", "Mexico", 7], ["Chad", "X", 9]])
    with TableDatabase([table], Interrupt()) as database:
        query = read_question(TableVocabulary(database, table), "What is the area of Mexico?").query
    assert query.assumptions == ('"Mexico" is looked for in country; capital has it, too',)


@pytest.mark.parametrize(
    ("statement", "ignored"),
    [
        ("SELECT COUNT(*) FROM pets WHERE kind = 'cat' AND price > 100", []),
        ("SELECT COUNT(*) FROM pets WHERE kind = 'cat'", ["price", "100"]),
        ("SELECT COUNT(*) FROM pets WHERE price > 100", ["cats"]),
    ],
)
def test_words_that_a_query_ignores(statement, ignored):
    """Values, numbers and columns."""
    with TableDatabase([PETS], Interrupt()) as database:
        reading = read_question(TableVocabulary(database, PETS), "How many cats have a price over 100?")
    assert reading.ignored_by(statement) == ignored


@pytest.mark.parametrize(
    ("statement", "ignored"),
    [
        ("SELECT COUNT(*) FROM pets", ["Berlin"]),
        ("SELECT COUNT(*) FROM pets WHERE notes LIKE '%berlin%'", []),
        ("SELECT COUNT(*) FROM pets WHERE notes = 'B'", []),  # it may be the table's word for it
    ],
)
def test_a_name_that_the_table_does_not_have_is_not_ignored(statement, ignored):
    """A query has to look for something."""
    with TableDatabase([PETS], Interrupt()) as database:
        reading = read_question(TableVocabulary(database, PETS), "How many are from Berlin?")
    assert (reading.ignored_by(statement), reading.unexplained) == (ignored, ["Berlin"])


@pytest.mark.parametrize(("name", "least"), [("questions", 39), ("held_out", 16)])
def test_the_questions_of_the_benchmark(name, least):
    """Templates answer them without a model, and none wrongly."""
    right = 0
    for file, asked in yaml.safe_load((SETS / f"{name}.yaml").read_text("utf-8")).items():
        path = SETS / file
        (table,) = load_tables([read_source(path.read_bytes(), str(path), path)], Interrupt())
        for each in asked:
            found = ask(each["question"], table)
            if found is not None:
                assert _holds(found[1], each["answer"]), each["question"]
                right += 1
    assert right >= least


def _holds(rows, answer):
    if len(rows) != len(answer):
        return False
    return all(any(all(_is_in(value, row) for value in values) for row in rows) for values in answer)


def _is_in(value, row):
    return value in row or (isinstance(value, float) and any(cell == pytest.approx(value, rel=1e-4) for cell in row))
