"""`metrics.jsonl`: figures by step, a line each, read and continued."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import IO, Any

from jaxgen.core.files import whole


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, in the order in which they were written; a torn line is left out."""
    return [record for _, record in lines(path)]


def lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The whole lines of a `metrics.jsonl` that are records, each with its record."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if line.endswith("\n") and isinstance(record, dict) and type(record.get("step")) is int:
            records.append((line, record))
    return records


def number(value: Any) -> float | None:
    """A finite number as a float, None for everything else that JSON can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        finite = float(value)
    except OverflowError:
        return None
    return finite if math.isfinite(finite) else None


def open_log(path: Path, step: int) -> IO[str]:
    """`metrics.jsonl` open for appending, without records beyond `step` and without torn lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        kept = [line for line, record in lines(path) if record["step"] <= step]
        with whole(path) as part:
            part.write_text("".join(kept), encoding="utf-8")
    return path.open("a", encoding="utf-8")
