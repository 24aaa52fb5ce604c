"""One process at a time trains in a run's folder."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator
from pathlib import Path

from jaxgen.core.errors import UsageError


def is_claimed(folder: Path) -> bool:
    """Whether a living process trains in the folder (`jaxgen.runs.lock.claimed`), as far as this system can tell."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return False
    try:
        with (folder / ".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go at once; `claimed` tries again meanwhile
    except BlockingIOError:
        return True
    except OSError:
        pass  # never claimed, or not for us to read
    return False


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes from training in the folder, where its disk has locks. Raises `UsageError` where one does
    already."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (folder / ".lock").open("wb") as lock:
        for wait in (0.05, 0.1, None):  # `jaxgen runs` looks at the lock, for an instant each time
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if wait is None:
                    raise UsageError(
                        f"another process is training in {folder}: wait for it, or give another --run."
                    ) from None
                time.sleep(wait)
            except OSError as error:  # some shared disks of clusters are mounted without locks
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                break
        yield
