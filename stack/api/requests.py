"""requests: the API of MicroPython's `requests`, over net.http.

A response's body is read when `content`, `text`, `json()` or `raw` is used; close()
or a `with` ends the connection before that. Not implemented: files=, Session, cookies.
"""

from stack.api import _runtime, http


class Response:
    """`status_code reason headers content text json() raw close()`."""

    def __init__(self, r):
        self._r = r
        self.status_code = r.status_code
        self.reason = r.reason
        self.headers = r.headers
        self.encoding = "utf-8"
        self.url = r.url
        self.raw = _Raw(r)

    @property
    def content(self):
        return self._r.content

    @property
    def text(self):
        return str(self._r.content, self.encoding)

    @property
    def ok(self):
        return self._r.ok

    def json(self):
        return self._r.json()

    def iter_content(self, chunk_size=4096):
        return self._r.iter(chunk_size)

    def raise_for_status(self):
        self._r.raise_for_status()

    def close(self):
        self._r.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Raw:
    """The body as a stream."""

    def __init__(self, r):
        self._r = r
        self.read = r.read
        self.readinto = r.readinto
        self.close = r.close


def request(
    method,
    url,
    data=None,
    json=None,
    headers=None,
    stream=None,
    auth=None,
    timeout=None,
    parse_headers=True,
    params=None,
    verify=None,
    allow_redirects=True,
):
    if callable(auth):
        raise NotImplementedError("auth as a function")
    rt = _runtime.current()
    return Response(
        rt.run(
            http.steps(
                rt,
                rt.run,
                method,
                url,
                verify=verify,
                data=data,
                json=json,
                headers=headers,
                auth=auth,
                timeout=timeout,
                params=params,
                stream=True,
                allow_redirects=allow_redirects,
            )
        )
    )


def head(url, **kw):
    return request("HEAD", url, **kw)


def get(url, **kw):
    return request("GET", url, **kw)


def post(url, **kw):
    return request("POST", url, **kw)


def put(url, **kw):
    return request("PUT", url, **kw)


def patch(url, **kw):
    return request("PATCH", url, **kw)


def delete(url, **kw):
    return request("DELETE", url, **kw)
