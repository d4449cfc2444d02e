"""HTTP/2 as pure machines: connection.py is what a caller makes."""
