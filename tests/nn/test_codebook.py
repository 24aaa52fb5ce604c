"""The codebook against what it says in words, entry by entry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn.codebook import (
    followed,
    fresh_codebook,
    nearest,
    perplexity,
    restarted,
    straight_through,
    vectors_of,
)

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(40, 3)), jnp.float32)
BOOK = {"share": np.array([0.5, 2.0, 1.4, 0.1], np.float32), "sum": RNG.normal(size=(4, 3)).astype(np.float32)}


def test_the_nearest_entry_is_that_of_all_distances():
    vectors = jnp.asarray(RNG.normal(size=(7, 3)), jnp.float32)
    x = X.reshape(5, 8, 3)
    distances = np.array([[[np.linalg.norm(a - e) for e in vectors] for a in row] for row in x])
    np.testing.assert_array_equal(nearest(x, vectors), distances.argmin(axis=-1))


def test_the_averages_move_as_a_loop_over_vectors_moves_them():
    codes = RNG.integers(0, 3, 40)  # nobody chooses the last
    share, total = BOOK["share"].astype(float), BOOK["sum"].astype(float)
    counts, sums = np.zeros(4), np.zeros((4, 3))
    for x, code in zip(X, codes, strict=True):
        counts[code] += 4 / 40
        sums[code] += x * 4 / 40
    moved = followed(BOOK, X, jnp.asarray(codes), 0.9)
    np.testing.assert_allclose(moved["share"], 0.9 * share + 0.1 * counts, rtol=1e-5)
    np.testing.assert_allclose(moved["sum"], 0.9 * total + 0.1 * sums, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved["share"].sum(), 4, rtol=1e-5)  # as before: 1 where all are used alike
    np.testing.assert_allclose(vectors_of(moved), moved["sum"] / moved["share"][:, None], rtol=1e-3)


def test_entries_become_the_means_of_their_vectors_whatever_the_batch():
    codes = jnp.asarray(np.arange(40) % 4)
    book = {name: jnp.asarray(array) for name, array in BOOK.items()}
    for _ in range(60):
        book = followed(book, X, codes, 0.7)
    means = [X[np.arange(40) % 4 == i].mean(axis=0) for i in range(4)]
    np.testing.assert_allclose(vectors_of(book), means, atol=1e-5)
    halves = [followed(BOOK, jnp.asarray(X[i::2]), codes[i::2], 0.9) for i in range(2)]
    whole = followed(BOOK, X, codes, 0.9)
    for name in whole:
        np.testing.assert_allclose((halves[0][name] + halves[1][name]) / 2, whole[name], rtol=1e-5, atol=1e-6)


def test_dead_entries_begin_again_and_live_ones_stay():
    book = {name: jnp.asarray(array) for name, array in BOOK.items()}
    after, other = (restarted(book, X, jax.random.key(seed), 1.0) for seed in (0, 1))
    dead, old, new = np.array([True, False, False, True]), vectors_of(book), vectors_of(after)
    np.testing.assert_array_equal(after["share"], np.where(dead, 1, BOOK["share"]))
    np.testing.assert_array_equal(after["sum"][~dead], BOOK["sum"][~dead])
    np.testing.assert_allclose(new[~dead], old[~dead], rtol=1e-4)
    for vector in new[dead]:
        assert np.abs(X - vector).max(axis=1).min() < 1e-3, "it is one of the vectors"
    assert (other["sum"][dead] != after["sum"][dead]).any()


def test_a_fresh_codebook_begins_with_the_first_batch():
    book = fresh_codebook(jax.random.key(0), 16, 3)
    codes = nearest(X, vectors_of(book))
    begun = vectors_of(restarted(followed(book, X, codes, 0.99), X, jax.random.key(1), 0.1))
    distance = np.linalg.norm(X[:, None] - begun, axis=-1).min(axis=0)
    assert (distance < 1e-3).sum() > 8


def test_the_gradient_goes_straight_through():
    """The value is the quantised one, bit for bit; what it is differentiated by is x."""
    quantised = jnp.round(X)
    weight = jnp.asarray(RNG.normal(size=X.shape), jnp.float32)
    value, (by_x, by_quantised) = jax.value_and_grad(
        lambda x, q: (weight * straight_through(x, q) ** 2).sum(), argnums=(0, 1)
    )(X, quantised)
    np.testing.assert_array_equal(straight_through(X, quantised), quantised)
    assert value == (weight * quantised**2).sum()
    np.testing.assert_allclose(by_x, 2 * weight * quantised, rtol=1e-6)
    np.testing.assert_array_equal(by_quantised, 0)


@pytest.mark.parametrize(("codes", "expected"), [(np.arange(12) % 6, 6), (np.full(12, 3), 1), ([0, 0, 0, 1], 1.7548)])
def test_perplexity_counts_the_codes_in_use(codes, expected):
    np.testing.assert_allclose(perplexity(jnp.asarray(codes), 6), expected, rtol=1e-4)
