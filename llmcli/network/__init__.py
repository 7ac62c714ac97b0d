"""Connections, cancellation, retries and errors of everything that talks over the network.

| | Hub | engine packages | model servers | pages |
|---|---|---|---|---|
| library | httpx2 | httpx2 | httpcore2 | httpcore2 |
| proxy, certificates | ``proxies``, ``connections`` | the same | the same | the same |
| connecting, seconds | 4 | 4 | 10 | 10 |
| silence, seconds | 8 before a response, then 20 | the same | ``timeout`` of the server | 20; 60 for the page |
| slow transfers | ``StallDetector`` | the same | none: a model may be slow | the limit of 60 seconds |
| tried again | ``RetryPolicy``, after the bytes so far | the same | the same, until a part of the answer is shown | the same |
| unreachable | not tried again: another source may have the file | 3 times | 3 times | 3 times |
| largest response | announced size of the file | size of the package | 16 MiB unless streamed | 32 MiB |
| interrupt | ``iterate_in_thread`` | the same | ``CancelToken`` | thread abandoned |

A worker listens on a Unix socket, which has no proxies, certificates or retries: ``worker/client/channel.py`` has its
own errors. A wheel is fetched by pip, with pip's settings.
"""
