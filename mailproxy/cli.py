"""The `mailproxy` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import mailproxy
from mailproxy.base.errors import ConfigError
from mailproxy.config.load import DEFAULT_PATH, load
from mailproxy.config.render import render
from mailproxy.process.certificates import Certificates
from mailproxy.process.master import Master
from mailproxy.process.predecessor import Predecessor

EXIT_FATAL = 89


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailproxy", description="An IMAP and POP3 login proxy that reads Dovecot's configuration."
    )
    parser.add_argument("-c", metavar="FILE", dest="path", default=DEFAULT_PATH, help="configuration file")
    parser.add_argument("-F", dest="foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("-n", dest="show_changed", action="store_true", help="print settings that differ")
    parser.add_argument("-a", dest="show_all", action="store_true", help="print all settings")
    parser.add_argument("--check", action="store_true", help="check the configuration and exit")
    parser.add_argument("--version", action="version", version=mailproxy.__version__)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 89 for a configuration that cannot be used."""
    options = _parser().parse_args(arguments)
    path = os.path.abspath(options.path)
    predecessor = Predecessor.find(os.environ)
    try:
        if options.show_changed or options.show_all:
            sys.stdout.write(render(path, options.show_all))
            return 0
        settings = load(path)
        if options.check:
            for warning in (*settings.warnings, *Certificates(settings).warnings()):
                sys.stderr.write(f"Warning: {warning}\n")
            sys.stdout.write(f"{path}: the configuration is good\n")
            return 0
        master = Master(settings, predecessor)
        master.open()
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"Error: {problem}\n")
        if predecessor is not None:
            predecessor.refuse([str(problem) for problem in error.problems])
        return EXIT_FATAL
    if not options.foreground and predecessor is None and not _become_daemon():
        return 0
    return master.run()


def _become_daemon() -> bool:
    """Go on as a daemon; False in the parent, which has nothing left to do."""
    sys.stdout.flush()
    if os.fork() != 0:
        return False
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    return True


if __name__ == "__main__":
    sys.exit(main())
