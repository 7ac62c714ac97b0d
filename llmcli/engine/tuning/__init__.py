"""Measurements of this machine, and the settings of the KV cache that follow from them."""
