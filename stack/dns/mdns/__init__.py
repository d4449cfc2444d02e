"""Names without a server: Multicast DNS, RFC 6762, and the registering half of DNS-SD, RFC 6763.

    message.py    messages: several questions, the unicast and the cache-flush bit
    responder.py  our names on one link: probing, announcing, answering, conflicts, goodbye
    querier.py    others' names: questions, known answers, a cache

Pure machines. stack/api/_mdns.py is their shell: sockets, groups, which senders count.
Not implemented: DNSSEC signatures, sleep proxies, names beside .local and the reverse
zones, questions that are asked for ever (RFC 6762, section 5.2; a look-up asks three times).
"""

PORT = 5353
GROUP4 = 0xE00000FB  # 224.0.0.251
GROUP6 = b"\xff\x02" + bytes(13) + b"\xfb"

LOCAL = b"\x05local\x00"
