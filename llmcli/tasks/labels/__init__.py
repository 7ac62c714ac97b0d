"""Decisions over records by scoring labels: scores, prior correction, thresholds, examples, summaries."""
