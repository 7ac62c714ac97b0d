"""How tasks run their requests: context budget, document jobs, ordered streams of records, progress."""
