"""`jaxgen train`: from a recipe and its knobs to a run folder, or on from where that folder left off."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgen.cli import flags
from jaxgen.cli.output import at_least_one, said
from jaxgen.core.errors import UsageError
from jaxgen.runs.result import concluded, described


@dataclasses.dataclass(kw_only=True)
class Train:
    """Train a recipe: its path, or its name in `jaxgen list`. The same command again resumes.

    Ctrl-C, SIGTERM and SIGHUP save and stop. `jaxgen train RECIPE --help` shows the recipe's knobs.
    """

    run: flags.text("FOLDER", "runs/RECIPE and the knobs that were set") = ""  # type: ignore[valid-type]
    """Folder of the run."""
    fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Start over; a run that lies in the folder is moved aside."""
    start: flags.text("RUN", "the model's own first parameters") = ""  # type: ignore[valid-type]
    """Begin with the parameters of another run, the best and averaged ones, of a model with the same settings."""
    profile: Annotated[int | None, tyro.conf.arg(metavar="STEPS", help_behavior_hint="(default: none)")] = None
    """Trace so many steps, once compiled, into the run's profile/, for TensorBoard and Perfetto."""
    json: flags.Json = False
    distributed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """One of several processes of a cluster that is recognised (SLURM, TPU pods, Kubernetes); by hand with the next
    three."""
    coordinator: flags.text("HOST:PORT", "none") = ""  # type: ignore[valid-type]
    """Where process 0 is met."""
    num_processes: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """How many processes there are."""
    process_id: Annotated[int | None, tyro.conf.arg(metavar="I")] = None
    """Which of them this is, from 0."""
    heartbeat: Annotated[int, tyro.conf.arg(metavar="SECONDS")] = 100
    """How long a process may be silent before the others give up."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    file, options, settings = flags.with_recipe(Train, args, "jaxgen train")
    at_least_one(profile=1 if options.profile is None else options.profile)
    from jaxgen.core.files import write_json
    from jaxgen.data.dataset import example_shapes
    from jaxgen.engine.contract import contract, is_proved
    from jaxgen.engine.devices import processes
    from jaxgen.engine.devices.cpu import prepare_cpu
    from jaxgen.engine.devices.mesh import make_mesh
    from jaxgen.engine.fit import fit
    from jaxgen.engine.preflight import check
    from jaxgen.engine.reporter import Reporter
    from jaxgen.runs import recipes
    from jaxgen.runs.folder import check_folder, default_folder, is_run, open_folder
    from jaxgen.runs.lock import claimed
    from jaxgen.runs.profile import profiled
    from jaxgen.runs.report import Report

    folder = Path(options.run) if options.run else default_folder(file, settings)
    check_folder(folder, file, settings, options.fresh)
    _check_start(folder, options)
    done = None if options.fresh else _result(folder)
    if done is not None:
        sys.stderr.write(f"{folder} is complete; --fresh starts over.\n")
        _tell(done, folder, options.json)
        return 0
    asked: dict[str, Path] = {}
    home = folder if is_run(folder) and not options.fresh else None
    recipe = recipes.build(dataclasses.replace(file, home=home), settings, asked)
    prepare_cpu(recipe.batch // (options.num_processes or 1))
    if options.distributed or (options.coordinator, options.num_processes, options.process_id) != ("", None, None):
        _speak_apart()
        where = options.coordinator or None
        processes.join(where, options.num_processes, options.process_id, heartbeat=options.heartbeat)
    dataset = processes.together(recipe.data.load)
    devices = make_mesh()
    start = processes.together(lambda: _start(folder, options))
    variables = None if start is None else start.variables
    if not is_proved(recipe.model):  # a second of tracing, which the library's own models have behind them
        contract(recipe.model, example_shapes(dataset, recipe.batch))
    parts, grafts = processes.together(lambda: _grafts(folder, options, recipe))
    check(recipe, dataset, devices, variables, parts)
    about = described(recipe, dataset, devices, ["train", *args])
    if start is not None:
        about["start"] = {"run": options.start, "step": start.step}
    if grafts:
        about["grafts"] = grafts
    processes.together(lambda: open_folder(folder, file, settings, about, options.fresh, asked), everywhere=False)
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        processes.together(lambda: stack.enter_context(claimed(folder)), everywhere=False)
        stop = stack.enter_context(_Interrupts())
        given: dict[str, Any] = {"mesh": devices, "stop": stop, "start": variables, "grafts": parts}
        if not processes.first():
            outcome = fit(recipe, dataset, folder, reporter=Reporter(), **given)
            return (stop.code or 128 + signal.SIGTERM) if outcome.stopped else 0
        _introduce(folder, about)
        with Report(folder, batch=recipe.batch, levels=about.get("levels", 256)) as report:
            with profiled(report, folder / "profile", options.profile) as reporter:
                outcome = fit(recipe, dataset, folder, reporter=reporter, **given)
            grid = report.grid_of(outcome.step if outcome.best_step is None else outcome.best_step)
        if outcome.stopped:
            sys.stderr.write(f"stopped and saved at step {outcome.step:,} in {folder}; the same command resumes.\n")
            return stop.code or 128 + signal.SIGTERM
        expected = file.expected if settings == file.defaults and not options.start else {}
        result = concluded(recipe, dataset, outcome, grid, expected, time.perf_counter() - began)
        write_json(folder / "result.json", result)
    _tell(result, folder, options.json)
    return 0


def _check_start(folder: Path, options: Train) -> None:
    """Raises `UsageError` where the folder holds a run that was started from another."""
    from jaxgen.runs.folder import is_run, read_run

    if options.fresh or not is_run(folder):
        return
    then = read_run(folder).about.get("start", {}).get("run", "")
    if then != options.start:
        before, now = (f"with --start {name}" if name else "without --start" for name in (then, options.start))
        raise UsageError(
            f"{folder} was started {before}, and is now to go on {now}: give the same command to resume it, another "
            "--run folder, or --fresh to move it aside."
        )


def _start(folder: Path, options: Train) -> Any:
    """The run that this one begins with, or None: one that goes on from a checkpoint of its own needs it no more."""
    from jaxgen.runs.history import saved_steps
    from jaxgen.runs.load import load

    if not options.start or (not options.fresh and saved_steps(folder)):
        return None
    return load(options.start)


def _grafts(folder: Path, options: Train, recipe: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The parts of other runs that a fresh run begins with, and their record: nothing for one that goes on."""
    from jaxgen.runs.grafts import read
    from jaxgen.runs.history import saved_steps

    if not recipe.grafts or options.start or (not options.fresh and saved_steps(folder)):
        return {}, []
    return read(recipe)


def _speak_apart() -> None:
    """Keep what libraries print on file descriptor 1 (the connections that CPUs make) away from our standard output."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding or "utf-8", errors="replace")
    os.dup2(2, 1)


class _Interrupts:
    """While entered, Ctrl-C, SIGTERM and a terminal's end (SIGHUP) set a flag that `fit` asks for.

    A second one is not held back, but for SIGHUP, which a shell and its terminal may both send. What the process was
    started to ignore (by nohup, or in the background of a script) stays ignored.
    """

    def __init__(self) -> None:
        self.code = 0
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self.code != 0

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            names = (name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
            for number in (getattr(signal, name) for name in names):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _received(self, number: int, frame: Any) -> None:
        if self.code and number != getattr(signal, "SIGHUP", None):
            raise KeyboardInterrupt
        self.code = self.code or 128 + number
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, b"\nsaving and stopping ...\n")  # sys.stderr may be in the middle of a write


def _introduce(folder: Path, about: Mapping[str, Any]) -> None:
    size = f": {'×'.join(map(str, about['shape']))}, {about['levels']} levels" if "shape" in about else ""
    what = "images" if "shape" in about else "examples"
    counts = ", ".join(f"{count:,} {split}" for split, count in about["examples"].items())
    places = f" in {about['processes']} processes" if about["processes"] > 1 else ""
    sys.stderr.write(
        f"{about['model']} on {about['data']}{size}; {counts} {what}\n"
        f"{about['protocol']}\n{folder} on {about['devices']} device(s){places}\n"
    )


def _result(folder: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return None


def _tell(result: Mapping[str, Any], folder: Path, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"run": str(folder), **result}) + "\n")
        return
    sys.stdout.write("".join(f"{name:<10}{text}\n" for name, text in _lines(result, folder)))


def _lines(result: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    metrics, abilities = result["metrics"], result["capabilities"]
    for split in ("test", "valid", "samples"):
        figures = {n.partition("/")[2]: v for n, v in metrics.items() if n.startswith(f"{split}/")}
        if not figures or (split == "valid" and any(n.startswith("test/") for n in metrics)):
            continue
        # Without a test split the figure of the best step is the last one's only where they are one.
        at = f", at step {result['step']:,}" if split != "test" and result["best_step"] != result["step"] else ""
        yield split, said(figures, bool(result.get("bound"))) + at
        if "baselines" in result and split != "samples":
            base = result["baselines"]
            said_of = f"{base['histogram']:.4g} of per-pixel histograms and {base['uniform']:.4g} of uniform pixels"
            yield "", f"against {said_of}"
    for name, (low, high) in result.get("expected", {}).items():
        if name in metrics:
            verdict = "as expected" if low <= metrics[name] <= high else "not what the recipe expects"
            yield "", f"{name} {metrics[name]:.4g}: {verdict} ({low:g} to {high:g})"
    best = f", best at {result['best_step']:,}" if result["best_step"] is not None else ""
    yield "steps", f"{result['step']:,}{best}"
    if result["grid"]:
        yield "samples", result["grid"]
    name = shlex.quote(str(folder))
    following = [f"jaxgen sample {name}"] if "Sampler" in abilities else []
    if "Completer" in abilities:
        following.append(f"jaxgen complete {name} --keep top-half")
    if "Scored" in abilities:
        following.append(f"jaxgen evaluate {name}")
    following.append(f"jaxgen inspect {name}")
    for i, command in enumerate(following):
        yield "next" if i == 0 else "", command
