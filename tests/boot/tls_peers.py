"""Other people's TLS on a lab's hosts, and their files."""

import contextlib
import shutil
import ssl
import subprocess
import threading
import time

from barewire import services
from tests.vectors.tls.identities import IDENTITIES, ROOT

TIMEOUT = 30


def write_identities(folder):
    """root.pem, and KIND.pem and KIND.key of each identity; returns the folder."""
    (folder / "root.pem").write_text(ROOT)
    for kind, (chain, key) in IDENTITIES.items():
        (folder / f"{kind}.pem").write_text(chain)
        (folder / f"{kind}.key").write_text(key)
    return folder


def put_identity(guest, files, *kinds):
    """root.pem and the kinds' files into the guest's root folder."""
    for name in ["root.pem"] + [f"{k}.{end}" for k in kinds for end in ("pem", "key")]:
        guest.put("/" + name, (files / name).read_bytes())


def name(guest, host, address):
    """Let the guest know a host by /etc/hosts."""
    guest.exec(
        "import os\ntry: os.mkdir('/etc')\nexcept OSError: pass\n"
        f"with open('/etc/hosts', 'a') as f: f.write('{address} {host}\\n')"
    )


def text(running, words):
    """What code in the guest has said up to and with `words`."""
    running.expect(words)
    return running.output


def wait_for_port(host, port, process):
    end = time.monotonic() + TIMEOUT
    while True:
        assert process.poll() is None, "the peer ended at once"
        try:
            host.connect((host.ip, port)).close()
            return
        except OSError:
            assert time.monotonic() < end, "the peer does not listen"
            time.sleep(0.01)  # it says nothing when it listens


@contextlib.contextmanager
def openssl_server(host, files, kind, port=4433, version="-tls1_3", *more):
    """`openssl s_server` on a lab's host; sends lines back reversed with -rev among `more`."""
    log = files / "s_server.log"
    argv = ["openssl", "s_server", "-accept", str(port), version]
    argv += ["-cert", files / f"{kind}.pem", "-key", files / f"{kind}.key"]
    argv += ["-cert_chain", files / f"{kind}.pem", *more]
    with open(log, "wb") as out:
        p = host.popen(*argv, stdin=subprocess.PIPE, stdout=out, stderr=out)
        p.log = log
        try:
            wait_for_port(host, port, p)
            yield p
        finally:
            p.kill()
            p.wait()
            p.stdin.close()


_NGINX = """
daemon off;
master_process off;
user root;
error_log {dir}/error.log;
pid {dir}/pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    sendfile on;
    server {{
        listen {ip}:443 ssl;
        ssl_certificate {files}/{kind}.pem; ssl_certificate_key {files}/{kind}.key;
        ssl_protocols TLSv1.3;
        root {dir}/www;
        {more}
    }}
}}
"""


def nginx_tls(host, files, kind, more="", pages=None):
    """nginx on port 443 with an identity, `index.html` and `pages` ({name: bytes})."""
    folder = files / f"nginx-{kind}"
    (folder / "www").mkdir(parents=True)
    for page, content in {"index.html": services.PAGE.encode(), **(pages or {})}.items():
        (folder / "www" / page).write_bytes(content)
    config = folder / "conf"
    config.write_text(_NGINX.format(dir=folder, ip=host.ip, files=files, kind=kind, more=more))
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin")

    def ready():
        try:
            host.connect((host.ip, 443)).close()
            return True
        except OSError:
            return False

    return services.Service(host, f"nginx-{kind}", [program, "-c", config], ready)



def python_context(files, server=False, kind="p256"):
    """An ssl.SSLContext of CPython for TLS 1.3."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    if server:
        c.load_cert_chain(files / f"{kind}.pem", files / f"{kind}.key")
    c.load_verify_locations(files / "root.pem")
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    return c


@contextlib.contextmanager
def python_server(host, context, port):
    """CPython's ssl on a lab's host: sends a line back reversed, one connection after the other."""
    listener = host.listen((host.ip, port))

    def serve():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as s:
                s.sendall(bytes(reversed(line(s)[:-1])) + b"\n")
                s.unwrap()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(2)
        listener.close()
        thread.join(TIMEOUT)


def line(s):
    """A line from an SSL socket of CPython's or pyOpenSSL's."""
    data = b""
    while not data.endswith(b"\n"):
        got = s.recv(4096)
        assert got, data
        data += got
    return data


@contextlib.contextmanager
def process(host, files, *argv):
    """A process on a lab's host: `say(line, answer)` writes, and waits for what it prints."""
    log = files / "process.log"
    with open(log, "wb") as out:
        p = host.popen(*argv, stdin=subprocess.PIPE, stdout=out, stderr=out)

    def say(text, answer):
        seen = log.read_bytes().count(answer)
        p.stdin.write(text)
        p.stdin.flush()
        end = time.monotonic() + TIMEOUT
        while log.read_bytes().count(answer) <= seen:
            assert time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.01)  # a file tells nobody that it grew

    p.say = say
    try:
        yield p
    finally:
        p.kill()
        p.wait()
        p.stdin.close()
