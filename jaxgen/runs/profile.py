"""A trace of a few steps of training, for TensorBoard's profile plugin and for Perfetto: a reporter around another.

It begins after the second dispatch that is reported, when the programs are compiled, and ends so many steps later, or
with the run. Dispatches are reported one late, so that the one in flight at either end is in the trace in part, and
whole dispatches are traced: with chunks of 100 steps, at least 100. What lies between them (evaluation, samples,
checkpoints) is in it too. A few steps are enough: Perfetto's file holds a million events, TensorBoard's has no bound.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine.reporter import Outcome, Reporter
from jaxgen.runs.report import Report


@contextlib.contextmanager
def profiled(report: Report, folder: Path, steps: int | None) -> Iterator[Reporter]:
    """The report, and while entered a trace of `steps` steps into `folder`; None traces nothing."""
    if steps is None:
        yield report
        return
    profile = Profile(report, folder, steps, report.line)
    try:
        yield profile
    finally:
        profile.close()


class Profile(Reporter):
    """Passes everything on to `reporter`, and says by `say` where the trace lies, or why there is none.

    A trace that fails is no reason to end a run: that is said too.
    """

    def __init__(self, reporter: Reporter, folder: Path, steps: int, say: Callable[[str], None]):
        self._to, self._folder, self._steps, self._say = reporter, Path(folder), steps, say
        self._reported = self._first = self._step = self._last = 0
        self._running = self._done = False
        self._mark: Any = None

    def started(self, step: int, steps: int) -> None:
        """Passed on."""
        self._last = steps
        self._to.started(step, steps)

    def progress(self, step: int, metrics: dict[str, float]) -> None:
        """Passed on; here the trace begins and ends."""
        self._to.progress(step, metrics)
        self._reported, self._step = self._reported + 1, step
        self._unmark()
        if self._running and (step - self._first >= self._steps or step >= self._last):
            self.close()
        elif not self._done and self._reported >= 2 and step < self._last:
            self._begin()
        if self._running:  # what TensorBoard takes for a step
            self._mark = jax.profiler.StepTraceAnnotation("train", step_num=step)
            self._mark.__enter__()

    def highlighted(self, names: set[str]) -> None:
        """Passed on."""
        self._to.highlighted(names)

    def evaluated(self, step: int, split: str, metrics: dict[str, Any]) -> None:
        """Passed on."""
        self._to.evaluated(step, split, metrics)

    def sampled(self, step: int, image: Any) -> None:
        """Passed on."""
        self._to.sampled(step, image)

    def shown(self, step: int, name: str, content: Any) -> None:
        """Passed on."""
        self._to.shown(step, name, content)

    def saved(self, step: int) -> None:
        """Passed on."""
        self._to.saved(step)

    def finished(self, outcome: Outcome) -> None:
        """The trace ends with the run."""
        self._to.finished(outcome)
        if not self._running and not self._done:
            self._say("nothing was traced: the run ended before its third dispatch.")
        self.close()

    def close(self) -> None:
        """Write the trace, if one is under way. May be called twice."""
        self._unmark()
        if not self._running:
            return
        self._running = False
        try:
            jax.profiler.stop_trace()
            trace = max(self._folder.glob("plugins/profile/*/perfetto_trace.json.gz"), key=lambda p: p.stat().st_mtime)
        except Exception as error:
            self._say(f"the trace could not be written to {self._folder}: {error}")
            return
        self._say(
            f"traced {self._step - self._first:,} steps: see `tensorboard --logdir {shlex.quote(str(self._folder))}` "
            f"(needs its plugin xprof), or open {trace} at https://ui.perfetto.dev"
        )

    def _begin(self) -> None:
        self._done, self._first = True, self._step
        try:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # a million calls of Python would crowd the steps out of the trace
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=options)
        except Exception as error:
            self._say(f"nothing is traced: {error}")
        else:
            self._running = True

    def _unmark(self) -> None:
        if self._mark is not None:
            self._mark.__exit__(None, None, None)
            self._mark = None
