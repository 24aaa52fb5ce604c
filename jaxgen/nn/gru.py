"""Gated recurrent units over sentences of unequal length (1406.1078; as in Skip-Thought, 1506.06726, eqs. 1–8).

    r = σ(W_r x + U_r h + C_r v),  z = σ(W_z x + U_z h + C_z v),  g = tanh(W x + U (r ⊙ h) + C v)
    h' = (1 − z) ⊙ h + z ⊙ g

v is what a decoder is conditioned on, the same at each word; an encoder has no such terms. Deviation: the gates have
biases. Where the mask is False, h' = h exactly: what fills up behind a sentence changes neither states nor gradients.

The part of the gates that comes from the words is computed for the whole batch beforehand. The backward pass is written
out, so that the weight gradients are one product after the loop and not one in each step.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.nn.initial import normal


@jax.custom_vjp
def gru_scan(
    x: Float[Array, "t b gates"], mask: Bool[Array, "t b"], u: Float[Array, "d gates"], h0: Float[Array, "b d"]
) -> Float[Array, "t b d"]:
    """The states after each word. `x` is the words' part of r, z and g, side by side, and `u` are U_r, U_z and U; `h0`
    is the state before the first word."""
    return _forward(x, mask, u, h0)[0]


def _forward(x: Any, mask: Any, u: Any, h0: Any) -> tuple[Array, Any]:
    d = u.shape[0]
    u_gates, u_g = u[:, : 2 * d], u[:, 2 * d :]

    def step(h: Any, line: Any) -> tuple[Array, Any]:
        x_t, mask_t = line
        r, z = jnp.split(jax.nn.sigmoid(x_t[:, : 2 * d] + h @ u_gates), 2, axis=-1)
        g = jnp.tanh(x_t[:, 2 * d :] + (r * h) @ u_g)
        h = jnp.where(mask_t[:, None], h + z * (g - h), h)
        return h, (h, r, z, g)

    _, (hs, r, z, g) = jax.lax.scan(step, h0, (x, mask))
    return hs, (hs, r, z, g, mask, u, h0)


def _backward(saved: Any, dhs: Any) -> tuple[Any, ...]:
    hs, r, z, g, mask, u, h0 = saved
    d = u.shape[0]
    ut_gates, ut_g = u[:, : 2 * d].T, u[:, 2 * d :].T
    before = jnp.concatenate([h0[None], hs[:-1]])
    # Slopes are made for all words at once; a masked word has none, and hands its state's gradient on as it is.
    z = jnp.where(mask[..., None], z, 0.0)
    slope_r, slope_z, slope_g = r * (1 - r) * before, z * (1 - z) * (g - before), z * (1 - g * g)

    def step(dh: Any, line: Any) -> tuple[Array, Array]:
        dh_t, r_t, z_t, slope_r, slope_z, slope_g = line
        dh = dh + dh_t
        dg = dh * slope_g
        dreset = dg @ ut_g
        dgates = jnp.concatenate([dreset * slope_r, dh * slope_z], axis=-1)
        return dh * (1 - z_t) + dreset * r_t + dgates @ ut_gates, jnp.concatenate([dgates, dg], axis=-1)

    dh0, dx = jax.lax.scan(step, jnp.zeros_like(h0), (dhs, r, z, slope_r, slope_z, slope_g), reverse=True)
    du_gates = jnp.einsum("tbd,tbg->dg", before, dx[..., : 2 * d])
    du_g = jnp.einsum("tbd,tbg->dg", r * before, dx[..., 2 * d :])
    return dx, None, jnp.concatenate([du_gates, du_g], axis=-1), dh0


gru_scan.defvjp(_forward, _backward)


def orthogonal_gates(key: Any, shape: Any, dtype: Any = jnp.float32) -> Array:
    """Orthogonal maps [d, 3d] for r, z and g, each by itself: XLA's CPU can wait for ever in one decomposition of all
    three (jax 0.10.2, two cores, d = 400)."""
    draw = nn.initializers.orthogonal()
    return jnp.concatenate([draw(one, (shape[0], shape[0]), dtype) for one in jax.random.split(key, 3)], axis=1)


class GRU(nn.Module):
    """States after each word, from zeros or from `h0`; where `backwards`, the last word is read first."""

    features: int
    backwards: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b t i"],
        mask: Bool[Array, "b t"],
        condition: Float[Array, "b k"] | None = None,
        h0: Float[Array, "b d"] | None = None,
    ) -> Float[Array, "b t d"]:
        d = self.features
        gates = nn.Dense(3 * d, dtype=self.dtype, name="words")(x).astype(jnp.float32)
        if condition is not None:
            gates += nn.Dense(3 * d, use_bias=False, dtype=self.dtype, name="condition")(condition)[:, None]
        u = self.param("u", orthogonal_gates, (d, 3 * d))
        gates, mask = gates.swapaxes(0, 1), mask.swapaxes(0, 1)
        if self.backwards:
            gates, mask = gates[::-1], mask[::-1]
        states = gru_scan(gates, mask, u, jnp.zeros((x.shape[0], d)) if h0 is None else h0)
        return (states[::-1] if self.backwards else states).swapaxes(0, 1)


class SentenceEncoder(nn.Module):
    """A vector of `features` numbers for each sentence: the state behind its last word. Where `two_way`, half of it is
    that of a GRU which reads forwards, and half that of one which reads backwards.

    Words are numbers below `words`, of which 0 fills up behind a sentence (`mask_of`). Each has a learned vector of
    `embedding` numbers, in the parameter "embedding", which decoders may share.
    """

    words: int
    embedding: int
    features: int
    two_way: bool = False
    dtype: str = "float32"

    @nn.compact
    def __call__(self, words: Int[Array, "b t"]) -> Float[Array, "b d"]:
        table, mask = self.param("embedding", normal(0.1), (self.words, self.embedding)), mask_of(words)
        x = table[words]
        if not self.two_way:
            return GRU(self.features, dtype=self.dtype, name="forwards")(x, mask)[:, -1]
        half = self.features // 2
        forwards = GRU(half, dtype=self.dtype, name="forwards")(x, mask)[:, -1]
        backwards = GRU(self.features - half, backwards=True, dtype=self.dtype, name="backwards")(x, mask)[:, 0]
        return jnp.concatenate([forwards, backwards], axis=-1)


def mask_of(words: Int[Array, "*b t"]) -> Bool[Array, "*b t"]:
    """Where a row of numbers holds its sentence: 0 fills up behind it."""
    return words > 0
