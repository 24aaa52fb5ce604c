"""What every model must do, whatever its family. A new model is one row of `ROWS`.

Each row brings: deterministic init; losses and updates of the right kind; a finite, nonzero gradient for every owned
parameter and no move of the others; one trace; a loss that falls on one batch; exact resume through the engine; and
by capability: likelihoods that sum to one (bounds: to at most one), causality and coverage of the declared context,
keyed sampling, completion that keeps what is given, codes and reconstructions that mind no batch mates.
"""

import dataclasses
import functools
import itertools
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract.zoo import BATCH, KEY, ONE, ONE_EACH, OTHER, ROWS, batch_of, compiled, rows, shaken, variables_of

import jaxgen.models
from jaxgen.core.capabilities import (
    CAPABILITIES,
    Autoregressive,
    Completer,
    Density,
    Encoder,
    Reconstructor,
    Sampler,
    require,
    why_not,
)
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Model
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.recipe import Recipe
from jaxgen.engine.state import init_state
from jaxgen.engine.step import make_step


class Under(Model):
    """A model as the engine trains it and no more: some of its objectives, the number of their traces, ready variables.

    Without its capabilities, the engine has nothing to evaluate or to draw, and nothing else to compile.
    """

    def __init__(self, model, index=slice(None)):
        vars(self).update(shape=model.shape, levels=model.levels, model=model, index=index, traces=[])

    def init(self, key, batch):
        return variables_of(self.model)

    def objectives(self):
        return tuple(dataclasses.replace(o, loss=self.counted(o.loss)) for o in self.model.objectives()[self.index])

    def counted(self, loss):
        def counting(*args):
            self.traces.append(None)
            return loss(*args)

        return counting


@functools.cache
def training(name, index):
    """One objective of a row under the engine's own step, with an optimiser that remembers the gradient."""
    model = Under(ROWS[name], slice(index, index + 1))
    optimizer = optax.chain(optax.trace(0.0), optax.adam(3e-3))
    recipe = Recipe(data=data_of(ROWS[name]), model=model, optimizer=optimizer, batch=BATCH, steps=1)
    start, step = init_state(recipe, batch_of(model)), jax.jit(make_step(recipe))
    return SimpleNamespace(model=model, start=start, step=step, owned=model.objectives()[0].trains)


def data_of(model):
    def load():
        train, valid = (
            Split(np.asarray(b["image"]), np.asarray(b["label"]))
            for b in (batch_of(model, 3 * BATCH, 1), batch_of(model, 4, 2))
        )
        return Dataset("noise", model.levels, train, valid, None, "uniform noise")

    return Source("noise", load)


def objectives(test, names=tuple(ROWS)):
    """Runs a test once for each objective of each row."""
    pairs = [(name, i) for name in names for i in range(len(ROWS[name].objectives()))]
    ids = [f"{name}-{ROWS[name].objectives()[i].name}" for name, i in pairs]
    return pytest.mark.parametrize(("name", "index"), pairs, ids=ids)(test)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, *jax.device_get((a, b)))))


def keyless(function):
    """`function` of each array of a tree; of keys, of their data."""

    def one(leaf):
        return function(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)

    return functools.partial(jax.tree.map, one)


numbers = keyless(np.asarray)


def unplaced(state):
    """The same state, bound to no device, as a program takes it that was compiled for such."""
    found = keyless(lambda leaf: jnp.asarray(np.asarray(leaf)))(state)
    return dataclasses.replace(found, key=jax.random.wrap_key_data(found.key))


def test_every_exported_model_has_a_row():
    exported = {getattr(jaxgen.models, name) for name in jaxgen.models.__all__}
    assert exported == {type(model) for model in ROWS.values()}


# Every model


@rows()
def test_a_model_is_a_value(name):
    model = ROWS[name]
    again = dataclasses.replace(model)
    assert model == again
    assert hash(model) == hash(again)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.levels = 7


@rows(names=ONE_EACH)
def test_init_is_deterministic_and_float32(name):
    model = ROWS[name]
    variables = variables_of(model)
    assert same(variables, compiled(model, "init")(KEY, batch_of(model)))
    assert not same(variables["params"], compiled(model, "init")(OTHER, batch_of(model))["params"])
    assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in jax.tree.leaves(jax.device_get(variables)))


@rows()
def test_every_parameter_is_trained_by_an_objective(name):
    owned = [set(objective.trains) for objective in ROWS[name].objectives()]
    assert set.union(*owned) == set(variables_of(ROWS[name])["params"])


@objectives
def test_the_gradient_reaches_each_owned_parameter_and_moves_no_other(name, index):
    run = training(name, index)
    before, (after, metrics) = run.start, run.step(run.start, batch_of(run.model))
    gradient = jax.device_get(after.opt_states[0][0].trace)
    assert set(gradient) == set(run.owned)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        where = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), where
        assert (leaf != 0).any(), where
    old, new = jax.device_get((before.variables["params"], after.variables["params"]))
    for part in old:
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), old[part], new[part])
        assert set(jax.tree.leaves(moved)) == {part in run.owned}, part
    assert all(value.shape == () and np.isfinite(value) for value in metrics.values())
    shapes = functools.partial(jax.tree.map, lambda a: (a.shape, a.dtype))
    assert shapes(after.variables) == shapes(before.variables)


@objectives
def test_a_step_is_traced_once(name, index):
    run = training(name, index)
    state = run.start
    for seed in range(3):
        state, _ = run.step(state, batch_of(run.model, seed=seed))
    assert len(run.model.traces) == 1


@functools.partial(objectives, names=ONE_EACH)
def test_the_loss_falls_on_one_batch(name, index):
    run = training(name, index)
    state, batch, losses = run.start, batch_of(run.model), []
    for _ in range(20):
        state, metrics = run.step(dataclasses.replace(state, step=jnp.int32(0)), batch)  # the same draws each time
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0]
    assert np.mean(losses[10:]) < np.mean(losses[:10])


@functools.partial(objectives, names=ONE_EACH)
def test_resume_is_exact(name, index, tmp_path):
    """Four steps at once, and the last two of them again from a checkpoint of the second: the same bits."""
    run = training(name, index)

    def steps(state, first, last):
        for seed in range(first, last):
            state, _ = run.step(state, batch_of(run.model, seed=seed))
        return state

    half = jax.device_put(steps(run.start, 0, 2), ONE)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, half)
    with Checkpoints(tmp_path, write=False) as checkpoints:
        restored = checkpoints.restore(half)
    ends = [numbers(steps(unplaced(state), 2, 4)) for state in (half, restored)]
    assert same(*ends)
    assert not same(ends[0].variables, numbers(half).variables)


@rows()
def test_a_missing_capability_is_explained(name):
    model = ROWS[name]
    for capability in CAPABILITIES:
        if isinstance(model, capability):
            assert require(model, capability, "do it") is model
            continue
        reason = why_not(model, capability)
        assert reason != f"it is no {capability.__name__}", f"{type(model).__name__}.lacks should say why"
        others = {type(m).__name__ for m in ROWS.values() if isinstance(m, capability)}
        with pytest.raises(UsageError) as error:
            require(model, capability, "do it")
        assert all(word in str(error.value) for word in (type(model).__name__, "do it", reason, *others))


# Density


@rows(Density)
def test_log_prob_is_nats_of_each_image(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    log_prob = compiled(model, "log_prob")
    value, other = (log_prob(variables_of(model), image, key) for key in (KEY, OTHER))
    assert value.shape == (BATCH,)
    assert value.dtype == jnp.float32
    assert jnp.isfinite(value).all()
    assert same(value, log_prob(variables_of(model), image, KEY))
    if model.exact:
        assert same(value, other)
        assert (value < 0).all()
        np.testing.assert_allclose(log_prob(variables_of(model), image[::-1], KEY)[::-1], value, rtol=1e-5)
    else:
        assert (value != other).all()


@rows(Density)
def test_probabilities_sum_to_one_and_bounds_to_no_more(name):
    """Over all images of a small shape. A bound is first averaged over its draws, as its promise is in expectation."""
    c = ROWS[name].shape[2]
    model = dataclasses.replace(ROWS[name], shape=(2, 2, 1) if c == 1 else (1, 2, c))
    assert model.levels <= 4, "a row of few levels, please: all images are counted"
    values = itertools.product(range(model.levels), repeat=math.prod(model.shape))
    images = jnp.array(list(values), jnp.uint8).reshape(-1, *model.shape)
    keys = jax.random.split(KEY, 1 if model.exact else 100)
    log_prob = jax.jit(jax.vmap(model.log_prob, (None, None, 0)))(shaken(model, 0), images, keys).mean(0)
    total = float(jnp.exp(log_prob).sum())
    assert total == pytest.approx(1, abs=1e-4) if model.exact else 0.01 < total < 1


# Autoregressive


@rows(Autoregressive)
def test_log_prob_adds_up_the_conditionals(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    log_pmf = compiled(model, "log_pmf")(variables_of(model), image)
    assert log_pmf.shape == (BATCH, *model.shape, model.levels)
    assert log_pmf.dtype == jnp.float32
    np.testing.assert_allclose(jax.nn.logsumexp(log_pmf, axis=-1), 0, atol=1e-5)
    chosen = np.take_along_axis(np.asarray(log_pmf), np.asarray(image, np.int64)[..., None], -1).sum((1, 2, 3, 4))
    np.testing.assert_allclose(compiled(model, "log_prob")(variables_of(model), image, KEY), chosen, rtol=1e-5)


def can_be_read(context):
    """Whether there is an order in which each sub-pixel sees only those before it."""
    left = np.ones(len(context), bool)
    while (ready := left & ~context[:, left].any(axis=1)).any():
        left &= ~ready
    return not left.any()


@rows(Autoregressive)
def test_the_context_is_causal_and_is_what_the_logits_see(name):
    """The Jacobian of logits by sub-pixels: zero outside the declared context, nonzero inside in some random net."""
    model = ROWS[name]
    n = math.prod(model.shape)
    context = np.asarray(model.context()).reshape(n, n)
    assert can_be_read(context), "no order of sub-pixels lets each see only those before it"

    @jax.jit
    def seen(variables, x):
        jacobian = jax.jacrev(lambda x: model.logits(variables, x[None])[0])(x)
        return (jacobian != 0).any(axis=3).reshape(n, n)

    points = np.random.default_rng(0).random((16, *model.shape), np.float32)
    found = (np.asarray(seen(shaken(model, seed), x)) for seed, x in enumerate(points))
    np.testing.assert_array_equal(functools.reduce(np.logical_or, found), context)


# Sampler and Completer


@rows(Sampler, ONE_EACH)
def test_sampling_is_keyed(name):
    model = ROWS[name]
    sample = compiled(model, "sample", 5)
    image = sample(variables_of(model), KEY)
    assert image.shape == (5, *model.shape)
    assert image.dtype == jnp.uint8
    assert int(image.max()) < model.levels
    assert same(image, sample(variables_of(model), KEY))
    assert not same(image, sample(variables_of(model), OTHER))


@rows(Completer)
def test_completion_keeps_what_is_given(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    complete = compiled(model, "complete")
    given = jax.random.bernoulli(KEY, 0.5, model.shape[:2])
    full, other = (complete(variables_of(model), key, image, given) for key in (KEY, OTHER))
    assert full.shape == image.shape
    assert full.dtype == jnp.uint8
    assert int(full.max()) < model.levels
    assert same(full[:, given], image[:, given])
    assert same(full, complete(variables_of(model), KEY, image, given))
    assert not same(full, other)
    assert same(complete(variables_of(model), KEY, image, jnp.ones_like(given)), image)
    hidden = jnp.where(given[:, :, None], image, model.levels - 1 - image)
    assert same(full, complete(variables_of(model), KEY, hidden, given)), "what is not given must not be looked at"


# Encoder and Reconstructor


@rows(Encoder)
def test_codes_belong_to_their_images(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    code = compiled(model, "encode")(variables_of(model), image)
    assert code.ndim == 2
    assert code.shape[0] == BATCH
    assert code.dtype == jnp.float32
    assert jnp.isfinite(code).all()
    np.testing.assert_allclose(compiled(model, "encode")(variables_of(model), image[::-1])[::-1], code, atol=1e-5)
    assert len(np.unique(np.asarray(code), axis=0)) == BATCH


@rows(Reconstructor)
def test_reconstructions_belong_to_their_images(name):
    model, image = ROWS[name], batch_of(ROWS[name])["image"]
    back = compiled(model, "reconstruct")(variables_of(model), image)
    assert back.shape == image.shape
    assert back.dtype == jnp.uint8
    assert int(back.max()) < model.levels
    assert same(compiled(model, "reconstruct")(variables_of(model), image[::-1])[::-1], back)
