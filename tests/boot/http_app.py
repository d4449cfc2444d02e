"""An ASGI application of Starlette's for the HTTP client: run by uvicorn and by Hypercorn.

Multipart bodies are read by Python's `email`, so that what the guest writes is judged by others.
"""

import asyncio
import email.parser
import email.policy
import hashlib
import os

from starlette.applications import Starlette
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
counts = {}


async def echo(request):
    body = await request.body()
    headers = {"x-method": request.method, "x-version": request.scope["http_version"]}
    return Response(body, headers=headers, media_type="application/octet-stream")


async def seen(request):
    """The request as it came."""
    body = await request.body()
    return JSONResponse({
        "method": request.method, "headers": dict(request.headers), "path": request.url.path,
        "args": dict(request.query_params), "cookies": request.cookies,
        "sha256": hashlib.sha256(body).hexdigest(), "length": len(body),
        "text": body.decode("latin-1") if len(body) < 1000 else None,
    })  # fmt: skip


async def multipart(request):
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    parts = parser.parsebytes(head + await request.body()).iter_parts()
    return JSONResponse([
        [p.get_param("name", header="content-disposition"), p.get_filename(),
         p.get_content_type(), p.get_payload(decode=True).decode("latin-1")]
        for p in parts
    ])  # fmt: skip


async def private(request):
    if request.headers.get("authorization") != "Basic dXNlcjpww6Rzcw==":  # user:päss
        return PlainTextResponse("no", 401, {"www-authenticate": 'Basic realm="x"'})
    return PlainTextResponse("welcome")


async def cookies(request):
    response = PlainTextResponse("set")
    response.set_cookie("session", "s3", httponly=True, samesite="lax")
    response.set_cookie("old", "1", max_age=0)
    response.set_cookie("deep", "p", path="/elsewhere")
    response.set_cookie("safe", "x", secure=True)
    return response


async def hops(request):
    n = request.path_params["n"]
    return RedirectResponse(f"/hops/{n - 1}" if n else "/seen", 302)


async def round_about(request):
    return RedirectResponse(f"/round/{(request.path_params['n'] + 1) % 3}", 302)


async def moved(request):
    to = request.query_params.get("to", "/seen")
    return RedirectResponse(to, request.path_params["status"])


async def cached(request):
    """Answers with the Cache-Control that is asked for; each has another body."""
    n = counts[request.url.path] = counts.get(request.url.path, 0) + 1
    fields = {"Cache-Control": request.query_params.get("cc", "max-age=600")}
    tag = request.query_params.get("etag")
    if tag:
        fields["ETag"] = f'"{tag}"'
        if request.headers.get("if-none-match") == f'"{tag}"':
            return Response(status_code=304, headers=fields)
    if "vary" in request.query_params:
        fields["Vary"] = request.query_params["vary"]
    if request.query_params.get("fail") == str(n):
        return PlainTextResponse("down", 503)
    return PlainTextResponse(f"{request.method} {n}", headers=fields)


def _events(first, last):
    yield "retry: 20\n\n: a comment\n\n"
    for i in range(first, last):
        yield f"id: {i}\nevent: count\ndata: number\ndata: {i}\n\n"
    yield "data: never finished"


async def events(request):
    """Three at a time, from where the client has got to; nine in all."""
    first = int(request.headers.get("last-event-id", "-1")) + 1
    if first >= 9:
        return Response(status_code=204)
    return StreamingResponse(_events(first, min(first + 3, 9)), media_type="text/event-stream")


resumed = asyncio.Event()


async def resume(request):
    resumed.set()
    return PlainTextResponse("resumed")


async def chat(ws):
    offered = ws.scope["subprotocols"]
    await ws.accept(subprotocol="chat" if "chat" in offered else None)
    while True:
        message = await ws.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text == "pause":  # nothing is read until /resume is asked for
            resumed.clear()
            await ws.send_text("paused")
            await resumed.wait()
        elif text == "close":
            await ws.close(4001, "asked")
            return
        elif text is not None:
            await ws.send_text(text)
        else:
            await ws.send_bytes(message["bytes"])


app = Starlette(routes=[
    Route("/echo", echo, methods=ANY), Route("/seen", seen, methods=ANY),
    Route("/multipart", multipart, methods=["POST"]), Route("/private", private),
    Route("/cookies", cookies), Route("/hops/{n:int}", hops),
    Route("/round/{n:int}", round_about), Route("/events", events), Route("/resume", resume),
    Route("/moved/{status:int}", moved, methods=ANY),
    Route("/cached/{name}", cached, methods=ANY), WebSocketRoute("/ws", chat),
    Mount("/files", StaticFiles(directory=os.environ["WWW"])),
])  # fmt: skip
