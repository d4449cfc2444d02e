"""The states of a connection (RFC 9293, section 3.3.2) and which may follow which.

    CLOSED LISTEN SYN-SENT SYN-RECEIVED ESTABLISHED
    FIN-WAIT-1 FIN-WAIT-2 CLOSE-WAIT CLOSING LAST-ACK TIME-WAIT

The numbers are ordered so that comparisons mean something: every state from
ESTABLISHED on is synchronized; up to CLOSE_WAIT the program may still send.
"""

from micropython import const

CLOSED = const(0)
LISTEN = const(1)
SYN_SENT = const(2)
SYN_RECEIVED = const(3)
ESTABLISHED = const(4)
CLOSE_WAIT = const(5)
FIN_WAIT_1 = const(6)
FIN_WAIT_2 = const(7)
CLOSING = const(8)
LAST_ACK = const(9)
TIME_WAIT = const(10)

NAMES = (
    "CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT",
    "FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK", "TIME-WAIT",
)

# By old state, the new states of RFC 9293 figure 5. CLOSED may follow every
# state: a reset, an abort, a timeout.
TRANSITIONS = (
    (SYN_SENT, SYN_RECEIVED),  # CLOSED: active open; a Listener made us from its half-open entry
    (),  # LISTEN: a Listener stays one
    (CLOSED, SYN_RECEIVED, ESTABLISHED),  # SYN_SENT
    (CLOSED, ESTABLISHED, FIN_WAIT_1),  # SYN_RECEIVED
    (CLOSED, FIN_WAIT_1, CLOSE_WAIT),  # ESTABLISHED
    (CLOSED, LAST_ACK),  # CLOSE_WAIT
    (CLOSED, FIN_WAIT_2, CLOSING, TIME_WAIT),  # FIN_WAIT_1
    (CLOSED, TIME_WAIT),  # FIN_WAIT_2
    (CLOSED, TIME_WAIT),  # CLOSING
    (CLOSED,),  # LAST_ACK
    (CLOSED,),  # TIME_WAIT
)
