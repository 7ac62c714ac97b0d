"""Records: rows of CSV, TSV, JSON Lines and Parquet files, and lines of text, read and written one at a time."""
