"""Values of the configuration: how they are parsed, prices, and well-known servers."""
