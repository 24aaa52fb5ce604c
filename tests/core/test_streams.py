"""Standard streams that are not there, or that nobody reads: what is said on them is no reason to stop."""

import os
import subprocess
import sys

import pytest
from helpers.cli import ENV

from jaxgen.core.streams import Unbroken, ensure_streams
from jaxgen.runs.progress import Bar, Lines


@pytest.fixture
def unread():
    """A stream whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        yield stream


def test_a_stream_that_nobody_reads_falls_silent_for_all_who_write_to_it(unread):
    said = Unbroken(unread)
    for _ in range(3):
        assert said.write("step\n") == 5
        said.flush()
    unread.write("and what others say\n")
    unread.flush()
    assert said.fileno() == unread.fileno()
    assert not said.isatty()


@pytest.mark.parametrize("show", [Lines, Bar])
def test_progress_that_nobody_reads_ends_the_display_and_not_the_training(unread, show):
    shown = show(unread)
    shown.started(0, 4)
    for step in range(1, 5):
        shown.progress(step, {"loss": 1.0, "steps_per_s": 2.0})
        shown.line("said above")
    shown.close()


def test_a_full_disk_under_a_log_costs_a_line_and_no_more():
    class Full:
        lines, full = [], True

        def write(self, text):
            if self.full:
                raise OSError(28, "No space left on device")
            self.lines.append(text)

    said = Unbroken(stream := Full())
    said.write("lost")
    stream.full = False
    said.write("kept")
    assert stream.lines == ["kept"]


def test_streams_that_are_not_there_lead_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    ensure_streams()
    with sys.stderr:
        sys.stderr.write("größe × nobody\n")


def test_no_file_gets_the_number_of_a_stream_that_was_closed():
    script = (
        "import os; from jaxgen.core.streams import *; ensure_streams(); os._exit(os.open(os.devnull, os.O_RDONLY))"
    )
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, script]
    assert subprocess.run(command, env=ENV).returncode >= 3
