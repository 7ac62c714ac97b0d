"""Private values in texts: found by patterns, replaced by placeholders before a text is sent, put back in the answer."""
