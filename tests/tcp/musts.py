"""RFC 9293, appendix B: every MUST, and the cases that show it.

`python -m tests.tcp.musts` writes MUSTS.md; a test compares it and wants every row filled.
"""

import sys
from pathlib import Path

from tests.tcp.language import load

TABLE = Path(__file__).with_name("MUSTS.md")

# Appendix B in its order, in our words.
MUSTS = (
    ("PUSH", (
        (60, "without a PUSH flag of SEND: do not hold data for ever"),
        (61, "... and set PSH on the last segment of what was given"))),
    ("Window", (
        (1, "the window field is unsigned"),
        (34, "be robust against a window that shrinks"),
        (35, "a closed window is probed in the standard way"),
        (36, "probe a zero window"),
        (37, "a window may stay zero for ever"),
        (66, "RST and URG are processed even with a zero window"))),
    ("Urgent data", (
        (30, "include support for the urgent mechanism"),
        (62, "the pointer names the octet behind the last urgent one"),
        (31, "urgent data of any length"),
        (32, "tell the program of urgent data as it comes"),
        (33, "let the program learn how much urgent data is left"))),
    ("Options", (
        (4, "support the mandatory options"),
        (5, "take an option in any segment"),
        (6, "ignore options that are not known"),
        (68, "every option but EOL and NOP has a length"),
        (7, "cope with an illegal option length"),
        (64, "options need not begin on a word"),
        (14, "send and receive the MSS option"),
        (15, "the default send MSS is 536 (IPv4), 1220 (IPv6)"),
        (16, "calculate the effective send segment size"),
        (65, "no MSS option but on SYNs"),
        (67, "the MSS said is based on the largest packet that can be reassembled"),
        (69, "pad the header with zeros"))),
    ("Checksums", (
        (2, "a sender generates it"),
        (3, "a receiver checks it"))),
    ("Initial sequence numbers", (
        (8, "a component driven by a clock"),
        (9, "the secret function cannot be computed from outside"))),
    ("Opening", (
        (10, "simultaneous open"),
        (11, "SYN-RECEIVED remembers whether the open was passive"),
        (41, "a passive OPEN disturbs no other connection"),
        (42, "LISTEN on a port from which a connection is being opened"),
        (44, "ask IP for the source address of a SYN"),
        (45, "use the connection's local address in every segment"),
        (46, "no OPEN to a broadcast or multicast address"),
        (57, "silence about a SYN to a broadcast or multicast address"))),
    ("Closing", (
        (12, "the program hears of an aborted connection"),
        (13, "stay in TIME-WAIT for 2 MSL"))),
    ("Retransmission", (
        (19, "backoff, slow start, congestion avoidance"),
        (18, "Karn's algorithm"))),
    ("Acknowledgments", (
        (58, "join acknowledgments whenever possible"),
        (59, "process all that is queued before acknowledging"),
        (40, "a delay below half a second"),
        (39, "avoid silly windows as a receiver"))),
    ("Sending", (
        (49, "the TTL is configurable"),
        (38, "avoid silly windows as a sender"),
        (17, "a program can switch Nagle's algorithm off"))),
    ("Failures", (
        (20, "R1: negative advice to IP; R2: close the connection"),
        (21, "a program can set R2"),
        (22, "SYNs the same way"),
        (23, "R2 of a SYN is at least three minutes"))),
    ("Keepalive", (
        (24, "a program can ask for it"),
        (25, "off by default"),
        (26, "only when nothing was heard for an interval"),
        (27, "the interval is configurable"),
        (28, "two hours at least by default"),
        (29, "a lost answer is not the end"))),
    ("IP options", (
        (50, "ignore those that TCP does not know"),
        (51, "a program can give a source route"),
        (52, "which overrides one that came in"),
        (53, "answer by the route that came in"))),
    ("ICMP", (
        (54, "act on ICMP errors"),
        (56, "no abort for unreachable (0, 1, 5), time exceeded, parameter problem"),
        (55, "discard source quench in silence"))),
    ("Addresses", (
        (63, "ignore a SYN from an address that is no host's"),)),
    ("Interface to programs", (
        (47, "a way to report errors that are not the answer to a call"),
        (48, "a program can say the Diffserv field"),
        (43, "OPEN may name the local address"))),
)  # fmt: skip

# Shown by other tests than scripts: file::function.
ELSEWHERE = {}
# Not done, and why.
NOT_DONE = {
    62: "nothing urgent is sent: RFC 6093 tells new programs not to (SHLD-13)",
    32: "received urgent octets stay in the stream, as RFC 6093 recommends; nobody is told",
    33: "see MUST-32",
    51: "source routes are refused, as RFC 7126 recommends",
    52: "see MUST-51",
    53: "see MUST-51: a packet with a source route is dropped",
}
# Also shown elsewhere is only a part of it.
PARTLY = {
    20: "R1 gives no negative advice to IP: there is one way to each neighbour, which ARP watches",
}


def ids():
    """All numbers of MUSTs."""
    return [n for _, rows in MUSTS for n, _ in rows]


def cases_of(cases):
    """number -> names of the cases that show that MUST; rows of an `each` are one name."""
    found = {}
    for case in cases:
        for name in case.ids:
            if name.startswith("MUST-"):
                names = found.setdefault(int(name[5:]), {})
                plain = case.id.partition("[")[0]
                names[plain] = names.get(plain, 0) + 1
    return found


def render(cases):
    """MUSTS.md as text."""
    shown = cases_of(cases)
    out = [
        "# The MUSTs of RFC 9293",
        "",
        "Made by `python -m tests.tcp.musts`; a test keeps it true. Each case is in "
        "`tests/tcp/scripts/FILE.tcp`; (n): so many rows.",
        "",
    ]
    for title, rows in MUSTS:
        out += [f"## {title}", "", "| | what | shown by |", "|---|---|---|"]
        for n, what in rows:
            by = [name + (f" ({k})" if k > 1 else "") for name, k in shown.get(n, {}).items()]
            by += ELSEWHERE.get(n, ())
            text = ", ".join(f"`{b}`" for b in by)
            if n in NOT_DONE:
                text = f"*not done: {NOT_DONE[n]}*" + (f"; {text}" if text else "")
            if n in PARTLY:
                text += f" *{PARTLY[n]}*"
            out.append(f"| MUST-{n} | {what} | {text} |")
        out.append("")
    return "\n".join(out)


if __name__ == "__main__":
    TABLE.write_text(render(load()))
    sys.exit(0)
