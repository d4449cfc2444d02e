"""MicroPython's own asyncio over the booted host's loopback. On CPython there is nothing to run."""

try:
    import hw
except ImportError:
    hw = None

if hw is not None:
    import asyncio
    import json
    import socket
    import time

    import net

    def test_streams():
        async def answer(reader, writer):
            line = await reader.readline()
            writer.write(b"got " + line)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def ask(i):
            reader, writer = await asyncio.open_connection("127.0.0.1", 8888)
            writer.write(b"message %d\n" % i)
            await writer.drain()
            data = await reader.read()
            writer.close()
            await writer.wait_closed()
            return data

        async def main():
            server = await asyncio.start_server(answer, "127.0.0.1", 8888)
            got = await asyncio.gather(*[ask(i) for i in range(20)])
            server.close()
            await server.wait_closed()
            return got

        began = time.ticks_ms()
        assert asyncio.run(main()) == [b"got message %d\n" % i for i in range(20)]
        # No SYN was dropped, which would cost a second.
        assert time.ticks_diff(time.ticks_ms(), began) < 900

    def test_long_bodies_of_many_clients():
        body = bytes(range(256)) * 512

        async def answer(reader, writer):
            n = int(await reader.readline())
            writer.write(memoryview(body)[:n])
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def ask(n):
            reader, writer = await asyncio.open_connection("127.0.0.1", 8889)
            writer.write(b"%d\n" % n)
            await writer.drain()
            data = await reader.readexactly(n)
            assert await reader.read(1) == b""
            writer.close()
            await writer.wait_closed()
            return data

        async def main():
            server = await asyncio.start_server(answer, "127.0.0.1", 8889)
            sizes = (1, 1000, 70000, len(body))
            got = await asyncio.gather(*[ask(n) for n in sizes])
            assert [len(g) for g in got] == list(sizes)
            assert all([body[: len(g)] == g for g in got])
            server.close()
            await server.wait_closed()

        asyncio.run(main())

    def test_refused():
        async def main():
            try:
                await asyncio.open_connection("127.0.0.1", 9)
            except OSError as e:
                return e.errno

        assert asyncio.run(main()) == 111

    def test_all_addresses_are_tried():
        """RFC 8305: the first address of a name refuses, the second answers; where all refuse, so
        does the call."""
        from stack.api import _runtime
        from stack.dns import hosts

        async def answer(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def main():
            server = await asyncio.start_server(answer, "127.0.0.1", 8891)
            reader, writer = await asyncio.open_connection("several.test", 8891)
            writer.write(b"hello\n")
            await writer.drain()
            got = await reader.read()
            writer.close()
            await writer.wait_closed()
            code = 0
            try:
                await asyncio.open_connection("several.test", 9)
            except OSError as e:
                code = e.errno
            server.close()
            await server.wait_closed()
            return got, code

        resolver = _runtime.current().resolver
        before = resolver.hosts
        resolver.hosts = hosts.parse("127.0.0.2 several.test\n127.0.0.1 several.test\n")
        try:
            got, code = asyncio.run(main())
        finally:
            resolver.hosts = before
        assert got == b"hello\n" and code == 111

    def test_cancelled_reader_leaves_the_poll():
        async def silent(reader, writer):
            pass

        async def main():
            server = await asyncio.start_server(silent, "127.0.0.1", 8890)
            reader, writer = await asyncio.open_connection("127.0.0.1", 8890)
            try:
                await asyncio.wait_for(reader.read(1), 0.05)
                raise AssertionError
            except asyncio.TimeoutError:
                pass
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()

        asyncio.run(main())

    def test_the_awaited_twins():
        ticks = []

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep_ms(5)

        async def answer(reader, writer):
            while (await reader.readline()).strip():
                pass
            await asyncio.sleep_ms(50)
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}')
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def main():
            server = await asyncio.start_server(answer, "127.0.0.1", 8891)
            other = asyncio.create_task(tick())
            url = "http://localhost:8891/"
            r = await net.aio.http.get(url)
            assert r.status_code == 200 and r.json() == {"a": 1}
            seen = len(ticks)
            assert seen > 3, "the others were blocked"
            two = await asyncio.gather(net.aio.http.get(url), net.aio.http.get(url))
            assert [x.text for x in two] == ['{"a": 1}'] * 2
            r = await net.aio.http.get(url, stream=True)
            assert await r.read(3) == b'{"a' and await r.read() == b'": 1}'
            assert await net.aio.dns.resolve("localhost") == "127.0.0.1"
            assert (await net.aio.ping("127.0.0.1", count=2, interval=0.02, quiet=True)).received
            info = await net.aio.getaddrinfo("localhost", 80, 0, socket.SOCK_STREAM)
            assert info[0][-1] == ("127.0.0.1", 80)
            try:
                await net.aio.http.get("http://127.0.0.1:9/")
                raise AssertionError
            except OSError as e:
                assert e.errno == 111
            try:
                await asyncio.wait_for(net.aio.http.get(url), 0.02)
                raise AssertionError
            except asyncio.TimeoutError:
                pass
            other.cancel()
            server.close()
            await server.wait_closed()

        asyncio.run(main())
        open_now = [c for c in net.connections() if c["state"] == "ESTABLISHED"]
        assert len(open_now) <= 1, open_now  # the server's end of the request that was cut off

    def test_c_code_uses_sockets_as_streams():
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        a = socket.socket()
        a.connect(listener.getsockname())
        b, _ = listener.accept()
        print("print", 5, file=a)
        json.dump({"a": [1, 2]}, a)
        a.close()
        assert b.readline() == b"print 5\n"
        assert json.load(b) == {"a": [1, 2]}
        b.close()
        listener.close()

    def test_collected_sockets_are_closed():
        import gc

        from stack.api import _runtime

        rt = _runtime.current()
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(4)

        def leave():
            for _ in range(10):
                c = socket.socket()
                c.connect(listener.getsockname())
                listener.accept()

        def deeper(n):
            # Overwrite what is left of frames on the C stack.
            return deeper(n - 1) + 1 if n else 0

        leave()
        deeper(20)
        gc.collect()
        rt.lock()
        closed = rt.guards.scan(rt.now())
        rt.unlock()
        listener.close()
        assert closed >= 16, closed

    def test_recv_into_allocates_nothing():
        import micropython

        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        a = socket.socket()
        a.connect(listener.getsockname())
        b, _ = listener.accept()
        buf = bytearray(2000)
        for _ in range(3):
            a.send(buf)
            b.readinto(buf)
        a.send(buf)
        time.sleep_ms(20)
        micropython.heap_lock()
        try:
            n = b.recv_into(buf)
        finally:
            micropython.heap_unlock()
        assert n == 2000
        a.close()
        b.close()
        listener.close()

    class Locked:
        """A connection that its owner may only touch with the stack's lock held, as TLS's."""

        def __init__(self, endpoint, calls):
            self._endpoint = endpoint
            self._calls = calls

        def __getattr__(self, name):
            hw.unlock()  # RuntimeError where it is not held
            hw.lock()
            self._calls[name] = self._calls.get(name, 0) + 1
            return getattr(self._endpoint, name)

    def test_httpd_touches_connections_under_the_lock():
        from net import httpd

        from stack.api._serve_socket import SocketStream

        calls = {}
        big = bytes(400000)
        table = {"/": "hello", "/big": httpd.Response(big)}

        async def main():
            server = httpd.Server(lambda request: table[request.path])
            server._reaper = asyncio.create_task(server._reap())
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(4)

            async def get(writer, reader, path):
                writer.write(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                await writer.drain()
                n = 0
                while True:
                    line = await reader.readline()
                    if line.lower().startswith(b"content-length:"):
                        n = int(line.split(b":")[1])
                    if line == b"\r\n":
                        return await reader.readexactly(n)

            reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
            c, peer = listener.accept()
            stream = SocketStream(c, peer)
            stream._ep = stream._below = Locked(stream._ep, calls)
            served = asyncio.create_task(server.take(stream, "http"))
            for _ in range(3):
                assert await get(writer, reader, b"/") == b"hello"
                await asyncio.sleep_ms(5)  # the server waits for the next
            assert await get(writer, reader, b"/big") == big
            await server.shutdown(1)
            await served
            assert await reader.read(1) == b""
            writer.close()
            await writer.wait_closed()
            listener.close()

        asyncio.run(asyncio.wait_for(main(), 60))
        assert calls["recv_into"] >= 4 and calls["send"] > 4, calls

    def test_a_stream_of_httpd_is_cancelled_and_aborted():
        from stack.api._serve_socket import SocketStream

        async def main():
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(4)
            client = socket.socket()
            client.connect(listener.getsockname())
            c, peer = listener.accept()
            stream = SocketStream(c, peer)

            async def read():
                return await stream.read()

            try:
                await asyncio.wait_for_ms(read(), 10)
                raise AssertionError
            except asyncio.TimeoutError:
                pass
            assert stream._reader is None
            client.write(b"after the one that gave up")
            assert await read() == b"after the one that gave up"
            reading = asyncio.create_task(read())
            await asyncio.sleep_ms(5)
            assert stream._reader is not None
            hw.lock()
            stream.wake(None)  # for nothing: there is nothing to read, and no end
            hw.unlock()
            await asyncio.sleep_ms(5)
            assert stream._reader is not None and not reading.done()
            stream.abort()
            assert await reading == b"" and await read() == b""
            try:
                stream.write(b"x")
                raise AssertionError
            except OSError as e:
                assert e.errno == 32
            client.close()
            listener.close()

        asyncio.run(main())

    def test_an_end_that_came_with_the_last_bytes():
        from stack.api._serve_socket import SocketStream

        async def main():
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(4)
            client = socket.socket()
            client.connect(listener.getsockname())
            stream = SocketStream(*listener.accept())
            client.write(b"the last bytes")
            client.close()
            await asyncio.sleep_ms(20)

            async def read():
                return await stream.read()

            assert await read() == b"the last bytes"
            assert await asyncio.wait_for(read(), 10) == b""
            stream.close()
            listener.close()

        asyncio.run(main())

    def test_answers_in_a_row_leave_together():
        """Written while other tasks are ready: all have left, with fewer sends than answers."""
        from stack.api import _runtime
        from stack.api._serve_socket import SocketStream

        rt = _runtime.current()
        kicks = [0]

        async def main():
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(8)
            clients = []
            streams = []
            for _ in range(6):
                c = socket.socket()
                c.connect(listener.getsockname())
                c.setblocking(False)
                clients.append(c)
                streams.append(SocketStream(*listener.accept()))

            async def answer(stream):
                stream.write(b"answer")

            kick = rt.kick

            def counted(now):
                kicks[0] += 1
                kick(now)

            rt.kick = counted
            try:
                await asyncio.gather(*[answer(s) for s in streams])
            finally:
                rt.kick = kick
            while None in [c.read(6) for c in clients]:
                raise AssertionError("an answer was not sent")
            for s in clients + streams + [listener]:
                s.close()

        asyncio.run(main())
        assert 1 <= kicks[0] < 6, kicks

else:

    def test_nothing_here():
        pass
