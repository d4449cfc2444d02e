# What comes in on port 7 goes out again, one client after the other: plain sockets.
import socket

server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", 7))
server.listen(4)
print("echo on port 7")

buf = bytearray(65536)
view = memoryview(buf)
while True:
    client, peer = server.accept()
    total = 0
    try:
        while True:
            n = client.recv_into(buf)
            if not n:
                break
            client.write(view[:n])
            total += n
    except OSError as e:
        print("%s: %s" % (peer[0], e))
    client.close()
    print("%s: %d bytes" % (peer[0], total))
