"""The database in memory: a SELECT works, and nothing else does."""

import pytest

from llmcli.errors import Interrupted
from llmcli.interrupt import Interrupt
from llmcli.tasks.tables.table_database import MAX_ROWS, QueryError, TableDatabase
from llmcli.tasks.tables.table_loader import Table

SALES = Table(
    "sales", ("shop", "price", "order"), [["North", 3.5, 1], ["South", 4, 2], ["North", 7, 3], [None, None, 4]]
)
CROSS = "sales a" + "".join(f", sales b{number}" for number in range(20))


@pytest.fixture
def database():
    """Return a database of one table, with a short time limit."""
    with TableDatabase([SALES], Interrupt(), time_limit_s=0.05) as opened:
        yield opened


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT count(*) FROM sales", ((4,),)),
        ("SELECT shop, sum(price) FROM sales WHERE shop IS NOT NULL GROUP BY shop", (("North", 10.5), ("South", 4))),
        ("WITH n AS (SELECT * FROM sales) SELECT upper(shop) FROM n LIMIT 1", (("NORTH",),)),
        ('select max("order") from (select * from sales) x', ((4,),)),
        ('SELECT "shop" AS "the ""shop""" FROM sales WHERE shop = \'"x"\' ORDER BY "the ""shop"""', ()),
        ("SELECT shop FROM sales WHERE price > (SELECT avg(price) FROM sales)", (("North",),)),
    ],
)
def test_a_select_returns_rows(database, statement, rows):
    """Conditions, groups, subqueries and common table expressions."""
    assert database.query(statement).rows == rows


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sales VALUES (1, 2, 3)",
        "DELETE FROM sales",
        "DROP TABLE sales",
        "CREATE TABLE t (x)",
        "ATTACH 'file.db' AS f",
        "VACUUM INTO 'file.db'",
        "PRAGMA table_info(sales)",
        "SELECT * FROM pragma_table_info('sales')",
        "SELECT * FROM sqlite_master",
        "SELECT load_extension('x')",
        "SELECT zeroblob(1e9)",
        "SELECT randomblob(1000000000)",
        "SELECT printf('%1000000000d', 1)",
        "SELECT readfile('/etc/passwd')",
        "SELECT group_concat(a.shop || b1.shop) FROM " + CROSS,
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
        f"SELECT count(*) FROM {CROSS}",
        f"SELECT a.shop FROM {CROSS} ORDER BY a.price * b1.price",
        "SELECT 1; DROP TABLE sales",
        "EXPLAIN SELECT 1",
        "BEGIN",
        "",
        "-- nothing",
        "SELECT nothing FROM sales",
        'SELECT count(*) FROM sales WHERE shop = "North"',  # SQLite would take "North" for a text, or for nothing
        "SELECT '" + "x" * 20_000 + "'",
        "SELECT " + "1 + " * 2000 + "1",
        "SELECT\0 1",
        "SELECT '\ud800'",
        "Sure! Here is the query:",
    ],
)
def test_everything_else_is_refused(database, statement, tmp_path, monkeypatch):
    """No statement writes, opens a file, grows without bounds or runs for ever; and the table is as before."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryError):
        database.query(statement)
    assert database.query("SELECT count(*) FROM sales").rows == ((4,),)
    assert list(tmp_path.glob("*.db")) == []


def test_rows_are_limited():
    """The first ones are returned, and that there are more."""
    with TableDatabase([Table("t", ("x",), [[n] for n in range(MAX_ROWS + 1)])], Interrupt()) as database:
        found = database.query("SELECT x FROM t ORDER BY x")
        assert (len(found.rows), found.rows[-1], found.truncated) == (MAX_ROWS, (MAX_ROWS - 1,), True)
        assert not database.query("SELECT x FROM t WHERE x > 0").truncated


def test_bytes_are_limited():
    """Long values count."""
    with TableDatabase([Table("t", ("x",), [["y" * 300_000]] * 9)], Interrupt()) as database:
        found = database.query("SELECT x FROM t")
        assert (len(found.rows), found.truncated) == (3, True)


def test_a_signal_ends_a_query(database):
    """At once, as that signal."""
    interrupt = Interrupt()
    with TableDatabase([SALES], interrupt) as slow:
        interrupt.set(2)
        with pytest.raises(Interrupted):
            slow.query(f"SELECT count(*) FROM {CROSS}")


def test_memory_is_limited():
    """A thousand columns of a megabyte each would take a gigabyte, within all limits of SQLite on lengths."""
    long = "||".join(["s"] * 80)
    columns = ",".join(f"s||{number}" for number in range(1000))
    with TableDatabase([Table("t", ("s",), [("x" * 10_000,)])], Interrupt()) as database:
        with pytest.raises(QueryError, match="more than 64 MB of memory"):
            database.query(f"WITH a AS (SELECT {long} s FROM t) SELECT {columns} FROM a")
        assert database.query("SELECT count(*) FROM t").rows == ((1,),)
