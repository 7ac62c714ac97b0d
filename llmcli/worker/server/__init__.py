"""The worker's process: its HTTP server, its engines, and the endpoints on them."""
