"""Every image counts once, whatever the batch and the devices; baselines agree with what they are by definition."""

import dataclasses
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.pixel import compiled, random_variables
from helpers.stand_ins import LEVELS, SHAPE, Noisy, Table, dataset, jitter

from jaxgen.core.conditions import UNLABELLED, Classes
from jaxgen.core.errors import UsageError
from jaxgen.data.dataset import Split
from jaxgen.engine.baselines import baselines
from jaxgen.engine.devices.mesh import make_mesh
from jaxgen.engine.evaluate import evaluate, mixture, scores, summary
from jaxgen.models.latent.vae import VAE
from jaxgen.models.pixel.ensemble import OrderEnsemble
from jaxgen.models.pixel.pixelrnn import PixelCNN

KEY = jax.random.key(0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound(Table):
    """A bound that draws: the table's log-probability less some noise."""

    exact = False

    def log_prob(self, variables, image, key, condition=None):
        return super().log_prob(variables, image, key) - jax.random.uniform(key, (len(image),))


@pytest.fixture(scope="module")
def variables():
    return Noisy().init(jax.random.key(3), {})


@pytest.mark.parametrize("batch", [1, 8, 15, 16, 1000])
@pytest.mark.parametrize("devices", [1, 3, 8])
def test_the_whole_split_counts_once(variables, batch, devices):
    data = dataset()
    table = np.asarray(jax.nn.log_softmax(variables["params"]["table"]), np.float64).reshape(-1, LEVELS)
    image = data.valid.image.reshape(len(data.valid), -1).astype(int)
    nats = -table[np.arange(16), image].sum(1).mean()
    actual = evaluate(Noisy(), variables, data.valid, mesh=make_mesh(jax.devices()[:devices]), batch=batch)
    assert actual["count"] == len(data.valid) == 21
    assert actual["nats"] == pytest.approx(nats, rel=1e-6)
    assert actual["bits_per_dim"] == pytest.approx(nats / np.log(2) / 16, rel=1e-6)
    assert actual["bound"] is False
    each = -table[np.arange(16), image].sum(1)
    assert actual["nats_stderr"] == pytest.approx(each.std(ddof=1) / np.sqrt(21), rel=1e-5)


def test_draws_of_a_bound_are_averaged(variables):
    """The mean of four draws is that of four evaluations; a single one is the first of them."""
    data, keys = dataset(), [KEY, *(jax.random.fold_in(KEY, 2**31 + draw) for draw in (1, 2, 3))]
    single = [scores(Bound(), variables, data.valid, key=key)["nats"] for key in keys]
    averaged = scores(Bound(), variables, data.valid, key=KEY, draws=4)["nats"]
    np.testing.assert_allclose(averaged, np.mean(single, axis=0), rtol=1e-6)
    assert np.std(single, axis=0).min() > 0
    with pytest.raises(UsageError, match="draws must be at least 1"):
        evaluate(Bound(), variables, data.valid, draws=0)


def test_the_bound_by_importance_samples_is_the_models_own():
    model = VAE(shape=(4, 4, 1), levels=5, latent=2, hidden=(4,))
    data, variables = dataset(), random_variables(model)
    actual = scores(model, variables, data.valid, batch=24, iw_samples=3, key=KEY)
    image = np.concatenate([data.valid.image, np.repeat(data.valid.image[:1], 3, axis=0)])
    for_model = jax.random.split(jax.random.fold_in(KEY, 0))[1]
    wanted = -np.asarray(jax.jit(model.iwae_bound, static_argnums=3)(variables, image, for_model, 3))[:21]
    np.testing.assert_allclose(actual["nats"], wanted, rtol=1e-5)
    with pytest.raises(UsageError, match="cannot give the bound L_K"):
        evaluate(Table(), {"params": {"table": jnp.zeros((*SHAPE, LEVELS))}}, data.valid, iw_samples=3)


def test_a_score_that_is_not_summed_is_refused(variables):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Unsummed(Table):
        def scores(self, variables, batch, key):
            return {"nats": jnp.zeros((len(batch["image"]), 16))}

    with pytest.raises(UsageError, match=r"'nats' the shape \[\d+, 16\].*one number for each"):
        evaluate(Unsummed(), variables, dataset().valid)


def test_a_mixture_is_the_mean_of_probabilities():
    """Of two runs, that of the ensemble that has both as members; of one, its own."""
    orders, whole = ("right-down", "up-left"), dict(shape=(4, 4, 1), levels=3)
    net = PixelCNN(layers=1, features=4, head_features=4, **whole)
    model = OrderEnsemble(model=net, orders=orders, **whole)
    variables, image = random_variables(model), np.random.default_rng(0).integers(0, 3, (5, 4, 4, 1)).astype(np.uint8)
    split = Split(image, None)
    of_members = [
        scores(member, {"params": variables["params"][order]}, split, batch=2)
        for member, order in zip(model.members, orders)
    ]
    log_probs, mixed = [-actual["nats"] for actual in of_members], mixture(of_members, model.shape)
    assert np.ptp(log_probs, axis=0).max() > 0.1, "members that agree show nothing"
    np.testing.assert_allclose(np.exp(-mixed["nats"]), np.exp(log_probs).mean(axis=0), rtol=1e-12)
    assert summary(model, mixed) == pytest.approx(evaluate(model, variables, split), rel=1e-5)
    np.testing.assert_allclose(mixture(of_members[:1], model.shape)["nats"], of_members[0]["nats"], rtol=1e-12)


def test_images_without_labels_are_scored_where_labels_were_dropped_in_training():
    """By the model's unconditional distribution, that of the label −1. Training, and models that know no −1, want
    labels nevertheless."""
    model = PixelCNN(
        shape=(4, 4, 1), levels=3, layers=1, features=4, head_features=4, condition=Classes(3, dropout=0.2)
    )
    image = np.random.default_rng(0).integers(0, 3, (5, 4, 4, 1)).astype(np.uint8)
    variables, split = random_variables(model), Split(image, None)
    nats = -compiled(model, "log_prob")(variables, image, KEY, np.full(5, UNLABELLED, np.int32)).mean()
    assert evaluate(model, variables, split)["nats"] == pytest.approx(float(nats), rel=1e-5)
    with pytest.raises(UsageError, match='its data have no "label"'):
        model.check_data({"image": image})
    with pytest.raises(UsageError, match='its data have no "label"'):
        model.objectives()[0].loss(variables, {"image": image}, KEY)
    with pytest.raises(UsageError, match='its data have no "label"'):
        evaluate(dataclasses.replace(model, condition=Classes(3)), variables, split)


@pytest.mark.parametrize("devices", [1, 2])
def test_pieces_that_fit_a_cpus_cache_score_the_same(variables, devices):
    """The last, padded batch included, and with every image in its place under the mask."""
    seen = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Piecewise(Noisy):
        piece = 2

        def log_prob(self, variables, image, key, condition=None):
            seen.append(len(image))
            return super().log_prob(variables, image, key)

    data, mesh = dataset(), make_mesh(jax.devices()[:devices])
    actual = evaluate(Piecewise(), variables, data.valid, mesh=mesh, batch=12)
    assert set(seen) == {2}
    whole = evaluate(Noisy(), variables, data.valid, mesh=mesh, batch=12)
    assert actual["nats"] == pytest.approx(whole["nats"], rel=1e-6)


def test_draws_do_not_depend_on_the_devices(variables):
    data = dataset(transform=lambda batch, key, train: jitter(batch, key, True))
    knobs = {"transform": data.transform, "batch": 8, "key": jax.random.key(5)}
    one, eight = (evaluate(Bound(), variables, data.test, mesh=make_mesh(jax.devices()[:n]), **knobs) for n in (1, 8))
    assert one["nats"] == pytest.approx(eight["nats"], rel=1e-6)
    assert eight["bound"] is True
    other = evaluate(Bound(), variables, data.test, **{**knobs, "key": jax.random.key(6)})
    assert abs(other["nats"] - eight["nats"]) > 1e-3


def test_transforms_are_told_that_this_is_no_training(variables):
    data = dataset(transform=jitter)  # erases pixels in training only
    plain = evaluate(Table(), variables, data.valid)
    assert evaluate(Table(), variables, data.valid, transform=jitter) == plain


def test_one_program_serves_repeated_evaluations(variables):
    traces = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Counting(Table):
        def log_prob(self, variables, image, key, condition=None):
            traces.append(image.shape)
            return super().log_prob(variables, image, key)

    data = dataset()
    for _ in range(3):
        evaluate(Counting(), variables, data.valid, batch=8)
        evaluate(Counting(), variables, data.test, batch=8)
    assert len(traces) == 1


def test_an_empty_split_is_refused(variables):
    with pytest.raises(UsageError, match="empty"):
        evaluate(Table(), variables, Split(np.zeros((0, *SHAPE), np.uint8)))


def test_baselines_by_hand():
    train = np.array([0, 0, 1, 0], np.uint8).reshape(4, 1, 1, 1)
    test = np.array([0, 1, 1], np.uint8).reshape(3, 1, 1, 1)
    data = dataset(levels=2)
    data = dataclasses.replace(data, train=Split(train), test=Split(test), valid=Split(train[:1]))
    actual = baselines(data)
    assert actual["uniform"] == 1.0
    assert actual["histogram"] == pytest.approx(-(np.log2(4 / 6) + 2 * np.log2(2 / 6)) / 3)
    assert baselines(dataclasses.replace(data, test=None))["histogram"] == pytest.approx(-np.log2(4 / 6))


def test_the_histogram_is_a_fitted_table():
    """Add-one smoothed counts, scored as a model: the same bits per dimension."""
    data = dataset()
    counts = np.stack([(data.train.image == v).sum(0) for v in range(LEVELS)], -1) + 1
    variables = {"params": {"table": jnp.log(jnp.asarray(counts, jnp.float32))}}
    wanted = evaluate(Table(), variables, data.test)["bits_per_dim"]
    assert baselines(data)["histogram"] == pytest.approx(wanted, rel=1e-6)


def counted_at_once(train, test, levels):
    """The histogram's bits per dimension by definition."""
    flat, actual = train.reshape(len(train), -1), test.reshape(len(test), -1).astype(int)
    counts = np.stack([(flat == value).sum(0) for value in range(levels)], 1) + 1.0
    return -np.log2(counts / counts.sum(1, keepdims=True))[np.arange(flat.shape[1]), actual].mean()


@pytest.mark.parametrize("block", [1, 7, 50, 10**6])
@pytest.mark.parametrize("transformed", [False, True])
def test_the_histogram_is_counted_in_blocks(monkeypatch, block, transformed):
    draw = np.random.default_rng(0)
    train, test = (draw.integers(0, 256, (n, 3, 4, 2), dtype=np.uint8) for n in (41, 13))
    data = dataclasses.replace(dataset(), levels=256, train=Split(train), test=Split(test))
    if transformed:
        data = dataclasses.replace(data, transform=lambda batch, key, train: {"image": 255 - batch["image"]})
        train, test = 255 - train, 255 - test
    monkeypatch.setattr("jaxgen.engine.baselines.BLOCK", block)
    assert baselines(data, batch=16)["histogram"] == pytest.approx(counted_at_once(train, test, 256), rel=1e-13)


def test_counting_takes_the_memory_of_a_block_and_not_of_the_split():
    """numpy's own allocations, of a split of 20 MB that was copied once for each level, and eightfold where scored."""
    image = np.random.default_rng(0).integers(0, 256, (20_000, 32, 32, 1), dtype=np.uint8)
    data = dataclasses.replace(dataset(), levels=256, train=Split(image), test=Split(image))
    tracemalloc.start()
    try:
        baselines(data)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 30e6


def test_baselines_see_transformed_data():
    halved = lambda batch, key, train: {**batch, "image": batch["image"] // 2}  # noqa: E731
    data = dataclasses.replace(dataset(), levels=3)
    direct = dataclasses.replace(
        data, **{s: Split(getattr(data, s).image // 2, getattr(data, s).label) for s in ("train", "test")}
    )
    assert baselines(dataclasses.replace(data, transform=halved), batch=50) == baselines(direct)
