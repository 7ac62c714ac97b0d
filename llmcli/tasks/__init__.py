"""The tasks behind the verbs: documents and a prompt file become requests, events become a result."""
