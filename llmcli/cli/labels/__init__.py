"""The command-line side of classify, sentiment and filter: options, labelled rows, matches, summaries."""
