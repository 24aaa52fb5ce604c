"""The GAN: what its knobs do to losses, nets and steps, and which of them do not go together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.devices.mesh import make_mesh, sharded
from jaxgen.engine.fit import fit
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.reporter import Diverged
from jaxgen.engine.state import init_state
from jaxgen.engine.step import make_step
from jaxgen.maths.adversarial import adversarial
from jaxgen.maths.penalties import penalty
from jaxgen.models.gan.base import GAN

KEY = jax.random.key(3)


def model(shape=(4, 4, 1), **knobs):
    return GAN(**{"shape": shape, "levels": 4, "net": "dense", "latent": 3, "features": 1, **knobs})


def batch_of(m, num=8):
    draw = np.random.default_rng(0)
    image = draw.integers(0, m.levels, (num, *m.shape)).astype(np.uint8)
    return {"image": image, "label": np.arange(num, dtype=np.int32) % 3}


def recipe_of(m, num=8, **knobs):
    batch = batch_of(m, num)
    split = Split(batch["image"], batch["label"])
    source = Source("noise", lambda: Dataset("noise", m.levels, split, split, None, "noise"))
    return Recipe(**{"data": source, "model": m, "optimizer": optax.sgd(0.1), "batch": num, "steps": 1, **knobs})


def players(m, variables, z, real, condition=None):
    """Scores of real and fake packs, and the critic as a function, from the nets as they are."""
    fake = m.generator.apply({"params": variables["params"]["generator"]}, z, condition, train=True)
    critic = lambda x, told: m.critic.apply({"params": variables["params"]["critic"]}, x, told)[0][:, 0]  # noqa: E731
    return fake, critic, critic(real, condition), critic(fake, condition)


@pytest.mark.parametrize(("loss", "price"), [("relativistic", "r1"), ("gan-qp-l1", "none"), ("wgan", "two-sided")])
def test_both_players_minimise_what_they_are_named_for(loss, price):
    """Their losses written out: the pair on scores of real and fake images, and the penalty by its weight."""
    m = model(norm="none", loss=loss, penalty=price, penalty_weight=3.0)
    variables, batch = jax.jit(m.init)(KEY, {}), batch_of(m)
    real = jnp.asarray(batch["image"]) / 3 * 2 - 1

    @jax.jit
    def both(variables):
        critic, generator = m.objectives()
        return critic.loss(variables, batch, KEY)[0], generator.loss(variables, batch, KEY)[0]

    @jax.jit
    def written_out(variables):
        noise_key, penalty_key, _ = jax.random.split(KEY, 3)
        fake, critic, real_score, fake_score = players(m, variables, m.prior(noise_key, 8), real)
        pair = adversarial(loss)
        distance = [] if pair.distance is None else [jnp.abs(real - fake).mean(axis=(1, 2, 3))]
        cost = pair.critic(real_score, fake_score, *distance).mean()
        if price != "none":
            cost += 3 * penalty(price)(lambda x: critic(x, None), real, fake, penalty_key).mean()
        _, _, real_score, fake_score = players(m, variables, m.prior(jax.random.split(KEY)[0], 8), real)
        return cost, pair.generator(real_score, fake_score).mean()

    np.testing.assert_allclose(both(variables), written_out(variables), rtol=1e-5)


def test_packs_have_neighbours_side_by_side():
    """Pack k holds images km … km + m − 1, the channels of the first in front; conditions likewise."""
    m = model(shape=(2, 2, 3), pack=4)
    x = np.arange(8 * 12, dtype=np.float32).reshape(8, 2, 2, 3)
    packs = np.asarray(m.packed(jnp.asarray(x)))
    assert packs.shape == (2, 2, 2, 12)
    for k in range(2):
        for i in range(4):
            np.testing.assert_array_equal(packs[k, :, :, 3 * i : 3 * i + 3], x[4 * k + i])
    np.testing.assert_array_equal(m.packed(jnp.arange(16.0).reshape(8, 2)), np.arange(16.0).reshape(2, 8))
    assert m.critic.shape == (2, 2, 12)
    with pytest.raises(UsageError, match=r"GAN: pack=4 must divide the batch, got 6 images"):
        m.packed(jnp.asarray(x[:6]))


def test_a_clipped_critic_stays_in_its_box():
    m = model(loss="wgan", clip=0.05)
    recipe, batch = recipe_of(m), batch_of(m)
    state, step = init_state(recipe, batch), jax.jit(make_step(recipe))
    assert max(float(abs(w).max()) for w in jax.tree.leaves(state.variables["params"]["critic"])) > 0.05
    params = step(state, batch)[0].variables["params"]
    largest = {name: max(float(abs(w).max()) for w in jax.tree.leaves(params[name])) for name in params}
    np.testing.assert_allclose(largest["critic"], 0.05, rtol=1e-6)
    assert largest["generator"] > 0.05


def test_the_generator_moves_once_in_so_many_steps_of_the_critic():
    acts = [[bool(o.acts(t)) for t in range(6)] for o in model(critic_steps=3).objectives()]
    assert acts == [[True] * 6, [True, False, False] * 2]


def test_batch_statistics_are_of_the_whole_batch_on_any_number_of_devices():
    """Under jit over a mesh a device's share is normalised by the statistics of all: one step is that of one device,
    but for rounding."""
    m = model(critic_norm="batch", loss="hinge")
    recipe, batch = recipe_of(m), batch_of(m)
    state, step = init_state(recipe, batch), make_step(recipe)
    ends = []
    for count in (1, 4):
        where = sharded(make_mesh(jax.devices()[:count]))
        ends.append(jax.device_get(jax.jit(step)(state, jax.device_put(batch, where))[0].variables))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), *ends)
    assert all(abs(stats["mean"]).max() > 1e-3 for net in ends[0]["batch_stats"].values() for stats in net.values())


def test_each_class_has_its_own_images_and_is_told_to_the_critic():
    m = model(norm="none", condition=Classes(3))
    variables, z = jax.jit(m.init)(KEY, {}), jnp.tile(m.prior(KEY, 1), (3, 1))
    image = np.asarray(jax.jit(m.decode)(variables, z, jnp.arange(3)))
    real = jnp.asarray(batch_of(m)["image"][:1]) / 3.0
    scores = [m.scored(variables, real, jax.nn.one_hot(jnp.array([y]), 3))[0] for y in range(3)]
    raw = np.asarray(m.generator.apply({"params": variables["params"]["generator"]}, z, jnp.eye(3), train=False))
    np.testing.assert_allclose(image, (raw + 1) / 2 * 3, atol=0.501)
    assert len({float(s[0, 0]) for s in scores}) == len(np.unique(raw.reshape(3, -1), axis=0)) == 3


def test_scores_are_read_off_the_features():
    """The last layer is a dense map of them, so that feature matching meets what the critic goes by."""
    m = model(norm="none", minibatch=2)
    variables, x = jax.jit(m.init)(KEY, {}), m.real(batch_of(m))
    scores, features, _ = m.scored(variables, x)
    top = variables["params"]["critic"]["Scores_0"]
    projection = top["MinibatchDiscrimination_0"]["projection"]
    m_i = np.einsum("nd,dkc->nkc", features, projection)
    close = np.exp(-np.abs(m_i[:, None] - m_i[None]).sum(3)).sum(1) - 1
    dense = top["Dense_0"]
    want = np.concatenate([features, close], axis=1) @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(scores, want, rtol=1e-4, atol=1e-5)


def test_the_residual_nets_double_and_halve():
    """Without running them: 28×28 by way of 7 and 14, and the critic back to one mean of each map."""
    m = GAN(shape=(28, 28, 1), levels=256, net="resnet", features=6)
    variables = jax.eval_shape(m.init, KEY, {})
    image, scores = jax.eval_shape(lambda v: (m.draw(v, KEY, 2)[0], m.scored(v, m.draw(v, KEY, 2)[0])), variables)
    assert image.shape == (2, 28, 28, 1)
    assert (scores[0].shape, scores[1].shape) == ((2, 1), (2, 6))
    assert variables["params"]["generator"]["Dense_0"]["kernel"].shape == (100, 7 * 7 * 6)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"penalty": "r1", "critic_norm": "batch"}, "with critic_norm='batch' a score depends on the whole batch"),
        ({"penalty": "two-sided", "minibatch": 3}, "with minibatch discrimination a score depends on the whole batch"),
        ({"penalty": "one-sided", "clip": 0.1}, "penalty='one-sided' and clip=0.1 hold the critic twice"),
        ({"clip": 0.1, "spectral": True}, "clip=0.1 bounds weights whose size spectral=True divides out again"),
        ({"clip": 0.0}, "clip must be a number above 0, or None for none, got 0.0"),
        ({"penalty_weight": float("nan")}, "penalty_weight must be a number above 0, got nan"),
        ({"critic_steps": 0}, "critic_steps must be at least 1, got 0"),
        ({"pack": 0}, "pack must be at least 1, got 0"),
        ({"net": "resnet", "shape": (30, 28, 1)}, "sides that are divisible by 4, as it halves them, got shape"),
        ({"net": "dcgan"}, "a side of at least 5 pixels"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(knobs, message):
    with pytest.raises(UsageError, match=message):
        model(**knobs)


def test_a_critic_that_explodes_stops_the_run_at_its_step():
    """A loss that is not finite is a fault of the objective, with its step."""
    m = model(norm="none", loss="least-squares")
    recipe, batch = recipe_of(m, optimizer=optax.sgd(1e20)), batch_of(m)
    state, step = init_state(recipe, batch), jax.jit(make_step(recipe))
    for _ in range(3):
        state, _ = step(state, batch)
    assert 0 <= int(state.fault[0]) <= 2


def test_an_exploding_critic_stops_the_run_which_keeps_the_last_good_state_of_both_players(tmp_path):
    """The critic's rate is sound until step 3: what it makes of its weights there the generator's loss finds out, and
    the checkpoint is the one behind the last sound step, which is that of a run that ends there."""
    rate = optax.sgd(lambda count: jnp.where(count >= 3, 1e15, 0.1))
    recipe = recipe_of(model(norm="none"), optimizer=rate, steps=8, evaluate_every=1000, save_every=1, keep=1)
    data = recipe.data.load()
    with pytest.raises(Diverged, match="at step 3") as caught:
        fit(recipe, data, tmp_path)
    assert (caught.value.step, caught.value.objective) == (3, "generator")
    sound = fit(dataclasses.replace(recipe, steps=3), data).state.variables["params"]
    with Checkpoints(tmp_path / "checkpoints", write=False) as checkpoints:
        assert checkpoints.latest == 3
        jax.tree.map(np.testing.assert_array_equal, checkpoints.variables()["params"], jax.device_get(sound))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(sound))
