"""Running tasks: sequential coroutines that ask a backend, for one input, many documents, or a stream of records."""
