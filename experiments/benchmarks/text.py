"""Train steps of Skip-Thought beside its PyTorch peer, in one run: prints a table.

    python experiments/benchmarks/text.py
    python experiments/benchmarks/text.py --only words --samples 9

As `latent.py` does it, by the same workers in turn: ours through the engine as the command line sets it up on this
machine, the peer (`peers_text.py`, which the tests hold against our model) eagerly with Adam. Sentences are random, of
unequal length. Only a quiet machine gives figures worth keeping.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]
from beside_torch import engine, flags, table, work  # noqa: E402
from turns import Loop, cores  # noqa: E402

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
    parser = flags(__doc__, seconds=3.0)
    parser.add_argument("--only", default="", help="cases whose name contains this, in any case")
    options = parser.parse_args()
    known = {case.name: case for case in CASES}
    if options.worker:
        side = torch_side if options.worker == "torch" else jax_side
        return work(lambda question: side(known[question["case"]]))
    cases = [name for name in known if options.only.lower() in name.lower()]
    if not cases:
        parser.error(f"no case contains {options.only!r}: {', '.join(known)}")
    table([(name, ASKED, {"case": name}) for name in cases], __file__, options)


def jax_side(case: Case) -> Any:
    """Our steps through the engine, as the command line sets it up."""
    from jaxgen.engine.devices.cpu import prepare_cpu

    prepare_cpu(case.batch)
    import optax

    return engine(case.model(), case.sentences(), case.batch, optax.adam(1e-4))


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
