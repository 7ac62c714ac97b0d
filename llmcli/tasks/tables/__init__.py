"""Tables that are queried with SQL: loading them, and a database in memory that only answers SELECT."""
