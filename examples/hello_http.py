# A page on port 80, for as many clients as come: asyncio over the stack in Python.
import asyncio

PAGE = b"<html><body><h1>Hello from Barewire</h1></body></html>\n"
HEAD = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


async def answer(reader, writer):
    try:
        request = await reader.readline()
        while (await reader.readline()).strip():
            pass
        if request.startswith((b"GET ", b"HEAD ")):
            writer.write(HEAD % (b"200 OK", len(PAGE)))
            if request[0] == 71:
                writer.write(PAGE)
        else:
            writer.write(HEAD % (b"405 Method Not Allowed", 0))
        await writer.drain()
    except OSError as e:
        print("client gone:", e)
    finally:
        writer.close()
        await writer.wait_closed()


async def main():
    server = await asyncio.start_server(answer, "0.0.0.0", 80, backlog=64)
    print("serving on port 80")
    await server.wait_closed()


asyncio.run(main())
