"""Discrete distributions over pixel values, given a net's outputs. All in float32 at least, nats.

A *head* says how the outputs for a pixel become distributions of its sub-pixels, each given those before it:
`Softmax` (Bernoulli for two levels) and `LogisticMixture`. Pixels enter as `x`, scaled to 0 … 1; `*s` are any axes.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from jaxgen.core.model import PRNGKey

LEAST_LOG_SCALE = -7.0
"""Of a logistic, on an axis where pixel values run from −1 to 1 (1701.05517, reference code)."""


class Head(abc.ABC):
    """How outputs become distributions. `shape` is that of the outputs for one pixel, behind the map's axes."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one pixel's outputs."""

    @abc.abstractmethod
    def log_prob(self, outputs: Array, value: Array) -> Array:
        """Nats of each pixel `value` [*s,c], summed over its channels: [*s]."""

    @abc.abstractmethod
    def log_pmf(self, outputs: Array, x: Array) -> Array:
        """Nats of every value of each channel, given the channels of x [*s,c] before it: [*s,c,levels]."""

    @abc.abstractmethod
    def log_pmf_at(self, outputs: Array, x: Array, channel: int) -> Array:
        """The same for one channel: [*s,levels]. Later channels of x are not looked at."""

    def image_log_prob(self, outputs: Array, value: Array) -> Float[Array, " b"]:
        """Nats of each image `value` [b,h,w,c], its pixels independent given the outputs."""
        return self.log_prob(outputs, value).sum(axis=(1, 2))

    def scores_at(self, outputs: Array, x: Array, channel: int) -> Array:
        """The same but for a constant, which a draw does not need."""
        return self.log_pmf_at(outputs, x, channel)

    @abc.abstractmethod
    def draw(self, outputs: Array, key: PRNGKey) -> Array:
        """A draw of each pixel, all its channels at once: values [*s,c]."""

    @abc.abstractmethod
    def mean(self, outputs: Array) -> Array:
        """The mean of each channel, rounded to the nearest value, given so much of the channels before it: [*s,c]."""


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def categorical_log_prob(
    logits: Float[Array, "*s levels"], value: Integer[Array | np.ndarray, "*s"]
) -> Float[Array, "*s"]:
    """log p(value) under softmax(logits). The gradient is one pass: value's one-hot minus the softmax.

    >>> np.exp(categorical_log_prob(jnp.zeros((2, 4)), np.array([2, 0])))
    array([0.25, 0.25], dtype=float32)
    """
    logits = _wide(logits)
    chosen = jnp.take_along_axis(logits, value[..., None].astype(jnp.int32), axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


@jax.custom_jvp
def bernoulli_log_prob(logits: Float[Array, "*s n"], value: Integer[Array | np.ndarray, "*s n"]) -> Float[Array, "*s"]:
    """Σ log p(value) over the last axis, of values 0 and 1 with p(1) = σ(logit).

    `log p = value·l − max(l, 0) − log(1 + e^−|l|)`. Logarithms are what costs: one is taken of a product of up to 32
    of the last factors, which lie between 1 and 2. The gradient is `value − σ(l)`.

    >>> np.exp(bernoulli_log_prob(jnp.full((2,), jnp.log(3.0)), np.array([1, 0]))).round(4)  # 3/4 · 1/4
    np.float32(0.1875)
    """
    logits = _wide(logits)
    size = logits.shape[-1]
    group = next(n for n in range(min(size, 32), 0, -1) if size % n == 0) if size else 1
    factors = (1.0 + jnp.exp(-jnp.abs(logits))).reshape(*logits.shape[:-1], -1, group).prod(axis=-1)
    return (value * logits - jnp.maximum(logits, 0.0)).sum(axis=-1) - jnp.log(factors).sum(axis=-1)


@bernoulli_log_prob.defjvp
def _bernoulli_log_prob_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    logits, value = primals
    slope = value - jax.nn.sigmoid(_wide(logits))
    return bernoulli_log_prob(logits, value), (slope * tangents[0]).sum(axis=-1)


@dataclasses.dataclass(frozen=True)
class Softmax(Head):
    """Each sub-pixel has logits of its own. With two levels there is one, that of value 1: a Bernoulli, p(1) = σ(l).

    >>> head = Softmax(levels=2, channels=1)
    >>> outputs = jnp.full((1, *head.shape), jnp.log(3.0))  # σ(log 3) = 3/4
    >>> np.exp(head.log_pmf(outputs, jnp.zeros((1, 1)))).round(3)
    array([[[0.25, 0.75]]], dtype=float32)
    """

    levels: int
    channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, logits)."""
        return self.channels, 1 if self.levels == 2 else self.levels

    def logits(self, outputs: Float[Array, "*s o"]) -> Float[Array, "*s levels"]:
        """A logit for each level."""
        return jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1) if self.levels == 2 else outputs

    def log_prob(
        self, outputs: Float[Array, "*s c o"], value: Integer[Array | np.ndarray, "*s c"]
    ) -> Float[Array, "*s"]:
        """Nats of each pixel."""
        if self.levels == 2:
            return bernoulli_log_prob(outputs[..., 0], value)
        return categorical_log_prob(self.logits(outputs), value).sum(axis=-1)

    def image_log_prob(
        self, outputs: Float[Array, "b h w c o"], value: Integer[Array | np.ndarray, "b h w c"]
    ) -> Float[Array, " b"]:
        """Nats of each image; of two levels in one sum over its sub-pixels, which saves logarithms."""
        if self.levels == 2:
            return bernoulli_log_prob(outputs.reshape(len(outputs), -1), value.reshape(len(outputs), -1))
        return super().image_log_prob(outputs, jnp.asarray(value))

    def log_pmf(self, outputs: Float[Array, "*s c o"], x: Float[Array, "*s c"]) -> Float[Array, "*s c levels"]:
        """Log-softmax; x has no part in it."""
        return jax.nn.log_softmax(_wide(self.logits(outputs)))

    def log_pmf_at(
        self, outputs: Float[Array, "*s c o"], x: Float[Array, "*s c"], channel: int
    ) -> Float[Array, "*s levels"]:
        """Of one channel."""
        return jax.nn.log_softmax(self.scores_at(outputs, x, channel))

    def scores_at(
        self, outputs: Float[Array, "*s c o"], x: Float[Array, "*s c"], channel: int
    ) -> Float[Array, "*s levels"]:
        """The logits."""
        return _wide(self.logits(outputs[..., channel, :]))

    def draw(self, outputs: Float[Array, "*s c o"], key: PRNGKey) -> Integer[Array, "*s c"]:
        """By the logits."""
        return jax.random.categorical(key, _wide(self.logits(outputs)))

    def mean(self, outputs: Float[Array, "*s c o"]) -> Float[Array, "*s c"]:
        """Channels are of no account to each other."""
        return jnp.round(jax.nn.softmax(_wide(self.logits(outputs))) @ jnp.arange(self.levels, dtype=jnp.float32))


@dataclasses.dataclass(frozen=True)
class LogisticMixture(Head):
    """`components` logistics, cut into `levels` bins, of which the outermost take the tails (1701.05517, eq. 2–3).

    The channels of a pixel share the mixture's weights; a channel's means move linearly with the values before it.
    For c channels the outputs of a component are a weight's logit, c means, c log-scales and c(c−1)/2 coefficients
    (before tanh). Deviation: no branches. A bin from a to b has σ(b) − σ(a) = σ(b)·σ(−a)·(1 − e^{a−b}), whose logarithm
    is exact to rounding for any parameters.

    >>> head = LogisticMixture(levels=256, channels=3, components=10)
    >>> head.shape
    (100,)
    >>> jax.eval_shape(head.log_pmf, jnp.zeros((7, 100)), jnp.zeros((7, 3))).shape
    (7, 3, 256)
    """

    levels: int
    channels: int
    components: int = 10

    @property
    def shape(self) -> tuple[int, ...]:
        """(components·(1 + 2c + c(c−1)/2),)."""
        c = self.channels
        return (self.components * (1 + 2 * c + c * (c - 1) // 2),)

    def _parts(self, outputs: Array, x: Array) -> tuple[Array, Array, Array]:
        """Log-weights [*s,k], means and log-scales [*s,c,k], the means moved by the channels of x before each."""
        c, k = self.channels, self.components
        parts = _wide(outputs).reshape(*outputs.shape[:-1], -1, k)
        log_weight = jax.nn.log_softmax(parts[..., 0, :])
        means, scales = parts[..., 1 : 1 + c, :], jnp.maximum(parts[..., 1 + c : 1 + 2 * c, :], LEAST_LOG_SCALE)
        coefficients, value = jnp.tanh(parts[..., 1 + 2 * c :, :]), _wide(2 * x - 1)[..., None]
        moved = []
        for j in range(c):
            first = j * (j - 1) // 2
            before = coefficients[..., first : first + j, :] * value[..., :j, :]
            moved.append(means[..., j, :] + before.sum(axis=-2))
        return log_weight, jnp.stack(moved, axis=-2), scales

    def _log_mass(self, means: Array, scales: Array, place: Array) -> Array:
        """Log-mass of the bins of levels `place` (as floats), of which the outermost take the tails."""
        n, inverse = self.levels - 1, jnp.exp(-scales)
        # Neighbours compute their common edge alike, so that what rounding moves is lost to none of the two.
        low, high = (2 * place - self.levels) / n, (2 * place + 2 - self.levels) / n
        first, last = place < 0.5, place > n - 0.5
        up, down = jax.nn.log_sigmoid((high - means) * inverse), jax.nn.log_sigmoid((means - low) * inverse)
        width = 2 / n * inverse
        narrow = width < 1e-3  # there log(1 − e^−w) is known from log w, which does not underflow
        inside = jnp.log(-jnp.expm1(-jnp.where(narrow, 1.0, width)))
        inside = jnp.where(narrow, math.log(2 / n) - scales - width / 2 + width**2 / 24, inside)
        return jnp.where(last, 0.0, up) + jnp.where(first, 0.0, down) + jnp.where(first | last, 0.0, inside)

    def log_prob(self, outputs: Float[Array, "*s o"], value: Integer[Array | np.ndarray, "*s c"]) -> Float[Array, "*s"]:
        """Nats of each pixel: its channels share their component, so that their masses multiply inside the mixture."""
        place = jnp.asarray(value).astype(_wide(outputs).dtype)
        log_weight, means, scales = self._parts(outputs, place / (self.levels - 1))
        return jax.nn.logsumexp(log_weight + self._log_mass(means, scales, place[..., None]).sum(axis=-2), axis=-1)

    def log_pmf(self, outputs: Float[Array, "*s o"], x: Float[Array, "*s c"]) -> Float[Array, "*s c levels"]:
        """Nats of every value of each channel given those before it."""
        return jnp.stack([self.log_pmf_at(outputs, x, j) for j in range(self.channels)], axis=-2)

    def log_pmf_at(
        self, outputs: Float[Array, "*s o"], x: Float[Array, "*s c"], channel: int
    ) -> Float[Array, "*s levels"]:
        """Of one channel: the channels before it have told which components are likely."""
        log_weight, means, scales = self._parts(outputs, x)
        place = _wide(x)[..., :channel, None] * (self.levels - 1)
        before = self._log_mass(means[..., :channel, :], scales[..., :channel, :], place)
        posterior = jax.nn.log_softmax(log_weight + before.sum(axis=-2))
        places = jnp.arange(self.levels, dtype=posterior.dtype)[:, None]
        own = self._log_mass(means[..., channel, None, :], scales[..., channel, None, :], places)
        return jax.nn.logsumexp(posterior[..., None, :] + own, axis=-1)

    def draw(self, outputs: Float[Array, "*s o"], key: PRNGKey) -> Float[Array, "*s c"]:
        """A component, and of it a logistic draw for each channel, rounded and clipped: so every bin has its mass."""
        component_key, *keys = jax.random.split(key, 1 + self.channels)
        x = jnp.zeros((*outputs.shape[:-1], self.channels))
        log_weight, _, _ = self._parts(outputs, x)
        component = jax.random.categorical(component_key, log_weight)[..., None]
        for j, channel_key in enumerate(keys):
            _, means, scales = self._parts(outputs, x)
            mean, log_scale = (jnp.take_along_axis(a[..., j, :], component, axis=-1)[..., 0] for a in (means, scales))
            y = mean + jnp.exp(log_scale) * jax.random.logistic(channel_key, mean.shape)
            x = x.at[..., j].set(self._rounded((y + 1) / 2 * (self.levels - 1)) / (self.levels - 1))
        return self._rounded(x * (self.levels - 1))

    def mean(self, outputs: Float[Array, "*s o"]) -> Float[Array, "*s c"]:
        """Σ_v P(value ≥ v), summed over components that the channels before have made more or less likely."""
        n = self.levels - 1
        edges = ((2 * jnp.arange(1, self.levels) - self.levels) / n)[:, None]
        value, log_weight = jnp.zeros((*outputs.shape[:-1], self.channels)), None
        for j in range(self.channels):
            first, means, scales = self._parts(outputs, value / n)
            weight = jax.nn.softmax(first if log_weight is None else log_weight)
            mean, log_scale = means[..., j, :], scales[..., j, :]
            above = jax.nn.sigmoid((mean[..., None, :] - edges) * jnp.exp(-log_scale)[..., None, :])
            value = value.at[..., j].set(self._rounded((weight[..., None, :] * above).sum(axis=(-2, -1))))
            own = self._log_mass(mean, log_scale, value[..., j, None])
            log_weight = (first if log_weight is None else log_weight) + own
        return value

    def _rounded(self, place: Array) -> Array:
        """To the nearest level."""
        return jnp.clip(jnp.round(place), 0, self.levels - 1)


def gaussian_kl(mean: Float[Array, "*b d"], log_var: Float[Array, "*b d"]) -> Float[Array, "*b"]:
    """KL(N(mean, e^log_var) ‖ N(0, I)) in nats, −½ Σ_d (1 + log_var − mean² − e^log_var) (1312.6114, app. B).

    >>> gaussian_kl(jnp.array([[1.0, 0.0], [2.0, 0.0]]), jnp.zeros((2, 2))).tolist()
    [0.5, 2.0]
    """
    return -0.5 * (1.0 + log_var - mean**2 - jnp.exp(log_var)).sum(axis=-1)


def gaussian_log_prob(
    z: Float[Array, "*b d"], mean: Float[Array, "*#b d"], log_var: Float[Array, "*#b d"]
) -> Float[Array, "*b"]:
    """Log-density (nats) of z under N(mean, e^log_var), independent over the last axis.

    >>> zero = jnp.zeros((1, 2))
    >>> round(float(gaussian_log_prob(zero, zero, zero)[0]), 4)  # −log 2π
    -1.8379
    """
    return -0.5 * (math.log(2.0 * math.pi) + log_var + (z - mean) ** 2 * jnp.exp(-log_var)).sum(axis=-1)
