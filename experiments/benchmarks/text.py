"""Train steps of Skip-Thought beside its PyTorch peer, in one run: prints a table.

    python experiments/benchmarks/text.py
    python experiments/benchmarks/text.py --only words --samples 9

As `latent.py` does it, by the same workers in turn: ours through the engine as the command line sets it up on this
machine, the peer (`peers_text.py`, which the tests hold against our model) eagerly with Adam. Sentences are random, of
unequal length. Only a quiet machine gives figures worth keeping.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
from train_step import SETTLE, Engine, Loop, Worker, cores, machine, median, say  # noqa: E402

SENTENCES, ASKED = 2000, 1.5


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: sentences of at most `length` words, `batch` of them in a step."""

    name: str
    words: int
    embedding: int
    features: int
    decoder_features: int
    length: int = 30
    batch: int = 64

    def model(self) -> Any:
        """Ours."""
        from jaxgen.models.text.skipthought import SkipThought

        return SkipThought(
            words=self.words,
            embedding=self.embedding,
            features=self.features,
            decoder_features=self.decoder_features,
        )

    def sentences(self) -> dict[str, Any]:
        """int32[n,length] by name, of 5 words to `length`."""
        import numpy as np

        draw = np.random.default_rng(0)
        rows = {}
        for name in ("words", "before", "after"):
            numbers = draw.integers(1, self.words, (SENTENCES, self.length))
            inside = np.arange(self.length) < draw.integers(5, self.length + 1, (SENTENCES, 1))
            rows[name] = np.where(inside, numbers, 0).astype(np.int32)
        return rows


CASES = (
    Case("GRUs of 400 and 2×240, 500 words, b64", 500, 200, 400, 240),
    Case("the recipe: GRUs of 400 and 2×240, 8,003 words, b64", 8003, 200, 400, 240),
)


def main() -> None:
    """Start the workers, let them measure in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5, help="samples of each side, the median counts (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a sample (default 3)")
    parser.add_argument("--only", default="", help="cases whose name contains this, in any case")
    parser.add_argument("--worker", choices=("jaxgen", "torch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker)
    cases = [case for case in CASES if options.only.lower() in case.name.lower()]
    if not cases:
        parser.error(f"no case contains {options.only!r}: {', '.join(case.name for case in CASES)}")
    workers = {name: Worker(name, __file__) for name in ("jaxgen", "torch")}
    say(
        f"{machine()}\n\n| case | asked | ratio, wall | ratio, CPU | ours, ms | PyTorch, ms |\n"
        "|---|---|---|---|---|---|"
    )
    for case in cases:
        samples: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
        steps = {}
        for name, worker in workers.items():
            worker.ask(do="prepare", case=case.name)
            time.sleep(SETTLE)
            steps[name] = max(3, round(options.seconds / worker.ask(do="measure", steps=1)["wall"]))
        for _ in range(options.samples):
            for name, worker in workers.items():
                time.sleep(SETTLE)
                sample = worker.ask(do="measure", steps=steps[name])
                samples[name].append((sample["wall"], sample["cpu"]))
        for worker in workers.values():
            worker.ask(do="end")
        (ours, ours_cpu), (torch, torch_cpu) = median(samples["jaxgen"]), median(samples["torch"])
        say(
            f"| {case.name} | {ASKED:g} | {torch / ours:.2f} | {torch_cpu / ours_cpu:.2f} | {1e3 * ours:,.1f} "
            f"(CPU {1e3 * ours_cpu:,.1f}) | {1e3 * torch:,.1f} (CPU {1e3 * torch_cpu:,.1f}) |"
        )
    for worker in workers.values():
        worker.close()


def work(name: str) -> None:
    """A worker's life: answer questions until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # so that nothing else gets between the answers
    side: Any = None
    for line in sys.stdin:
        question, answer = json.loads(line), {}
        if question["do"] == "prepare":
            case = next(case for case in CASES if case.name == question["case"])
            side = torch_side(case) if name == "torch" else jax_side(case)
        elif question["do"] == "measure":
            wall, cpu = side.measure(question["steps"])
            answer = {"wall": wall / question["steps"], "cpu": cpu / question["steps"]}
        else:
            side.end()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def jax_side(case: Case) -> Any:
    """Our steps through the engine, as the command line sets it up."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(case.batch)
    import optax

    from jaxgen.data.dataset import Dataset, Source, Split
    from jaxgen.engine.recipe import Recipe

    rows = case.sentences()
    data = Dataset("noise", 0, Split(rows), Split({name: x[:16] for name, x in rows.items()}), None, "noise")
    recipe = Recipe(
        data=Source("noise", lambda: data),
        model=case.model(),
        optimizer=optax.adam(1e-4),
        batch=case.batch,
        steps=sys.maxsize,
        evaluate_every=sys.maxsize,
        save_every=sys.maxsize,
    )
    return Engine(recipe, data)


def torch_side(case: Case) -> Loop:
    """The peer's loop."""
    import numpy as np
    import torch
    from peers_text import peer

    torch.set_num_threads(cores())
    torch.manual_seed(0)
    net = peer(case.model())
    optimizer = torch.optim.Adam(net.parameters(), 1e-4, foreach=True)
    rows = {name: torch.from_numpy(x).long() for name, x in case.sentences().items()}
    draw = np.random.default_rng(0)

    def step() -> float:
        some = torch.from_numpy(draw.integers(0, SENTENCES, case.batch))
        optimizer.zero_grad(set_to_none=True)
        loss = net.loss(rows["before"][some], rows["words"][some], rows["after"][some])
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return Loop(step)


if __name__ == "__main__":
    main()
