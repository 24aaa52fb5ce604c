"""The command line interrupted: signals, kills, closed pipes, and what is saved then."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from helpers import recipes as face_recipes
from helpers.cli import started

from jaxgen import __main__
from jaxgen.cli.commands.train import _Interrupts
from jaxgen.cli.main import main
from jaxgen.runs.log import read_log


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face_recipes.write(tmp_path)


def test_signals_save_and_a_killed_run_resumes_without_repeats():
    log, ends = Path("r/metrics.jsonl"), {}
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        before = max((r["step"] for r in read_log(log)), default=0) if log.exists() else 0
        process = started("train", "tiny", "--run", "r", "--steps", "20000", "--every", "40")
        deadline = time.monotonic() + 120
        while not log.exists() or max((r["step"] for r in read_log(log)), default=0) <= before + 40:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.05)
        process.send_signal(number)
        ends[number] = (process.communicate(timeout=60)[1], process.returncode)
    assert [code for _, code in ends.values()] == [143, -9, 130]
    for number in (signal.SIGTERM, signal.SIGINT):
        assert "stopped and saved at step" in ends[number][0]
        assert "Traceback" not in ends[number][0]
    assert "resuming at step" in ends[signal.SIGKILL][0]
    steps = [r["step"] for r in read_log(log) if r["split"] == "train"]
    assert steps == sorted(set(steps))
    assert max(int(p.name) for p in Path("r/checkpoints").iterdir() if p.name.isdigit()) == steps[-1]


def test_a_training_goes_on_where_nobody_reads_its_progress(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as unread:
        monkeypatch.setattr(sys, "stderr", unread)
        assert main(["train", "tiny", "--run", "r"]) == 0
        assert sys.stderr is unread
    assert json.loads(Path("r/result.json").read_text())["step"] == 4


def test_the_end_of_a_terminal_saves_and_what_was_ignored_stays_ignored(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with _Interrupts() as stop:
        assert not stop()
        for _ in range(2):  # the shell's and the terminal's own
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop()
        assert stop.code == 129
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup, or behind a script's &
    try:
        with _Interrupts() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_the_command_line_is_imported_is_no_traceback(capsys, monkeypatch):
    class Interrupted:
        __spec__ = None

        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "jaxgen.cli.main", Interrupted())
    assert __main__.main() == 130
    assert capsys.readouterr().err == "jaxgen: stopped.\n"


def test_a_reader_that_goes_away_is_no_error():
    process = started("list")
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == ""
    assert process.wait(60) in (0, 141)
