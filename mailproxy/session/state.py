"""What a login waits for.

Theory of operation
-------------------

Three parties speak. The *client* gives commands, read by the protocol's frontend. *Auth* answers one request
at a time: yes, no, or a challenge to pass on. The *backend* is dialled when auth said yes and told where; its
side of the login is the protocol's backend. When it accepts, the sockets and whatever either peer has said
too early go to the relay, and the session is over.

    COMMAND --LOGIN, AUTHENTICATE--> AUTH --OK--> DIALLING --bytes--> BACKEND --OK--> DETACHED
       ^                             |  ^            |                   |
       |                   challenge v  | answer     |                   |
       |                             SASL            |                   |
       +------- a refusal, and the client may try again -----------------+

Nobody has to wait for his turn to speak:

* The client may send ahead. Only COMMAND and SASL read his bytes; otherwise they stay in the buffer, and when
  that is full the client is read no more until commands are read again. On success they are the backend's,
  in every other case they are commands, once.
* The client may leave. In COMMAND and SASL that is an end, in the other states a cancellation.
* Auth and backend may fail. That refuses the login as temporary, and the client may try again.
* There are two deadlines and one timer. The login's deadline runs from the greeting and nothing renews it;
  a backend's is never later. After a backend failed the timer is set for the login's again.

STARTTLS is an island: COMMAND, HANDSHAKE, and COMMAND again with a new frontend. Nothing that was said in
the clear is known afterwards, and what arrived behind the command is dropped (CVE-2011-0411).

A client who breaks the protocol hears a farewell. After that, and after `end`, the state is CLOSED and
nothing that arrives has any effect.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What we are waiting for."""

    COMMAND = "a command of the client"
    AUTH = "auth's answer to the open request"
    SASL = "the client's answer to a challenge; the request is open"
    HANDSHAKE = "the client's half of the TLS handshake"
    DIALLING = "the backend's first bytes"
    BACKEND = "the backend's answers"
    DETACHED = "nothing: the relay has both sockets"
    CLOSED = "nothing: the client is gone or was told to go"


OVER = (State.DETACHED, State.CLOSED)
DEAF = (*OVER, State.HANDSHAKE)
READING = (State.COMMAND, State.SASL)
UNPROVEN = (State.COMMAND, State.AUTH, State.SASL, State.HANDSHAKE)
