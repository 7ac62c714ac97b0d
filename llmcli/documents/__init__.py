"""Documents: reading inputs, splitting texts without loss, records, writing outputs."""
