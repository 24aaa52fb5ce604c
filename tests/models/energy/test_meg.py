"""The three losses of a maximum entropy generator against enumeration and Jacobians; its energies of codes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.models.energy.meg import MEG, PointMEG, jsd_information

KEY = jax.random.key(2)
POINTS = PointMEG(latent=3, features=1, score_weight=0.7, entropy_weight=0.5)
IMAGES = MEG(shape=(5, 5, 1), levels=4, net="dense", latent=3, features=1)
X = np.random.default_rng(0).uniform(-1, 1, (6, 2)).astype(np.float32)
JOINT = np.array([[4, 1, 1], [0, 2, 2]])
"""Times that each pair of x and z is drawn together, of ten."""


def drawn(table):
    """Each cell's place as often as the table has it."""
    return np.repeat(np.arange(table.size), table.reshape(-1))


def test_the_best_statistic_gives_twice_the_jensen_shannon_divergence_less_its_floor():
    """A statistic with anything added to it, whatever the noise, gives less."""
    product = JOINT.sum(1, keepdims=True) * JOINT.sum(0, keepdims=True)
    p, q = JOINT.reshape(-1) / 10, product.reshape(-1) / 100
    middle = (p + q) / 2
    jensen = sum(0.5 * (w[w > 0] * np.log(w[w > 0] / middle[w > 0])).sum() for w in (p, q))
    best = np.log(np.maximum(p, 1e-30) / q).astype(np.float32)

    def information(statistic):
        return float(jsd_information(jnp.asarray(statistic[drawn(JOINT)]), jnp.asarray(statistic[drawn(product)])))

    assert information(best) == pytest.approx(2 * jensen - 2 * np.log(2), abs=1e-6)
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(0, 0.3, 6).astype(np.float32)
        assert information(best + noise) < information(best)


@pytest.fixture(scope="module")
def losses():
    """Values and metrics of the three losses, and by hand what they are made of: one program."""

    @jax.jit
    def program():
        variables, batch = POINTS.init(KEY, {}), {"x": jnp.asarray(X)}
        actual = {o.name: o.loss(variables, batch, KEY) for o in POINTS.objectives()}
        energy = lambda x: POINTS.energy_of(variables, POINTS.as_examples(x))  # noqa: E731
        z_key, other_key = jax.random.split(KEY)
        z, other = POINTS.prior(z_key, 6), POINTS.prior(other_key, 6)
        fake = POINTS.generated(variables, z)
        net = {"params": variables["params"]["statistics"]}
        statistic = [POINTS.statistics.apply(net, fake, codes)[0][:, 0] for codes in (z, other)]
        by_hand = {
            "real": energy(jnp.asarray(X)),
            "fake": POINTS.energy_of(variables, POINTS.generated(variables, POINTS.prior(KEY, 6))),
            "jacobian": jax.jacobian(energy)(jnp.asarray(X)),
            "generated": POINTS.energy_of(variables, fake),
            "information": jsd_information(*statistic),
        }
        return actual, by_hand

    return jax.tree.map(np.asarray, program())


def test_the_losses_are_the_papers(losses):
    actual, by_hand = losses
    own = np.einsum("iid->id", by_hand["jacobian"])
    assert np.abs(by_hand["jacobian"]).sum() == pytest.approx(np.abs(own).sum())  # no point meets another
    penalty = (own**2).sum(axis=1).mean()
    loss, aux = actual["energy"]
    assert loss == pytest.approx(by_hand["real"].mean() - by_hand["fake"].mean() + 0.7 * penalty, rel=1e-4)
    assert aux.metrics["penalty"] == pytest.approx(penalty, rel=1e-4)
    assert actual["statistics"][0] == pytest.approx(-by_hand["information"], rel=1e-5)
    assert actual["generator"][0] == pytest.approx(by_hand["generated"].mean() - 0.5 * by_hand["information"], rel=1e-4)


def test_an_energy_has_no_constant_that_nothing_could_learn():
    """Its last layer has no bias; the statistics network's has one."""
    params = jax.eval_shape(lambda: IMAGES.init(KEY, {}))["params"]
    biased = {name: [leaf.shape for leaf in jax.tree.leaves(net)].count((1,)) for name, net in params.items()}
    assert (biased["energy"], biased["statistics"]) == (0, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(energy_steps=0), "MEG: energy_steps must be at least 1, got 0"),
        (dict(score_weight=-1.0), "MEG: score_weight must be a number of at least 0, got -1"),
        (dict(entropy_weight=float("inf")), "MEG: entropy_weight must be a number of at least 0, got inf"),
        (dict(net="resnet"), "net='resnet' wants sides that are divisible by 4"),
        (dict(net="dcgan", shape=(4, 4, 1)), "wanted images with a side of at least 5 pixels"),
    ],
)
def test_what_makes_no_meg_is_refused(change, said):
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(IMAGES, **change)


def test_points_of_other_dimensions_are_refused():
    with pytest.raises(UsageError, match=r"wanted points \[b, 2\] as x, got \[6, 3\]: set dims"):
        POINTS.as_examples(jnp.zeros((6, 3)))
