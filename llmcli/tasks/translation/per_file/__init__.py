"""Translation of one file: target file, carry-over, translation memory, bilingual layouts and the report."""
