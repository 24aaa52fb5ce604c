"""Sides that measure in turn: processes that answer questions, loops and engines that are let go for so many steps.

A benchmark runs its own script once more for each side, as a worker; while one measures, the others sleep.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTLE = 0.3
"""Seconds between two turns, in which a process's idle threads go to sleep."""


def median(samples: list[tuple[float, float]]) -> tuple[float, float]:
    """Of wall and of CPU time."""
    return statistics.median(s[0] for s in samples), statistics.median(s[1] for s in samples)


def machine() -> str:
    """Processor, cores and versions in one line."""
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {cores()} cores, jax {version('jax')}, torch {version('torch')}, load {os.getloadavg()[0]:.1f}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Worker:
    """A process that measures when asked, one line of JSON each way."""

    def __init__(self, name: str, script: str, **environment: str):
        command = [sys.executable, script, "--worker", name]
        env = {**os.environ, **environment}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", env=env
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer to a question. Raises `RuntimeError` if the process has died."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker died of {question}: its message is above")
        return json.loads(line)

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)


class Loop:
    """Steps made by a function, one after the other."""

    def __init__(self, step: Callable[[], Any], layout: str = "", warm_up: int = 3):
        self.step, self.layout = step, layout
        self.measure(warm_up)

    def measure(self, steps: int) -> tuple[float, float]:
        """Wall and CPU seconds of so many steps."""
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step()
        return time.perf_counter() - wall, time.process_time() - cpu

    def end(self) -> None:
        """Nothing to stop."""


class Engine:
    """`fit` in a thread, which is let go for so many steps and then held at its reporter."""

    def __init__(self, recipe: Any, data: Any, **options: Any):
        from jaxgen.engine.fit import fit
        from jaxgen.engine.reporter import Reporter

        self.allowed: queue.Queue[int] = queue.Queue()
        self.marks: queue.Queue[tuple[float, float]] = queue.Queue()
        self.left, self.stopped = 0, False
        reporter = Reporter()
        reporter.progress = self.progress  # type: ignore[method-assign]
        run = {"reporter": reporter, "stop": lambda: self.stopped, **options}
        self.thread = threading.Thread(target=fit, args=(recipe, data), kwargs=run, daemon=True)
        self.thread.start()
        self.measure(3)

    def progress(self, step: int, metrics: dict[str, float]) -> None:
        """Told by `fit` after each step. The step after the one told of is already running, and ends while this
        waits, so that the first step of a turn is not timed."""
        self.marks.put((time.perf_counter(), time.process_time()))
        if self.left == 0:
            self.left = self.allowed.get()
        self.left -= 1

    def measure(self, steps: int) -> tuple[float, float]:
        """Wall and CPU seconds of so many steps."""
        while not self.marks.empty():
            self.marks.get()
        self.allowed.put(steps + 1)
        marks = [self.marks.get(timeout=600) for _ in range(steps + 1)]
        return marks[-1][0] - marks[0][0], marks[-1][1] - marks[0][1]

    def end(self) -> None:
        """Stop the run."""
        self.stopped = True
        self.allowed.put(sys.maxsize)
        self.thread.join(120)
