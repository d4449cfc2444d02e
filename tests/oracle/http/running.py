"""A server of stack/api/httpd.py on CPython's asyncio, in a thread of the test."""

import asyncio
import ssl
import threading

from stack.api import httpd


class Running:
    """`with Running(app) as s:` serves on 127.0.0.1: s.port, and with TLS s.tls_port."""

    def __init__(self, app, certificate=None, **limits):
        self._app, self._certificate, self._limits = app, certificate, limits

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self._start())
        return self

    def call(self, coroutine, timeout=60):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    async def _start(self):
        self.server = httpd.Server(self._app, **self._limits)
        listener = await self.server.listen("127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            context.set_alpn_protocols(["h2", "http/1.1"])
            listener = await self.server.listen("127.0.0.1", 0, context)
            self.tls_port = listener.sockets[0].getsockname()[1]
            self.tls_url = f"https://localhost:{self.tls_port}"

    def __exit__(self, *_):
        self.call(self.server.shutdown(1))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
