"""Running the requests of tasks: context budget, document jobs, ordered streams of records, progress."""
