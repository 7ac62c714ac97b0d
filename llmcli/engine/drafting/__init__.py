"""Draft tokens from a second, smaller model (speculative decoding)."""
