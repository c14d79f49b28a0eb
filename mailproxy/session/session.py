"""One login as one state machine, between a client, auth and a backend; the same for IMAP and POP3.

See `session.state` for what it waits for and why.
"""

from __future__ import annotations

from mailproxy.base.level import Level
from mailproxy.base.limits import PAUSE_BYTES
from mailproxy.base.text import printable
from mailproxy.ipc.auth_protocol import Fields, Outcome, Reply
from mailproxy.proto import sasl
from mailproxy.proto.backend import Verdict
from mailproxy.proto.frontend import ClientViolation, Refusal, Request, check_response
from mailproxy.session.attempts import Attempts
from mailproxy.session.client import Client
from mailproxy.session.identity import Claims, describe
from mailproxy.session.out import Out
from mailproxy.session.policy import Policy
from mailproxy.session.state import DEAF, OVER, READING, UNPROVEN, State
from mailproxy.session.target import BadTarget, check_referral, check_target, one_line, refusal_of_fields


class Session:
    """Born with a connection, told what happened by the `on_` methods; dropped after detach or close."""

    # fmt: off
    __slots__ = (
        "_apop_challenge", "_attempts", "_claims", "_client", "_face", "_frontend", "_is_paused",
        "_login_deadline", "_mechanism", "_out", "_policy", "_tag", "_user", "state", "user",
    )
    # fmt: on

    def __init__(
        self, policy: Policy, out: Out, client: Client, backend_tag: bytes, apop_challenge: bytes = b""
    ) -> None:
        """Take a `backend_tag` that nobody can guess, upper case, and a challenge if APOP is offered."""
        self._policy = policy
        self._out = out
        self._client = client
        self._tag = backend_tag
        if policy.trusted_networks and policy.trusts(client.rip):
            client.is_trusted = client.secured = True
        self._face = policy.face(client)
        self._apop_challenge = apop_challenge if policy.apop_offered else b""
        self._frontend = policy.frontend(self._face, out.send_client, self._apop_challenge)
        self._attempts: Attempts | None = None
        self._claims: Claims | None = None
        self.state = State.COMMAND
        """What the session waits for; nobody else sets it."""
        self._mechanism = b""
        self._user = b""
        self.user = ""
        """Auth's name for the user, printable; empty before its first answer."""
        self._is_paused = False
        self._login_deadline = 0.0

    @property
    def is_evictable(self) -> bool:
        """Whether nothing is lost but a connection: no password was accepted yet."""
        return self.state in UNPROVEN

    def start(self, now: float) -> None:
        """Greet the client; his time for the whole login runs from here."""
        self._login_deadline = now + self._policy.login_timeout_s
        self._out.set_deadline(self._login_deadline)
        greeting = self._face.greeting
        if self._apop_challenge:
            greeting = greeting.replace(b"\r\n", b" %s\r\n" % self._apop_challenge)
        self._out.send_client(greeting)

    # The client

    def on_client_data(self, data: bytes, now: float) -> None:
        """Take bytes that the client sent."""
        if self.state in DEAF:
            return
        self._frontend.buffer.feed(data)
        if self.state in READING:
            self._read_client()
        elif not self._is_paused and len(self._frontend.buffer) >= PAUSE_BYTES:
            self._is_paused = True
            self._out.pause_client()

    def on_client_eof(self, now: float) -> None:
        """Take the client's end, or that of his half: he cannot finish a login any more."""
        if self.state not in OVER:
            self._close("Disconnected")

    def _read_client(self) -> None:
        frontend = self._frontend
        try:
            while True:
                if self.state is State.COMMAND:
                    request = frontend.next_request()
                    if request is Request.NONE:
                        break
                    # An enum's hash is a function of Python: not for what nearly everybody wants.
                    begin = Session._login if request is Request.LOGIN else _BEGIN[request]
                    begin(self)
                elif self.state is State.SASL:
                    line = frontend.next_sasl_line()
                    if line is None:
                        break
                    self._on_sasl_line(line)
                else:
                    return  # whoever sent ahead stays paused until commands are read again
        except ClientViolation as violation:
            frontend.farewell(violation.farewell)
            self._close(f"Disconnected: {violation.reason}")
            return
        if self._is_paused:
            self._is_paused = False
            self._out.resume_client()

    def _identify(self) -> None:
        parameters = self._frontend.parameters
        self._claims = self._claims or Claims(self._client)
        is_good = self._claims.take(parameters)
        self._frontend.end_identify(is_good)
        if not is_good:
            self._out.log(Level.WARNING, f"Invalid claim of a proxy, rip={self._client.rip}: no change")
        if self._policy.log_id and parameters:
            self._log_login(f"ID sent: {describe(parameters, self._policy.log_id)}")

    def _start_tls(self) -> None:
        """Begin TLS; what came behind the command was sent by anyone, and is dropped."""
        self._frontend.agree_to_tls()
        self._frontend.buffer.take_rest()
        self.state = State.HANDSHAKE
        if self._is_paused:
            self._is_paused = False
            self._out.resume_client()
        self._out.start_client_tls()

    def on_client_tls_started(self, now: float) -> None:
        """Take it that the client is known to speak TLS: everything he said before is forgotten."""
        if self.state is not State.HANDSHAKE:
            return
        if self._claims is not None:
            self._claims.forget()
        self._face = self._policy.face(self._client)
        self._frontend = self._policy.frontend(self._face, self._out.send_client, self._apop_challenge)
        self._user = self._mechanism = b""
        self.user = ""
        self.state = State.COMMAND

    def _logout(self) -> None:
        self._frontend.say_goodbye()
        self._close("Aborted login")

    def _login(self) -> None:
        frontend = self._frontend
        if not self._face.plaintext_allowed:
            # What the client did matters more than why: the password was on the wire.
            frontend.refuse_plaintext()
            self._log_verbose("Login failed: Plaintext authentication disabled")
        elif sasl.PLAIN not in self._policy.mechanisms:
            frontend.refuse(Refusal.UNSUPPORTED)
        elif sasl.breaks_line(frontend.user + frontend.password):
            frontend.refuse(Refusal.CREDENTIALS)
            self._log_verbose("Login failed: CR, LF or NUL in user name or password")
        else:
            self._ask_auth(sasl.PLAIN, sasl.plain(frontend.user, frontend.password))
        frontend.forget()

    def _apop(self) -> None:
        if self._face.login_allowed:
            self._ask_auth(sasl.APOP, self._frontend.response)
        else:
            self._refuse_without_tls()
        self._frontend.forget()

    def _refuse_without_tls(self) -> None:
        self._frontend.refuse_without_tls()
        self._log_verbose("Login failed: SSL/TLS is required")

    def _authenticate(self) -> None:
        frontend = self._frontend
        name, response = frontend.mechanism.upper(), frontend.response
        frontend.forget()
        mechanism = self._policy.mechanisms.get(name)
        if not self._face.login_allowed:
            self._refuse_without_tls()
        elif mechanism is None or mechanism.is_private:
            self._refuse_sasl(name, Refusal.UNSUPPORTED)
        elif mechanism.is_plaintext and not self._face.plaintext_allowed:
            self._refuse_sasl(name, Refusal.PRIVACY)
        else:
            response = b"" if response == sasl.EMPTY_RESPONSE else response
            refusal = check_response(response, name, mechanism.is_plaintext)
            if refusal is None:
                self._ask_auth(name, response)
            else:
                self._refuse_sasl(name, refusal)

    def _refuse_sasl(self, name: bytes, refusal: Refusal) -> None:
        self._frontend.refuse(refusal)
        self._log_verbose(f"Authenticate {printable(name, 64)} failed: {refusal.value.decode('ascii')}")

    def _ask_auth(self, mechanism: bytes, response: bytes | None) -> None:
        self._mechanism = mechanism
        self.state = State.AUTH
        self._out.ask_auth(mechanism, response)

    def _on_sasl_line(self, line: bytes) -> None:
        name = self._mechanism
        is_plaintext = self._policy.mechanisms[name].is_plaintext
        refusal = Refusal.ABORTED if line == sasl.ABORT else check_response(line, name, is_plaintext)
        if refusal is None:
            self.state = State.AUTH
            self._out.answer_auth(line)
            return
        self.state = State.COMMAND
        self._out.cancel_auth()
        self._refuse_sasl(name, refusal)

    # Auth

    def on_auth_reply(self, reply: Reply, now: float) -> None:
        """Take auth's answer to the open request."""
        if self.state is not State.AUTH:
            return
        if reply.outcome is Outcome.CONTINUE:
            self.state = State.SASL
            self._frontend.challenge(reply.challenge)
            self._read_client()
            return
        self._user = reply.fields.get(b"user") or self._user
        self.user = printable(self._user)
        if reply.outcome is Outcome.OK:
            self._on_accepted(reply.fields, now)
        else:
            self._on_failed(reply.fields)

    def on_auth_lost(self, now: float) -> None:
        """Take it that auth will not answer the open request; the client may try again."""
        if self.state in (State.AUTH, State.SASL):
            self._refuse(Refusal.TEMPORARY)

    def _on_accepted(self, fields: Fields, now: float) -> None:
        if b"proxy" in fields:
            try:
                target = check_target(fields, self._user, self._policy, self._client)
            except BadTarget as problem:
                self._out.log(Level.ERROR, f"proxy({self.user}): {problem}")
                self._refuse(Refusal.TEMPORARY)
                return
            if not self._out.take_place(self.user):
                self._log_login(self._policy.too_many_text)
                self._refuse(Refusal.LIMIT, self._policy.too_many_text.encode())
                return
            target.account.asks_capability = self._frontend.has_asked
            self.state = State.DIALLING
            self._attempts = Attempts(self._policy, self._out, target, self._tag, self.user)
            self._attempts.begin(now, self._login_deadline)
            return
        reason = one_line(fields.get(b"reason", b""))
        if self._refer(fields, reason):
            return
        if b"nologin" in fields:
            self._refuse(Refusal.REASON if reason else Refusal.CREDENTIALS, reason)
            return
        what = "host without proxy" if fields.get(b"host") else "neither proxy nor host"
        self._out.log(Level.ERROR, f"user=<{self.user}>: passdb returned {what}: no local mail storage here")
        self._refuse(Refusal.TEMPORARY)

    def _on_failed(self, fields: Fields) -> None:
        refusal, text = refusal_of_fields(fields)
        may_refer = refusal in (Refusal.CREDENTIALS, Refusal.REASON) and b"proxy" not in fields
        if not (may_refer and self._refer(fields, text)):
            self._refuse(refusal, text)

    def _refer(self, fields: Fields, text: bytes) -> bool:
        """Send the client elsewhere if the passdb says where and the protocol knows how."""
        try:
            place = check_referral(fields, self._policy.backend_port)
        except BadTarget as problem:
            self._out.log(Level.ERROR, f"user=<{self.user}>: no referral: {problem}")
            return False
        user = fields.get(b"destuser") or self._user
        if place is None or not self._frontend.refer(user, self._mechanism, *place, text):
            return False
        self._return_to_commands()
        return True

    def _refuse(self, refusal: Refusal, text: bytes = b"") -> None:
        self._frontend.refuse(refusal, text)
        self._return_to_commands()

    def _return_to_commands(self) -> None:
        self.state = State.COMMAND
        self._read_client()

    # The backend

    def on_backend_data(self, data: bytes, now: float) -> None:
        """Take bytes that the backend sent."""
        attempts = self._attempts
        if attempts is None:
            return
        if self.state is not State.BACKEND:
            self.state = State.BACKEND
            attempts.on_spoken()
        backend = attempts.backend
        verdict = attempts.refuse_clear() if attempts.is_handshaking else backend.on_data(data)
        if verdict is Verdict.WAIT or (verdict is Verdict.START_TLS and attempts.start_tls()):
            return
        if verdict is Verdict.ACCEPTED:
            self._detach(attempts)
            return
        if verdict is Verdict.REFUSED:
            why = printable(backend.line)
            self._log_verbose(f"proxy({self.user}): Login failed to {attempts.server}: {why}")
        else:
            self._out.log(Level.ERROR, f"{self._policy.protocol.value}-proxy({self.user}): {backend.why}")
        attempts.hang_up()
        self._fail_backend(backend.refusal)

    def on_backend_tls_started(self, now: float) -> None:
        """Take it that the handshake with the backend was successful, and its certificate is accepted."""
        if self._attempts is not None:
            self._attempts.on_tls_started()

    def on_backend_lost(self, why: str, now: float, is_final: bool = False) -> None:
        """Take it that the backend cannot be reached or is gone; `why` is printable, for the log.

        `is_final` if another try cannot help: its certificate is not accepted.
        """
        if self._attempts is not None:
            self._go_on(self._attempts.on_lost(why, now, is_final))

    def _go_on(self, has_another_try: bool) -> None:
        self.state = State.DIALLING
        if not has_another_try:
            self._fail_backend(Refusal.TEMPORARY)

    def _fail_backend(self, refusal: Refusal) -> None:
        self._attempts = None
        self._out.leave_place()
        self._out.set_deadline(self._login_deadline)
        self._refuse(refusal)

    def _detach(self, attempts: Attempts) -> None:
        self.state = State.DETACHED
        backend = attempts.backend
        to_client = self._frontend.accept(backend.line, backend.capability) + backend.rest
        self._log_login(f"proxy({self.user}): started proxying to {attempts.server.place}")
        self._attempts = None
        self._out.detach(self.user, self._frontend.buffer.take_rest(), to_client)

    # Deadlines, ends, log lines

    def on_deadline(self, now: float) -> None:
        """Take it that the time set last has come: the backend's, or that of the whole login."""
        if self.state in OVER:
            return
        if self._attempts is not None and now < self._login_deadline:
            self._go_on(self._attempts.on_deadline(now))
            return
        if self.state is not State.HANDSHAKE:
            self._frontend.farewell(b"Disconnected for inactivity.")
        self._close("Disconnected: Inactivity")

    def end(self, reason: str, text_for_client: bool, now: float) -> None:
        """End a session that has not detached: `reason` is logged and, if wished, told to the client."""
        if self.state in OVER:
            return
        if text_for_client and self.state is not State.HANDSHAKE:
            self._frontend.farewell(reason.encode("ascii", "replace") + b".", in_use=True)
        self._close(f"Disconnected: {reason}")

    def _close(self, message: str) -> None:
        if self.state in (State.AUTH, State.SASL):
            self._out.cancel_auth()
        if self._attempts is not None:
            self._attempts.hang_up()
            self._attempts = None
        self.state = State.CLOSED
        self._frontend.forget()
        self._log_login(message)
        self._out.close()

    def _log_login(self, message: str) -> None:
        policy = self._policy
        line = policy.log_line.render(message, self._client, self.user, self._mechanism, policy.name)
        self._out.log(Level.INFO, line)

    def _log_verbose(self, message: str) -> None:
        if self._policy.verbose:
            self._log_login(message)


_BEGIN = {
    Request.AUTHENTICATE: Session._authenticate,
    Request.APOP: Session._apop,
    Request.LOGOUT: Session._logout,
    Request.STARTTLS: Session._start_tls,
    Request.IDENTIFY: Session._identify,
}
