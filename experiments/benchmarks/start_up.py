"""How long the command line takes to answer, and a run to start again: prints a table.

    python experiments/benchmarks/start_up.py

`jaxgen --help`, wall time of the whole process. Then the demo's run is started with an empty compilation cache until
it has made a step, stopped with SIGTERM (it saves), and started again: seconds from the command to the report of the
first step, compilation included. Medians over the repetitions; only a quiet machine gives figures worth keeping.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
COMMAND = [sys.executable, "-m", "jaxgen"]
TIMEOUT = 600.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5, help="repetitions, the median counts (default 5)")
    parser.add_argument("--recipe", default="digits", help="recipe to start (default: the demo)")
    options = parser.parse_args()
    env = {**os.environ, "PYTHONPATH": sys.path[0]}
    helped = [answered(env) for _ in range(options.samples)]
    cold, again = [], []
    for _ in range(options.samples):
        with tempfile.TemporaryDirectory() as folder:
            fresh = {**env, "JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "cache")}
            run = Path(folder) / "run"
            cold.append(first_step(options.recipe, run, fresh))
            again.append(first_step(options.recipe, run, fresh))
    rows = (
        ("`jaxgen --help`", "< 0.6 s", helped),
        (f"{options.recipe}: first start to its first step, nothing cached", "", cold),
        (f"{options.recipe}: second start, which resumes, to its first step", "< 6 s", again),
    )
    lines = ["| figure | asked | median, s | best, s |", "|---|---|---|---|"]
    lines += [f"| {name} | {asked} | {statistics.median(t):.2f} | {min(t):.2f} |" for name, asked, t in rows]
    sys.stdout.write("\n".join(lines) + "\n")


def answered(env: Mapping[str, str]) -> float:
    """Seconds that `jaxgen --help` takes."""
    start = time.perf_counter()
    subprocess.run([*COMMAND, "--help"], env=dict(env), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def first_step(recipe: str, run: Path, env: Mapping[str, str]) -> float:
    """Seconds until a run has reported a step more than it had; it is then stopped and has saved.

    Raises `RuntimeError` if it ends by itself before that.
    """
    log = run / "metrics.jsonl"
    start = time.perf_counter()
    command = [*COMMAND, "train", recipe, "--run", str(run)]
    process = subprocess.Popen(
        command, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8"
    )
    size = log.stat().st_size if log.exists() else 0
    try:
        # A resumed run first cuts its log to what it resumes from, which never makes it longer.
        while not log.exists() or log.stat().st_size <= size:
            if process.poll() is not None or time.perf_counter() - start > TIMEOUT:
                raise RuntimeError(f"{' '.join(command)} made no step: {process.communicate()[1] or 'out of time'}")
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    return seconds


if __name__ == "__main__":
    main()
