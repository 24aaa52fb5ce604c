"""What the tests of several pixel models share: random weights, conditions and compiled methods, whose logits move with
whom, all images of a shape."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.core.conditions import Classes


def random_variables(model, seed=0, scale=0.3):
    """Random weights everywhere, biases and initial states too: causality must hold for any.

    Drawn by NumPy around what `init` gives on average: its programs take seconds to compile.
    """
    draw = np.random.default_rng(seed)

    def one(path, leaf):
        name = jax.tree_util.keystr(path[-1:], simple=True)
        weights = name not in ("bias", "h0", "c0", "scale")
        spread = np.hypot(scale, 0.25) if weights else scale  # about as small nets' kernels start
        return jnp.asarray((name == "scale") + spread * draw.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(one, _shapes(model))


@functools.cache
def _shapes(model):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), {}))


@functools.cache
def compiled(model, method, *static):
    """`model.method`, compiled once for each model; `static` are the positions of arguments that are no arrays."""
    return jax.jit(getattr(model, method), static_argnums=static)


def condition_for(model, num, seed=3):
    """A condition for `num` images: labels with a −1 among them, vectors, or maps."""
    draw, kind = np.random.default_rng(seed), model.condition
    if kind is None:
        return None
    if isinstance(kind, Classes):
        return np.concatenate([draw.integers(0, kind.count, num - 1), [-1 if kind.dropout else 0]]).astype(np.int32)
    return draw.normal(size=(num, *kind.shape(model.shape))).astype(np.float32)


def kind_of(condition):
    """What a test is called that has it."""
    return type(condition).__name__.lower()


def sensitivity(model, draws, condition=None):
    """bool[h,w,c,h,w,c]: whose logits moved with whom, in any of several random networks and images.

    `condition` is that of one image.
    """
    direction = jnp.linspace(-1.0, 2.0, model.levels)

    @jax.jit
    def jacobian(variables, x):
        return jax.jacrev(lambda x: model.logits(variables, x[None], condition)[0] @ direction)(x)

    seen = np.zeros(model.shape + model.shape, bool)
    for seed in range(draws):
        x = jax.random.uniform(jax.random.key(100 + seed), model.shape)
        seen |= np.asarray(jacobian(random_variables(model, seed), x)) != 0
    return seen


def all_images(shape, levels):
    """Every image of a small shape, `uint8[levels^n,h,w,c]`."""
    n = int(np.prod(shape))
    return np.array(list(itertools.product(range(levels), repeat=n)), np.uint8).reshape(-1, *shape)


def check_frequencies(draws, probability, levels):
    """χ² of draws against the probabilities of all images, in `all_images`' order: within five standard errors."""
    draws = np.asarray(draws, np.int64).reshape(len(draws), -1)
    index = draws @ (levels ** np.arange(draws.shape[1] - 1, -1, -1))
    expected = len(draws) * np.asarray(probability, np.float64)
    counts = np.bincount(index, minlength=len(expected))
    assert not counts[expected == 0].any()
    kept = expected >= 5
    observed, wanted = np.append(counts[kept], counts[~kept].sum()), np.append(expected[kept], expected[~kept].sum())
    chi2, freedom = ((observed - wanted) ** 2 / wanted.clip(1e-9)).sum(), len(wanted) - 1
    assert abs(chi2 - freedom) < 5 * np.sqrt(2 * freedom), f"χ² {chi2:.1f} with {freedom} degrees of freedom"
