"""Session ids and tags that nobody can guess."""

from __future__ import annotations

from os import urandom


class RandomWords:
    """Unguessable upper-case words, as many for one system call as are likely to be used.

    Not by the module `secrets`: it imports `random`, which seeds itself in each forked child, for 0.2 ms.
    """

    def __init__(self, length_chars: int, stock_words: int) -> None:
        self._length_chars = length_chars
        self._stock_bytes = length_chars * stock_words // 2
        self._stock: list[str] = []

    def next(self) -> str:
        """Return one that was never returned before."""
        if not self._stock:
            text, step = urandom(self._stock_bytes).hex().upper(), self._length_chars
            for begin in range(0, len(text), step):
                self._stock.append(text[begin : begin + step])
        return self._stock.pop()
