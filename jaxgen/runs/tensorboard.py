"""TensorBoard's event files, written at once, so that a full disk is an error where it happens.

tensorboardX's own writer hands records to a thread. Where that dies of a full disk, the queue to it fills and the run
hangs. Its protocol buffers are used here, and the frame of a record is that of its `RecordWriter`.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np


class Board:
    """A new event file in a folder; with `purge`, TensorBoard hides what earlier ones hold from that step on."""

    def __init__(self, folder: Path, purge: int | None = None):
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what a full disk refuses must not be tried again when the file is closed.
        path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self._file = path.open("ab", buffering=0)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge is not None:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=purge, session_log=start))

    def scalar(self, name: str, value: Any, step: int) -> None:
        """A point of a curve."""
        from tensorboardX.summary import scalar

        self._add(scalar(name, float(value)), step)

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture, `uint8[h,w,c]`."""
        from tensorboardX.summary import image

        self._add(image(name, picture, dataformats="HWC"), step)

    def text(self, name: str, words: str, step: int) -> None:
        """Lines of text."""
        from tensorboardX.summary import text

        self._add(text(name, words), step)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._file.close()

    def _add(self, summary: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        record = [length, struct.pack("<I", masked_crc32c(length)), content, struct.pack("<I", masked_crc32c(content))]
        self._file.write(b"".join(record))
