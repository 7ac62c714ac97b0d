"""Verbs over one record: ask, generate, summarize and translate; sentiment, which knows only records, is a task."""
