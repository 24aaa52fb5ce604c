"""Train steps and a forward pass of the pixel models beside their PyTorch peers, in one run: prints a table.

    python experiments/benchmarks/train_step.py                (all cases, about ten minutes on two cores)
    python experiments/benchmarks/train_step.py --only diagonal --samples 9

Ours runs through the engine (`jaxgen.engine.fit.fit`, `jaxgen.engine.evaluate`) as the command line sets it up on this
machine, and once as a plain library call on one device; the peers (`peers.py`, which the tests hold against our models)
run eagerly with RMSprop in the quicker of the two memory layouts. All live in processes of their own, which stay warm
and measure in turn while the others sleep; both sides may use every core. Rows give medians over the samples, wall and
CPU time per step. A ratio is PyTorch's time over ours. The share is useful arithmetic (live taps, real pixels; a
training step counts three passes) over time, of the best rate of a large matrix product on all cores in the same run:
where PyTorch has a share of s, no ratio above 1/s is possible. The last table is the engine's step against a bare
jitted loss-gradient-update of the same model, in one process, in turn. Only a quiet machine gives figures worth
keeping.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
from turns import SETTLE, Engine, Loop, Worker, cores, machine, median, say  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: a whole net, or (`layer`) one recurrent layer on a map of 2h features; 28×28, binary images."""

    name: str
    kind: str
    layers: int
    features: int
    batch: int
    asked: float | None
    share: str = ""
    layer: bool = False
    forward: bool = False
    plain: bool = False

    def flops(self) -> float:
        """Useful arithmetic of a step: products and convolutions, live taps and real pixels alone."""
        h, net = self.features, model(self)
        macs = {
            "PixelCNN": 2 * h * h + 5 * h * h,
            "RowLSTM": 2 * 2 * h * 4 * h + 3 * h * 4 * h,
            "DiagonalBiLSTM": 2 * (2 * h * 4 * h + 2 * h * 4 * h),
            "GatedPixelCNN": 6 * h * 2 * h + 2 * h * 2 * h + 2 * h * 2 * h,
        }[self.kind]
        if self.layer:
            first, rest = 0, macs
        elif self.kind == "GatedPixelCNN":
            first, rest = (21 + 3) * h, self.layers * (macs + h * 2 * h) + h * net.head_features + net.head_features
        else:
            mended = 25 if getattr(net, "mend", False) else 0
            first, rest = (
                (24 + mended) * 2 * h,
                self.layers * (macs + h * 4 * h) + 2 * h * net.head_features + net.head_features,
            )
        # Nobody wants the gradient of the image.
        return 2.0 * self.batch * 28 * 28 * (first + rest if self.forward else 2 * first + 3 * rest)


CASES = (
    Case("PixelCNN 15×64, train, b16", "PixelCNN", 15, 64, 16, 1.25, "55 %"),
    Case("PixelCNN 15×64, train, b64", "PixelCNN", 15, 64, 64, 1.4),
    Case("PixelCNN 15×64, train, b16, plain library call", "PixelCNN", 15, 64, 16, 1.0, plain=True),
    Case("PixelCNN 15×64, forward, b16", "PixelCNN", 15, 64, 16, 1.7, "75 %", forward=True),
    Case("Row LSTM layer h=64, train, b16", "RowLSTM", 1, 64, 16, 1.8, "45 %", layer=True),
    Case("Row LSTM 8×64, train, b16", "RowLSTM", 8, 64, 16, 1.3),
    Case("Diagonal BiLSTM layer h=64, train, b16", "DiagonalBiLSTM", 1, 64, 16, 5.0, "37 %", layer=True),
    Case("Diagonal BiLSTM 7×16, train, b16", "DiagonalBiLSTM", 7, 16, 16, 3.8),
    Case("Gated PixelCNN 15×64, train, b16", "GatedPixelCNN", 15, 64, 16, None),
)
OVERHEAD = ("PixelCNN 15×64, train, b16", "Diagonal BiLSTM 7×16, train, b16")


def main() -> None:
    """Start the workers, let them measure in turn, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=7, help="samples of each side, the median counts (default 7)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a sample (default 1.5)")
    parser.add_argument("--only", default="", help="cases whose name contains this, in any case")
    parser.add_argument("--json", type=Path, help="also write every sample to this file")
    parser.add_argument("--worker", choices=("jaxgen", "plain", "torch", "bare"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker)
    cases = [case for case in CASES if options.only.lower() in case.name.lower()]
    if not cases:
        parser.error(f"no case contains {options.only!r}: {', '.join(case.name for case in CASES)}")
    workers = {name: Worker(name, __file__) for name in ("jaxgen", "plain", "torch")}
    results: dict[str, Any] = {"machine": machine(), "cases": {}, "overhead": {}}
    say(f"{results['machine']}\n")
    say("| case | asked | ratio, wall | ratio, CPU | ours, ms | PyTorch, ms | layout | share | asked | PyTorch's |")
    say("|---|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        sides = {"ours": workers["plain" if case.plain else "jaxgen"], "torch": workers["torch"]}
        samples = interleave(sides, case, options)
        results["cases"][case.name] = samples
        (ours, ours_cpu), (torch, torch_cpu) = median(samples["ours"]), median(samples["torch"])
        peak = max(samples["peak"])
        share, theirs = (100 * case.flops() / seconds / peak for seconds in (ours, torch))
        say(
            f"| {case.name} | {case.asked or '–'} | {torch / ours:.2f} | {torch_cpu / ours_cpu:.2f} | {1e3 * ours:.2f} "
            f"(CPU {1e3 * ours_cpu:.2f}) | {1e3 * torch:.2f} (CPU {1e3 * torch_cpu:.2f}) | {samples['layout']} | "
            f"{share:.0f} % of {peak / 1e9:.0f} GF/s | {case.share or '–'} | {theirs:.0f} % |"
        )
    chosen = [case for case in cases if case.name in OVERHEAD]
    if chosen:
        say("\n| engine against a bare jitted step | asked | overhead | engine, ms | bare, ms |\n|---|---|---|---|---|")
    for case in chosen:
        same = workers["jaxgen"]
        samples = interleave({"engine": same, "bare": same}, case, options)
        results["overhead"][case.name] = samples
        engine, bare = median(samples["engine"])[0], median(samples["bare"])[0]
        say(f"| {case.name} | < 3 % | {100 * (engine / bare - 1):+.1f} % | {1e3 * engine:.2f} | {1e3 * bare:.2f} |")
    for worker in workers.values():
        worker.close()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def interleave(sides: dict[str, Worker], case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds per step, (wall, CPU), of each side, `samples` times in turn."""
    seconds: dict[str, Any] = {name: [] for name in (*sides, "peak")}
    steps = {}
    for name, worker in sides.items():
        ready = worker.ask(do="prepare", case=case.name, bare=name == "bare")
        seconds |= {"layout": ready["layout"]} if "layout" in ready else {}
        time.sleep(SETTLE)
        wall = worker.ask(do="measure", steps=2, bare=name == "bare")["wall"]
        steps[name] = max(3, math.ceil(options.seconds / wall))
    for _ in range(options.samples):
        for name, worker in sides.items():
            time.sleep(SETTLE)
            sample = worker.ask(do="measure", steps=steps[name], bare=name == "bare")
            seconds[name].append((sample["wall"], sample["cpu"]))
        if "torch" in sides:
            time.sleep(SETTLE)
            seconds["peak"].append(sides["ours"].ask(do="peak")["flops"])
    for worker in set(sides.values()):
        worker.ask(do="end")
    return seconds


def work(name: str) -> None:
    """A worker's life: answer questions until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # so that nothing else gets between the answers
    sides: dict[bool, Any] = {}
    for line in sys.stdin:
        question, answer = json.loads(line), {}
        if question["do"] == "prepare":
            case = next(case for case in CASES if case.name == question["case"])
            side = torch_side(case) if name == "torch" else jax_side(case, name == "jaxgen", question["bare"])
            sides[question["bare"]] = side
            answer = {"layout": side.layout} if name == "torch" else {}
        elif question["do"] == "measure":
            wall, cpu = sides[question["bare"]].measure(question["steps"])
            answer = {"wall": wall / question["steps"], "cpu": cpu / question["steps"]}
        elif question["do"] == "peak":
            from jaxgen.engine.bench import matmul_peak

            answer = {"flops": matmul_peak()}
        else:
            while sides:
                sides.popitem()[1].end()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def torch_side(case: Case) -> Loop:
    """The peer's loop, in the quicker of PyTorch's two layouts."""
    import numpy as np
    import peers
    import peers_gated
    import torch

    torch.set_num_threads(cores())

    def loop(layout: str) -> Loop:
        torch.manual_seed(0)
        form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        images = torch.from_numpy(pictures(case).transpose(0, 3, 1, 2).copy())
        peer = peers_gated.peer if case.kind == "GatedPixelCNN" else peers.peer
        net = peers.LayerPeer(case.kind, case.features) if case.layer else peer(model(case))
        net = net.to(memory_format=form)
        optimizer = torch.optim.RMSprop(net.parameters(), 1e-4, alpha=0.9, foreach=True)
        draw = np.random.default_rng(0)

        def step() -> float:
            batch = images[torch.from_numpy(draw.integers(0, len(images), case.batch))].contiguous(memory_format=form)
            if case.forward:
                with torch.inference_mode():
                    return net.loss(batch).item()
            optimizer.zero_grad(set_to_none=True)
            loss = net.loss(batch)
            loss.backward()
            optimizer.step()
            return loss.item()

        return Loop(step, layout)

    return min((loop(layout) for layout in ("contiguous", "channels_last")), key=lambda made: made.measure(3)[0])


def jax_side(case: Case, as_command: bool, bare: bool) -> Any:
    """Our steps: through the engine, or (`bare`) a jitted loss-gradient-update alone."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    if as_command:
        prepare_cpu(case.batch)
    import optax

    from jaxgen.data.dataset import Dataset, Source, Split
    from jaxgen.engine.recipe import Recipe

    images = pictures(case)
    split = Split(images)
    data = Dataset("noise", 256 if case.layer else 2, split, Split(images[:16]), None, "noise")
    endless = sys.maxsize
    recipe = Recipe(
        data=Source("noise", lambda: data),
        model=model(case),
        optimizer=optax.rmsprop(1e-4),
        batch=case.batch,
        steps=endless,
        evaluate_every=endless,
        save_every=endless,
    )
    if case.forward:
        return forward(recipe, data)
    return bare_steps(recipe, data) if bare else Engine(recipe, data)


def bare_steps(recipe: Any, data: Any) -> Loop:
    """What a user writes who needs no engine: one jitted loss-gradient-update, a batch that lies on the devices."""
    import jax
    import optax

    from jaxgen.engine.devices.mesh import make_mesh, replicated, sharded

    mesh = make_mesh()
    batch = jax.device_put({"image": data.train.image[: recipe.batch]}, sharded(mesh))
    (objective,) = recipe.model.objectives()
    variables = jax.jit(recipe.model.init, out_shardings=replicated(mesh))(jax.random.key(0), batch)
    state = jax.device_put((variables, recipe.optimizer.init(variables)), replicated(mesh))
    key = jax.random.key(0)

    def update(state: Any, batch: Any) -> Any:
        variables, moments = state
        loss, gradient = jax.value_and_grad(lambda v: objective.loss(v, batch, key)[0])(variables)
        moves, moments = recipe.optimizer.update(gradient, moments, variables)
        return (optax.apply_updates(variables, moves), moments), loss

    program = jax.jit(update, donate_argnums=0, out_shardings=replicated(mesh))

    def step() -> float:
        nonlocal state
        state, loss = program(state, batch)
        return float(loss)

    return Loop(step)


def forward(recipe: Any, data: Any) -> Loop:
    """Log-probabilities by `jaxgen.engine.evaluate`, a batch at a time."""
    import jax

    from jaxgen.data.dataset import Split
    from jaxgen.engine.devices.mesh import make_mesh, replicated
    from jaxgen.engine.evaluate import evaluate

    mesh, count = make_mesh(), 8
    variables = jax.jit(recipe.model.init, out_shardings=replicated(mesh))(
        jax.random.key(0), {"image": data.train.image}
    )
    split = Split(data.train.image[: count * recipe.batch])

    def step() -> None:
        evaluate(recipe.model, variables, split, mesh=mesh, batch=recipe.batch)

    loop, measure = Loop(step, warm_up=1), Loop.measure

    def per_batch(steps: int) -> tuple[float, float]:
        wall, cpu = measure(loop, math.ceil(steps / count))
        share = steps / count / math.ceil(steps / count)
        return wall * share, cpu * share

    loop.measure = per_batch  # type: ignore[method-assign]
    return loop


def pictures(case: Case) -> Any:
    """Random images uint8[n,28,28,c]: binary, or for one layer the 2h features of its input in 256 steps."""
    import numpy as np

    draw = np.random.default_rng(0)
    if case.layer:
        return draw.integers(0, 256, (4 * case.batch, 28, 28, 2 * case.features), np.uint8)
    return draw.integers(0, 2, (512, 28, 28, 1), np.uint8)


def model(case: Case) -> Any:
    """Our model of a case."""
    import jaxgen.models

    if case.layer:
        from layer import LayerModel

        return LayerModel(shape=(28, 28, 2 * case.features), levels=256, kind=case.kind, features=case.features)
    kind = getattr(jaxgen.models, case.kind)
    return kind(shape=(28, 28, 1), levels=2, layers=case.layers, features=case.features)


if __name__ == "__main__":
    main()
