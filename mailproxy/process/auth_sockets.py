"""The Unix sockets on which one generation's auth processes are asked.

Each generation has sockets of its own, under names that begin with a dot, until it takes over; then they are
renamed over those of the generation before. So whoever connects by name reaches the configuration in force,
and an auth process that retires is never asked by anyone new.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection, Iterable

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.config.settings import AuthSettings, Settings
from mailproxy.process import run_dir


class AuthSockets:
    """Owns the listeners and, once published, the names."""

    def __init__(self, settings: Settings, replaced: Collection[str]) -> None:
        """Listen under hidden names. Raises ConfigError with every problem, and leaves nothing behind.

        `replaced` are names of our own that may be taken over while somebody answers there.
        """
        self.by_process: dict[str, list[socket.socket]] = {}
        """What each auth process listens on; processes of one section share what is not for workers."""
        self.paths: list[str] = []
        self._hidden: dict[str, str] = {}
        self._replaced = replaced
        self._problems: list[Problem] = []
        for section in settings.auths:
            shared = self._listen(self._client_sockets(section))
            for name in section.process_names:
                self.by_process[name] = self._listen(run_dir.worker_sockets(settings, name)) + shared
        if self._problems:
            self.close()
            raise ConfigError(self._problems)

    def _client_sockets(self, section: AuthSettings) -> list[run_dir.Place]:
        try:
            return run_dir.client_sockets(section)
        except ConfigError as error:
            self._problems += error.problems
            return []

    def _listen(self, places: Iterable[run_dir.Place]) -> list[socket.socket]:
        listeners = []
        for path, mode, uid, gid in places:
            try:
                if path not in self._replaced:
                    run_dir.refuse_taken(path)
                hidden = run_dir.hidden_name(path, "new")
                listeners.append(run_dir.listen_unix(hidden, mode, uid, gid))
                self._hidden[path] = hidden
            except ConfigError as error:
                self._problems += error.problems
        return listeners

    def publish(self) -> None:
        """Take the names."""
        for path, hidden in self._hidden.items():
            os.rename(hidden, path)
            self.paths.append(path)
        self._hidden.clear()

    def keep(self) -> None:
        """Give the sockets a second name each, for the case that a successor takes theirs and fails.

        Raises OSError.
        """
        for path in self.paths:
            spare = run_dir.hidden_name(path, "kept")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spare)
            os.link(path, spare)

    def restore(self) -> None:
        """Take the names back. Raises OSError."""
        for path in self.paths:
            spare = run_dir.hidden_name(path, "kept")
            os.rename(spare, path)
            # Both names are still there when the first one was ours all the time (rename(2)).
            for leftover in (spare, run_dir.hidden_name(path, "new")):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(leftover)

    def forget_kept(self) -> None:
        """Let go of the second names."""
        for path in self.paths:
            with contextlib.suppress(OSError):
                os.unlink(run_dir.hidden_name(path, "kept"))

    def close(self, successor: Collection[str] = ()) -> None:
        """Close the listeners and remove their names, but for those that a successor has taken."""
        for listeners in self.by_process.values():
            for listener in listeners:
                listener.close()
        for path in (*self._hidden.values(), *(path for path in self.paths if path not in successor)):
            with contextlib.suppress(OSError):
                os.unlink(path)
