"""HTTP to a remote server: keys, proxies, connections, server-sent events, cancellation and errors."""
