"""The KV cache: its size, its sequence ids, and the prefixes that sequences share."""
