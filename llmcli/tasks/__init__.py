"""One module for each verb: documents and a prompt file become requests, events become a result."""
