"""What ask, generate, summarize and translate do with one record; sentiment, which knows only records, is a task."""
