"""The C library's crypt, for the schemes that only it knows: yescrypt, Debian's default, and its kin.

Called through ctypes: the standard library's module is gone from newer Pythons, and a foreign call lets
other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
from functools import cache
from hmac import compare_digest
from typing import Protocol, cast

# sizeof(struct crypt_data) of libxcrypt.
_DATA_BYTES = 32768


class _CryptRn(Protocol):
    def __call__(
        self, phrase: bytes, setting: bytes, data: ctypes.Array[ctypes.c_char], size: int
    ) -> bytes | None:
        """See crypt(3)."""


@cache
def _crypt_rn() -> _CryptRn:
    function = ctypes.CDLL("libcrypt.so.1").crypt_rn
    function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
    function.restype = ctypes.c_char_p
    return cast(_CryptRn, function)


def matches(typed: bytes, stored: bytes) -> bool:
    """Compare; `typed` has no NUL. Raises ValueError for a malformed hash, OSError without libcrypt."""
    computed = _crypt_rn()(typed, stored, ctypes.create_string_buffer(_DATA_BYTES), _DATA_BYTES)
    if computed is None:
        raise ValueError
    return compare_digest(computed, stored)
