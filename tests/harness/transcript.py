r"""Dialogues as data files: a header of settings, `---`, then what every party says, in order.

Header: `name: value` lines; `#` begins a comment, which names the rows that the dialogue proves.

    protocol: imap | pop3         mechanisms: PLAIN LOGIN …     secured: no
    disable_plaintext_auth: no    greeting_capability: no       verbose: no
    capability: words             apop: <challenge>             sockets: yes (no: only for the pure session)
    split: yes (no: a dialogue about what comes in one piece)
    tls: no | available | required    client_tls: no (yes: before the greeting)    trusted: networks
    elements: of the log line         session: id    log_id: names    max_reconnects: 0    own: IP PORT …

Lanes, `<` to the session and `>` from it; each ends in CRLF unless the line ends in `\c`:

    C<  C>   the client              C< !eof           C> !close    C> !detach USER
    C> !tls begins the client's handshake, C< !tls ends it
    B<  B>   the backend             B< !lost WHY      B> !dial HOST PORT [NAME yes|any-cert] [from IP]
    B> !header BYTES follows a dial that sends them first
    B> !hang up    B> !tls NAME yes|any-cert begins the backend's handshake, B< !tls ends it, B< !rejected WHY
    A> ask MECHANISM [MESSAGE]       A< OK field=value …     A< FAIL …     A< CONT MESSAGE
    A> answer MESSAGE    A> cancel   A< !lost
    log: LEVEL TEXT      time: SECONDS      end: REASON (told)      end silently: REASON

After `C> !detach` what the relay is given stands in `C>` and `B>` lines. SASL messages stand decoded; `ask`
without a message has no initial response, with `""` an empty one. Escapes: `\r \n \t \0 \xff \\ \s` (blank),
`\(A*9)` for A nine times, `$TAG` for our tag at the backend, `$STARTTLS` and `$CAPABILITY` for those before.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailproxy.ipc.auth_protocol import Outcome, Reply
from mailproxy.proto.imap.render import derived_tag
from mailproxy.session.out import BackendTls
from mailproxy.session.session import Session
from tests.harness.session_recorder import Event, Recorder, make_client, make_policy

TAG = b"TAG7X"
CIPHER = "TLSv1.3 with cipher X"
SPLITS = ("whole", "line", "byte")
_ESCAPE = re.compile(rb"\\(?:\((\\0|.)\*(\d+)\)|x([0-9a-f]{2})|(.))", re.DOTALL)
_CHARS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"s": b" ", b"\\": b"\\"}
_INPUTS = ("C<", "B<", "A<", "time:", "end:", "end silently:")
_OUTPUTS = ("C>", "B>", "A>", "log:")


@dataclass(frozen=True)
class Step:
    """One line of a dialogue: `lane` is one of the words above, `data` is unescaped, without CRLF."""

    lane: str
    text: str
    line: int

    @property
    def is_input(self) -> bool:
        return self.lane in _INPUTS

    @property
    def is_command(self) -> bool:
        """Whether it is something that happens (`!`), not bytes."""
        return self.text.startswith("!")

    @property
    def data(self) -> bytes:
        """The bytes on the wire; `$TAG` is left for whoever knows the tag."""
        if self.text.endswith("\\c"):
            return unescape(self.text[:-2])
        return unescape(self.text) + b"\r\n"


@dataclass
class Transcript:
    """A loaded file."""

    path: Path
    settings: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def is_set(self, name: str, default: bool = False) -> bool:
        return self.settings.get(name, "yes" if default else "no") == "yes"


def unescape(text: str) -> bytes:
    def change(found: re.Match[bytes]) -> bytes:
        if found[1]:
            return (b"\0" if found[1] == b"\\0" else found[1]) * int(found[2])
        return bytes.fromhex(found[3].decode()) if found[3] else _CHARS[found[4]]

    return _ESCAPE.sub(change, text.encode())


def load(path: Path) -> Transcript:
    transcript = Transcript(path)
    in_header = True
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if raw == "---":
            in_header = False
        elif in_header:
            if raw and not raw.startswith("#"):
                name, _, value = raw.partition(":")
                transcript.settings[name] = value.strip()
        elif raw and not raw.startswith("#"):
            lane = next((lane for lane in (*_INPUTS, *_OUTPUTS) if raw.startswith(lane)), None)
            assert lane, f"{path}:{number}: no such lane: {raw}"
            rest = raw[len(lane) :]
            transcript.steps.append(Step(lane, rest.removeprefix(" "), number))
    assert transcript.steps, f"{path}: no dialogue"
    return transcript


def policy_settings(transcript: Transcript) -> dict[str, Any]:
    """Return the arguments of `make_policy`."""
    return {
        "protocol": transcript.settings["protocol"],
        "mechanisms": [name.encode() for name in transcript.settings.get("mechanisms", "PLAIN").split()],
        "disable_plaintext_auth": transcript.is_set("disable_plaintext_auth"),
        "greeting_capability": transcript.is_set("greeting_capability"),
        "verbose": transcript.is_set("verbose"),
        "capability": transcript.settings.get("capability", ""),
        **({"elements": transcript.settings["elements"]} if "elements" in transcript.settings else {}),
        "tls_available": "tls" in transcript.settings,
        "tls_required": transcript.settings.get("tls") == "required",
        "log_id": transcript.settings.get("log_id", ""),
        "max_reconnects": int(transcript.settings.get("max_reconnects", "0")),
        "own_addresses": own_addresses(transcript.settings.get("own", "").split()),
        "trusted_networks": transcript.settings.get("trusted", "").split(),
    }


def own_addresses(words: list[str]) -> list[tuple[str, int]]:
    return [(ip, int(port)) for ip, port in zip(words[::2], words[1::2], strict=True)]


def auth_message(text: str) -> bytes | None:
    """Return the base64 of a decoded SASL message as it stands in a file."""
    if not text:
        return None
    return b64encode(b"" if text == '""' else unescape(text))


def auth_reply(text: str) -> Reply:
    """Read an `A<` step."""
    word, _, rest = text.partition(" ")
    outcome = Outcome(word.encode())
    if outcome is Outcome.CONTINUE:
        return Reply(outcome, 1, {}, auth_message(rest or '""') or b"")
    fields = {}
    for item in rest.split():
        name, _, value = item.partition("=")
        fields[name.encode()] = unescape(value)
    return Reply(outcome, 1, fields)


def with_tags(data: bytes) -> bytes:
    """Put our tags at the backend in their places."""
    for command in (b"STARTTLS", b"CAPABILITY"):
        data = data.replace(b"$" + command, derived_tag(TAG, command))
    return data.replace(b"$TAG", TAG)


def expected_tls(name: str, word: str) -> BackendTls:
    assert word in ("yes", "any-cert")
    return BackendTls(name, word == "yes")


def expected_dial(text: str) -> Event:
    place, _, source_ip = text.partition(" from ")
    host, port, *tls = place.split()
    return ("dial", host, int(port), expected_tls(*tls) if tls else None, source_ip)


def expected_events(steps: list[Step]) -> list[Event]:
    """Return what `Recorder.events` must be for a row of output steps."""
    recorder = Recorder()
    recorder.has_backend = recorder.has_request = True
    events = recorder.events
    detached: list[bytes] | None = None
    for step in steps:
        word, _, rest = step.text.partition(" ")
        if step.lane == "log:":
            events.append(("log", word, rest))
        elif step.lane == "A>":
            message = auth_message(rest.partition(" ")[2] if word == "ask" else rest)
            if word == "ask":
                events.append(("ask", rest.partition(" ")[0].encode(), message))
            else:
                events.append(("answer", message or b"") if word == "answer" else ("cancel",))
        elif word == "!dial":
            events.append(expected_dial(rest))
        elif word == "!header":
            events.append(("header", unescape(rest)))
        elif word == "!tls":
            events.append(("tls",) if step.lane == "C>" else ("backend tls", expected_tls(*rest.split())))
        elif word == "!detach":
            detached = [b"", b""]
            events.append(("detach", rest))
        elif step.is_command:
            events.append((step.text[1:],))
        elif detached is not None:
            detached[step.lane == "C>"] += step.data
        else:
            data = with_tags(step.data)
            recorder.send_client(data) if step.lane == "C>" else recorder.send_backend(data)
    if detached is not None:
        events[-1] = (*events[-1], detached[0], detached[1])
    return events


class PureRun:
    """Plays one transcript through a Session; `split` says in which pieces the bytes come."""

    def __init__(self, transcript: Transcript, split: str) -> None:
        self.transcript = transcript
        self.split = split
        self.now = 0.0
        self.out = Recorder()
        apop = transcript.settings.get("apop", "").encode()
        policy = make_policy(**policy_settings(transcript))
        self.client = make_client(
            transcript.is_set("secured"),
            CIPHER if transcript.is_set("client_tls") else "",
            transcript.settings.get("session", ""),
        )
        self.session = Session(policy, self.out, self.client, TAG, apop)

    def run(self) -> None:
        """Raises AssertionError with file and line where the dialogue differs."""
        self.session.start(self.now)
        steps = list(self.transcript.steps)
        while steps:
            outputs = self._take(steps, lambda step: not step.is_input)
            where = outputs[0].line if outputs else steps[0].line if steps else 0
            assert self.out.events == expected_events(outputs), f"{self.transcript.path}:{where}"
            self.out.events.clear()
            inputs = self._take(steps, lambda step: step.is_input)
            self._play(inputs)
        assert self.out.events == [], f"{self.transcript.path}: more was said than the file has"

    @staticmethod
    def _take(steps: list[Step], wanted: Any) -> list[Step]:
        taken: list[Step] = []
        while steps and wanted(steps[0]):
            taken.append(steps.pop(0))
        return taken

    def _play(self, inputs: list[Step]) -> None:
        waiting = b""
        for index, step in enumerate(inputs):
            if step.lane in ("C<", "B<") and not step.is_command:
                waiting += with_tags(step.data)
                following = inputs[index + 1] if index + 1 < len(inputs) else None
                goes_on = following is not None and following.lane == step.lane and not following.is_command
                if not goes_on:
                    self._feed(step.lane, waiting)
                    waiting = b""
            else:
                self._happen(step)

    def _feed(self, lane: str, data: bytes) -> None:
        feed = self.session.on_client_data if lane == "C<" else self.session.on_backend_data
        for piece in split_bytes(data, self.split):
            feed(piece, self.now)

    def _happen(self, step: Step) -> None:
        session = self.session
        word, _, rest = step.text.partition(" ")
        match step.lane, word:
            case "C<", "!eof":
                session.on_client_eof(self.now)
            case "C<", "!tls":
                self.client.tls, self.client.secured = CIPHER, True
                session.on_client_tls_started(self.now)
            case "B<", "!tls":
                session.on_backend_tls_started(self.now)
            case "B<", "!rejected":
                session.on_backend_lost(rest, self.now, is_final=True)
            case "B<", "!lost":
                session.on_backend_lost(rest, self.now)
            case "A<", "!lost":
                self.out.has_request = False
                session.on_auth_lost(self.now)
            case "A<", _:
                reply = auth_reply(step.text)
                self.out.has_request = reply.outcome is Outcome.CONTINUE
                session.on_auth_reply(reply, self.now)
            case "time:", _:
                self.now = float(step.text)
                if self.out.deadline <= self.now and not self.out.is_over:
                    session.on_deadline(self.now)
            case _:
                session.end(step.text, step.lane == "end:", self.now)


def split_bytes(data: bytes, split: str) -> list[bytes]:
    """Cut into lines, bytes, or not at all."""
    if split == "byte":
        return [data[at : at + 1] for at in range(len(data))]
    return re.findall(rb"[^\n]*\n|[^\n]+\Z", data) if split == "line" else [data]
