"""Sizes and times that bound everything a stranger can make us hold.

All times derive from one login budget, each inside the next, so that whoever is asked gives up before
the one who asks: a database before auth, auth before the worker, the worker before the login's end.
"""

from __future__ import annotations

LOGIN_TIMEOUT_S = 180.0
AUTH_WAIT_S = 150.0
AUTH_REQUEST_S = 120.0
LOOKUP_S = 60.0
PROXY_TIMEOUT_S = 30.0

FAILURE_TICK_S = 2.0

IMAP_LINE_BYTES = 8192
IMAP_LITERALS_BYTES = 8192
POP3_LINE_BYTES = 1024
SASL_LINE_BYTES = 8192
# A client who sends ahead is read no further than this, plus one read.
PAUSE_BYTES = SASL_LINE_BYTES
BACKEND_LINE_BYTES = 4096
BACKEND_LOGIN_BYTES = 65536
BACKEND_LOGIN_LINES = 100
ID_PAIRS = 30
BAD_COMMANDS = 3

# Two base64 responses of the SASL limit, the other parameters, and room for escapes.
AUTH_LINE_BYTES = 32768
AUTH_PENDING_REQUESTS = 20000
