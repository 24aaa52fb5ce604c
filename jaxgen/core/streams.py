"""Standard streams as a process may find them: not there, or read by nobody any more. Neither is a reason to stop."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any

GONE = (errno.EPIPE, errno.EIO, errno.ENXIO)
"""Errors of a stream whose reader has ended, or whose terminal was closed."""


class Unbroken:
    """A stream for progress and remarks: it falls silent where nobody reads it any more, and otherwise is the stream
    that it is given."""

    def __init__(self, stream: Any):
        self._stream, self._silent = stream, False

    def write(self, text: str) -> int:
        """Say it, if anybody listens."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Have it said now."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, act: Any) -> None:
        if self._silent:
            return
        try:
            act()
        except OSError as error:  # of a full disk, say, where later lines may fit again
            if error.errno in GONE:
                self._silent = True
                silence(self._stream)


def silence(stream: Any) -> None:
    """Lead a stream to nowhere, with what is still in its buffer: writing to it fails no more, nor does its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        number, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def ensure_streams() -> None:
    """Streams that lead nowhere in the place of standard ones that a process was started without.

    Their numbers are taken too: a file that is opened later could get one, and what libraries say be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, or a process without a console
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the process lives)
