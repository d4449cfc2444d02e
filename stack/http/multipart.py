"""multipart/form-data, written: RFC 7578.

files: {name: content} or {name: (filename, content[, type])}, or pairs; content: bytes, str
or an open binary file, which is read while it is sent.
Not implemented: reading it.
"""

_PIECE = 8192


def _quote(text):
    # Section 5.1.3: percent-encoded as browsers do it.
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def encode(fields, files, boundary):
    """(content type, iterator over pieces, length or -1 where a file's is not known)."""
    parts = []
    for name, value in fields:
        parts.append((_head(boundary, name, None, None), str(value).encode()))
    for name, what in files.items() if hasattr(files, "items") else files:
        if isinstance(what, tuple):
            filename, content = what[0], what[1]
            type = what[2] if len(what) > 2 else "application/octet-stream"
        else:
            filename = getattr(what, "name", None)
            filename = filename.split("/")[-1] if isinstance(filename, str) else name
            content = what
            type = "application/octet-stream"
        if isinstance(content, str):
            content = content.encode()
        parts.append((_head(boundary, name, filename, type), content))
    end = b"--" + boundary.encode() + b"--\r\n"
    length = len(end)
    for head, content in parts:
        if hasattr(content, "read"):
            length = -1
            break
        length += len(head) + len(content) + 2
    return "multipart/form-data; boundary=" + boundary, _pieces(parts, end), length


def _head(boundary, name, filename, type):
    text = '--%s\r\nContent-Disposition: form-data; name="%s"' % (boundary, _quote(name))
    if filename is not None:
        text += '; filename="%s"\r\nContent-Type: %s' % (_quote(filename), type)
    return (text + "\r\n\r\n").encode()


def _pieces(parts, end):
    for head, content in parts:
        yield head
        if hasattr(content, "read"):
            while True:
                piece = content.read(_PIECE)
                if not piece:
                    break
                yield piece
        else:
            yield content
        yield b"\r\n"
    yield end
