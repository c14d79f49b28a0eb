"""HMAC-MD5 from precomputed states, the form in which the CRAM-MD5 scheme stores a password.

`hashlib` cannot start from a state, so the one compression function that this needs is here.
Source: RFC 1321 section 3.4, RFC 2104.
"""

from __future__ import annotations

import hashlib
import math
import struct

_BLOCK = struct.Struct("<16I")
_STATE = struct.Struct("<4I")
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_MASK = 0xFFFFFFFF
_SINES = [int(abs(math.sin(i + 1)) * (1 << 32)) & _MASK for i in range(64)]
_SHIFTS = [
    shifts[i % 4]
    for shifts in ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))
    for i in range(16)
]

State = tuple[int, int, int, int]


def _compress(state: State, block: bytes) -> State:
    words = _BLOCK.unpack(block)
    a, b, c, d = state
    for i in range(64):
        if i < 16:
            mixed, index = (b & c) | (~b & d), i
        elif i < 32:
            mixed, index = (d & b) | (~d & c), (5 * i + 1) % 16
        elif i < 48:
            mixed, index = b ^ c ^ d, (3 * i + 5) % 16
        else:
            mixed, index = c ^ (b | (~d & _MASK)), (7 * i) % 16
        total = (a + mixed + _SINES[i] + words[index]) & _MASK
        shift = _SHIFTS[i]
        a, d, c, b = d, c, b, (b + (total << shift | total >> (32 - shift))) & _MASK
    return (
        (state[0] + a) & _MASK,
        (state[1] + b) & _MASK,
        (state[2] + c) & _MASK,
        (state[3] + d) & _MASK,
    )


def _finish(state: State, data: bytes) -> bytes:
    """Hash `data` as if one block had gone before it."""
    padded = data + b"\x80" + b"\0" * (-(len(data) + 9) % 64) + struct.pack("<Q", (64 + len(data)) * 8)
    for at in range(0, len(padded), 64):
        state = _compress(state, padded[at : at + 64])
    return _STATE.pack(*state)


def hmac_md5_context(key: bytes) -> bytes:
    """Return the 32 bytes that are stored for `key`: outer state, then inner state."""
    if len(key) > 64:
        key = hashlib.md5(key).digest()
    block = key.ljust(64, b"\0")
    outer = _compress(_START, bytes(byte ^ 0x5C for byte in block))
    inner = _compress(_START, bytes(byte ^ 0x36 for byte in block))
    return _STATE.pack(*outer) + _STATE.pack(*inner)


def hmac_md5_from_context(context: bytes, message: bytes) -> bytes:
    """Return HMAC-MD5 of `message` under the key whose context is given (32 bytes)."""
    outer: State = _STATE.unpack(context[:16])
    inner: State = _STATE.unpack(context[16:])
    return _finish(outer, _finish(inner, message))
