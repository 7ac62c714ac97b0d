"""Documents: reading inputs, cutting texts without loss, records, writing outputs."""
