"""What storage did to us, in a few words: errors of the system, and what a library meets in damaged files."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO)
"""What a disk says when it is full, broken or not ours to write."""

LONGEST = 200
"""Characters of a library's message that are worth showing."""


def storage_reason(error: BaseException | None, among: tuple[int, ...] = STORAGE) -> str | None:
    """What the disk said, wherever in the chain of errors it is."""
    for e in chain(error):
        if isinstance(e, OSError) and e.errno in among:
            return str(e.strerror)
        for code in among:  # tensorstore reports what the system said as text
            if os.strerror(code) in str(e):
                return os.strerror(code)
    return None


def reason(error: BaseException, folder: str) -> str:
    """What went wrong in `folder`, in a line: the innermost message, without the libraries' descriptions of it."""
    said = [(str(e), type(e).__name__) for e in chain(error)]
    text, kind = next(((t, k) for t, k in reversed(said) if t.strip()), said[-1])
    text = re.split(r"\[source locations|\[tensorstore_spec|See full TensorStore", text)[0]
    text = " ".join(text.replace(f"{folder}/", "").split()).strip("'\" .:;[")
    return f"{text[:LONGEST] + ' …' if text[LONGEST:] else text or kind}"


def chain(error: BaseException | None) -> list[BaseException]:
    """An error and all that led to it, from the outside to the inside."""
    seen: list[BaseException] = []
    todo = [error]
    while todo:
        e = todo.pop()
        if e is None or e in seen:
            continue
        seen.append(e)
        todo += [e.__cause__, e.__context__, *getattr(e, "exceptions", ())]
    return seen


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what Orbax logs, and what the reads that it leaves behind still say, while it raises an error as well.

    Some of them end in threads of their own a while after that, and find the event loop closed to which they report:
    that is kept quiet for good.
    """
    logger, hook = logging.getLogger("absl"), sys.unraisablehook
    logger.addFilter(_not_orbax)
    sys.unraisablehook = lambda unraisable: None
    try:
        yield
    finally:
        known = getattr(hook, "func", None) is _unless_straggler
        sys.unraisablehook = hook if known else functools.partial(_unless_straggler, hook)
        logger.removeFilter(_not_orbax)


def _unless_straggler(hook: Callable[[Any], Any], unraisable: Any) -> None:
    if not isinstance(unraisable.exc_value, RuntimeError) or str(unraisable.exc_value) != "Event loop is closed":
        hook(unraisable)


def raised_anyway(record: logging.LogRecord) -> bool:
    """Keeps off stderr the tracebacks that Orbax logs for a save in the background and raises later as well."""
    return not (record.exc_info and "orbax" in record.pathname)


def _not_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname
