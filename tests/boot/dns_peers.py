"""Name servers with TLS and HTTPS on a lab's hosts: Debian's unbound and BIND."""

import subprocess

from barewire.services import Service, _program

PRIVATE = "private.test"


def certificate(folder, name, ip, cn="dns.test"):
    """(cert, key): self-signed for dns.test and an address."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", f"/CN={cn}",
         "-addext", f"subjectAltName=DNS:{cn},IP:{ip}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def unbound(host, folder, cert, key, more=""):
    """unbound on ports 53, 853 (TLS) and 443 (HTTPS), with private.test of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    big = " ".join(f'local-data: "big.{PRIVATE} 300 TXT {"x" * 200}{i:02}"\n' for i in range(30))
    (folder / "unbound.conf").write_text(f"""
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: "{folder}/pid"
  interface: {host.ip}@53
  interface: {host.ip}@853
  interface: {host.ip}@443
  tls-port: 853
  https-port: 443
  http-endpoint: "/dns-query"
  tls-service-pem: "{cert}"
  tls-service-key: "{key}"
  access-control: 0.0.0.0/0 allow
  module-config: "iterator"
  use-syslog: no
  verbosity: 2
  log-queries: yes
  num-threads: 1
  local-zone: "{PRIVATE}." static
  local-data: "www.{PRIVATE} 300 A 192.0.2.1"
  local-data: "www.{PRIVATE} 300 AAAA 2001:db8::1"
  local-data: "{PRIVATE} 300 MX 10 mail.{PRIVATE}"
  local-data-ptr: "192.0.2.1 300 www.{PRIVATE}"
  {big}
  {more}
remote-control:
  control-enable: no
""")
    return Service(host, "unbound", [_program("unbound"), "-d", "-c", folder / "unbound.conf"],
                   lambda: _listens(host, 443), 30)  # fmt: skip


def bind(host, folder, cert, key):
    """BIND on the same ports, with the zone private.test, and two TLS and HTTPS of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zone").write_text(
        f"$TTL 300\n@ SOA ns hostmaster 1 900 300 86400 60\n@ NS ns\nns A {host.ip}\n"
        "www A 192.0.2.1\nwww AAAA 2001:db8::1\n@ MX 10 mail\n"
        + "".join(f'big TXT "{"x" * 200}{i:02}"\n' for i in range(30))
    )
    (folder / "named.conf").write_text(f"""
tls t {{ key-file "{key}"; cert-file "{cert}"; }};
http h {{ endpoints {{ "/dns-query"; }}; }};
options {{ directory "{folder}"; pid-file "{folder}/pid"; session-keyfile "{folder}/skey";
  managed-keys-directory "{folder}"; dnssec-validation no; recursion no; allow-query {{ any; }};
  listen-on {{ {host.ip}; }}; listen-on-v6 {{ none; }};
  listen-on port 853 tls t {{ {host.ip}; }};
  listen-on port 443 tls t http h {{ {host.ip}; }}; }};
controls {{ }};
zone "{PRIVATE}" {{ type primary; file "{folder}/zone"; }};
""")
    argv = [_program("named"), "-g", "-u", "root", "-c", folder / "named.conf"]
    return Service(host, "bind", argv, lambda: _listens(host, 443), 30)


def _listens(host, port):
    try:
        host.connect((host.ip, port)).close()
        return True
    except OSError:
        return False
