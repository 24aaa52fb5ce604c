"""GAN on StackedMNIST. 1712.04086: 1000 modes with a KL of 0.06 as PacDCGAN2. Ours: not run yet.

A digit in each of the three channels, drawn independently: a thousand modes, of which a generator that collapses leaves
some out. `--preset wgan-gp` (1704.00028; 959 modes, KL 0.73, in 1901.08508), `pacgan` (1712.04086, two images in a
pack) and `meg` (1901.08508; 1000 modes, KL 0.031); the nets are ours, and the same for all. Data are stacks of any grey
digits with labels, as many as `num` says, made on loading by a seed: `stacked_mnist:idx:DIR,num=128000`.

Protocol: with `--judge` and the run of a classifier of single digits, modes covered by 26,000 samples and their KL to
equal shares, as the classifier reads them; beside them its accuracy on stacks, and the floor, the same of as many real
stacks: the KL of 26,000 real ones is about 0.023. The least KL decides the best checkpoint; what is drawn is the
averaged generator.

    jaxgen train stacked_mnist --judge runs/classifier_mnist
    jaxgen train stacked_mnist --preset pacgan --judge runs/classifier_mnist
"""

from typing import Literal

import optax

from jaxgen import Recipe
from jaxgen.core.errors import UsageError
from jaxgen.data.source import source
from jaxgen.models.energy.meg import MEG
from jaxgen.models.gan.base import GAN
from jaxgen.runs.modes_judge import ModesJudge


def recipe(
    data: str = "stacked_mnist:tfds:mnist,num=128000",  # stacks of any grey digits with labels
    size: int = 28,  # height and width of the images
    system: Literal["gan", "meg"] = "gan",  # or a maximum entropy generator
    net: Literal["dense", "dcgan", "resnet"] = "dcgan",
    features: int = 32,  # width of the nets
    latent: int = 128,
    loss: Literal[
        "minimax", "non-saturating", "least-squares", "hinge", "wgan", "gan-qp-l1", "gan-qp-l2", "relativistic"
    ] = "non-saturating",
    penalty: Literal["none", "two-sided", "one-sided", "r1"] = "none",
    pack: int = 1,  # images that the critic sees at once
    critic_steps: int = 1,  # of the critic, or the energy, for one of the generator
    batch: int = 64,
    steps: int = 50_000,
    lr: float = 2e-4,
    beta2: float = 0.999,
    ema: float = 0.999,  # of the generator that is drawn from, 0: the last one
    replacement: bool = False,  # draw images independently, instead of shuffled epochs
    judge: str = "",  # the run of a classifier of single digits
    judged: int = 26_000,  # samples whose modes are counted
    evaluate_every: int = 5000,
) -> Recipe:
    if batch % pack:
        raise UsageError(f"stacked_mnist: pack={pack} must divide the batch, got batch={batch}: change either.")
    if system == "meg" and (pack > 1 or penalty != "none" or loss != "non-saturating"):
        raise UsageError("stacked_mnist: loss, penalty and pack are of system='gan': an energy has its own.")
    nets = dict(shape=(size, size, 3), levels=256, net=net, features=features, latent=latent)
    gan = dict(loss=loss, penalty=penalty, pack=pack, critic_steps=critic_steps)
    return Recipe(
        data=source(data),
        model=MEG(**nets, energy_steps=critic_steps) if system == "meg" else GAN(**nets, **gan),
        optimizer=optax.adam(lr, b1=0.5, b2=beta2),
        batch=batch,
        steps=steps,
        ema=ema,
        replacement=replacement,
        judges=(ModesJudge(classifier=judge, num=judged),) if judge else (),
        evaluate_every=evaluate_every,
        save_every=evaluate_every,
    )


SMOKE = dict(net="dense", features=1, latent=4, pack=2, batch=8, steps=2, evaluate_every=2)
PRESETS = {
    "wgan-gp": dict(loss="wgan", penalty="two-sided", critic_steps=5, lr=1e-4, beta2=0.9),
    "pacgan": dict(pack=2),
    "meg": dict(system="meg", critic_steps=5, lr=1e-4, beta2=0.9),
}
EXPECTED: dict[str, tuple[float, float]] = {}
