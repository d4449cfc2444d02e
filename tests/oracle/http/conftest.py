"""The oracles of HTTP, HTTP/2 and WebSocket come from PyPI: h11, h2, hpack, wsproto."""
