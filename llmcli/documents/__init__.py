"""Files to segments and back: readers, splitters, records."""
