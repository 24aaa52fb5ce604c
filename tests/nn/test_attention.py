"""Causal attention, from its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn.attention import attend, causal_attention

KEY = jax.random.key(0)


def queries_keys_values(n=7, k=3, v=4, scale=1.0):
    draw = np.random.default_rng(0)
    return tuple(jnp.float32(scale * draw.normal(size=(2, n, size))) for size in (k, k, v))


def test_attention_is_what_its_formula_says():
    query, key, value = queries_keys_values()
    wanted = np.zeros((2, 7, 4))
    for b, i in np.ndindex(2, 7):
        if i:
            weights = np.exp([query[b, i] @ key[b, j] / np.sqrt(3) for j in range(i)])
            wanted[b, i] = sum(w * value[b, j] for j, w in enumerate(weights / weights.sum()))
    np.testing.assert_allclose(causal_attention(query, key, value), wanted, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_first_pixel_attends_to_nothing(scale):
    """Its output is zero and not NaN, the second's is the first value, and gradients are finite for any scores."""
    arrays = queries_keys_values(scale=scale)
    mixed = causal_attention(*arrays)
    assert (np.asarray(mixed[:, 0]) == 0).all()
    np.testing.assert_array_equal(mixed[:, 1], arrays[2][:, 0])
    assert jnp.isfinite(mixed).all()
    gradients = jax.grad(lambda arrays: (causal_attention(*arrays) ** 2).sum())(arrays)
    assert all(jnp.isfinite(g).all() for g in gradients)


def test_a_memory_in_parts_is_one_memory():
    query, key, value = queries_keys_values()
    seen = jax.random.bernoulli(KEY, 0.5, (7, 7))
    whole = attend(query, [(key, value)], seen)
    parts = [(key[:, a:b], value[:, a:b]) for a, b in ((0, 2), (2, 3), (3, 7))]
    np.testing.assert_allclose(attend(query, parts, seen), whole, atol=1e-6)


def test_scores_of_bf16_are_summed_and_normalised_in_float32():
    arrays = [jnp.asarray(a, jnp.bfloat16) for a in queries_keys_values(n=64, k=16)]
    exact = causal_attention(*(a.astype(jnp.float32) for a in arrays))
    mixed = causal_attention(*arrays)
    assert mixed.dtype == jnp.bfloat16
    np.testing.assert_allclose(mixed.astype(jnp.float32), exact, atol=0.02)
    program = str(jax.make_jaxpr(causal_attention)(*arrays))
    assert all("f32" in line.split("=")[0] for line in program.splitlines() if " exp " in line or "dot_general" in line)
