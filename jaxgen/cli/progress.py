"""Progress of a command that works through images in chunks: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from jaxgen.runs.progress import Paced


@contextlib.contextmanager
def counted(total: int, what: str, stream: Any = None) -> Iterator[Callable[[int], None]]:
    """A function to be told how many of `total` images are done; `what` says what is done with them."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield _lines(total, what, stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True, expand=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def _lines(total: int, what: str, stream: Any) -> Callable[[int], None]:
    lines = Paced(stream, at_once=False)

    def advance(done: int) -> None:
        if done < total and lines.is_time():
            lines.pace(f"{what} {done:,}/{total:,}")

    return advance
