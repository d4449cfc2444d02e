"""net.http: requests over HTTP/1.1 that wait.

    r = net.http.get("http://example.test/")
    r.status_code  r.headers  r.content  r.text  r.json()  r.http_version

Options: params, headers, data, json, auth, timeout (seconds, of each wait; 30
unless given, None for no end), allow_redirects, and stream=True, which leaves the
body to r.read(n), r.readinto(buf) or r.iter(). verify is for https: None for Mozilla's
roots, or a PEM or its path, or an ssl.SSLContext; False checks nothing. `net.aio.http` is
the same to be awaited.
"""

from stack.api import _connect, _runtime
from stack.api._streams import deadline_of
from stack.http import client

TIMEOUT_S = 30


class Transport:
    """Connections for the client: names resolved, TCP connected."""

    def __init__(self, rt, verify=None):
        self._rt = rt
        self._verify = verify

    def connect(self, url, timeout):
        rt = self._rt
        deadline = deadline_of(rt, timeout)
        stream = yield from _connect.stream_steps(rt, url.host, url.port, deadline)
        if url.scheme == "https":
            from stack.api import tls

            yield from stream.start_tls(tls.for_http(self._verify), url.host, deadline)
        return stream


def steps(rt, run, method, url, verify=None, **options):
    """The request as steps."""
    options.setdefault("timeout", TIMEOUT_S)
    return client.request(Transport(rt, verify), run, method, url, **options)


def request(method, url, **options):
    rt = _runtime.current()
    return rt.run(steps(rt, rt.run, method, url, **options))


def get(url, **options):
    return request("GET", url, **options)


def head(url, **options):
    return request("HEAD", url, **options)


def post(url, **options):
    return request("POST", url, **options)


def put(url, **options):
    return request("PUT", url, **options)


def patch(url, **options):
    return request("PATCH", url, **options)


def delete(url, **options):
    return request("DELETE", url, **options)
