"""Small models that are right, and each wrong in one way on request (`fault`): what `verify` is held against."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.core.capabilities import Autoregressive, Completer, Incremental, Sampler, Walk
from jaxgen.core.conditions import Classes
from jaxgen.core.model import Aux, Objective
from jaxgen.nn.lstm import shift_down, skew, unskew
from jaxgen.nn.masked import group_mask, groups, raster_taps, tap_conv
from jaxgen.verification.subject import Subject

KEY, CLASSES = jax.random.key(3), Classes(3)


def run(check, model, variables=None):
    """What a check found, or several found that share what they compile, by name."""
    subject = Subject(model, variables)
    checks = check if isinstance(check, tuple) else (check,)
    return {actual.name: actual for one in checks for actual in one(subject, KEY)}


def raster(shape):
    n = int(np.prod(shape))
    return np.tril(np.ones((n, n), bool), -1).reshape(*shape, *shape)


class Net(Autoregressive):
    """What the stand-ins below share: normal weights, and the likelihood as the objective."""

    def init(self, key, batch):
        forms = self.forms()
        keys = jax.random.split(key, len(forms))
        return {"params": {name: jax.random.normal(k, form) for k, (name, form) in zip(keys, forms.items())}}

    def objectives(self):
        def loss(variables, batch, key):
            nats = -self.trained(variables, batch["image"], self.condition_of(batch), key).mean()
            return nats, Aux({"nats": nats})

        return (Objective("likelihood", loss, tuple(self.forms())),)

    def trained(self, variables, image, condition, key):
        return self.log_prob(variables, image, key, condition)

    def context(self):
        return raster(self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Net, Incremental, Sampler, Completer):
    """A user's own model: the logits are linear in what comes before. Drawn naively, so that it is its own measure."""

    fault: str = ""
    temperature: float = 1.0
    """That of its draws, of which it does not tell."""

    def forms(self):
        n = int(np.prod(self.shape))
        return {"weights": (n, n, self.levels), "bias": (n, self.levels)}

    def logits(self, variables, x, condition=None):
        n = int(np.prod(self.shape))
        weights = variables["params"]["weights"] * np.tril(np.ones((n, n)), -1)[..., None]
        if self.fault == "blind":  # the last three rows do not see the third pixel
            weights = weights.at[-30:, 2].set(0)
        flat = x.reshape(len(x), n)
        if self.fault == "step":  # a leak that no derivative shows: whether the pixel after it is positive
            weights = weights + jnp.eye(n, k=1)[..., None] * variables["params"]["bias"][:, None]
            flat = (flat > 0).astype(x.dtype)
        logits = jnp.einsum("ijv,bj->biv", weights, flat) + variables["params"]["bias"]
        if self.fault == "batch":
            logits = logits + logits.mean(axis=0) * jnp.linspace(0, 1, self.levels)
        return logits.reshape(*x.shape, self.levels)

    def log_pmf(self, variables, image, condition=None):
        log_pmf = super().log_pmf(variables, image, condition)
        if self.fault == "mass":  # probabilities of one sub-pixel that sum to 1.01
            log_pmf = log_pmf.at[:, 1, 1].add(np.log(1.01))
        return log_pmf if self.fault != "apart" else log_pmf[..., ::-1]

    def log_prob(self, variables, image, key, condition=None):
        nats = super().log_prob(variables, image, key, condition)
        return nats + 0.1 if self.fault == "constant" else nats

    def pixel_log_prob(self, variables, image, condition=None, key=None):
        return self._pixels(variables, image, condition, key)

    def _pixels(self, variables, image, condition, key):
        log_pmf = self.log_pmf(variables, image, condition)
        if self.fault == "trained" and key is not None:  # the pixel after it is seen in training only
            after = jnp.roll(image.reshape(len(image), -1), -1, axis=1).at[:, -1].set(0).reshape(image.shape)
            log_pmf = jax.nn.log_softmax(log_pmf + after[..., None] * jnp.arange(self.levels))
        return jnp.take_along_axis(log_pmf, jnp.asarray(image, int)[..., None], axis=-1)[..., 0].sum(axis=-1)

    def trained(self, variables, image, condition, key):
        return self._pixels(variables, image, condition, key).sum(axis=(1, 2))

    def sample(self, variables, key, num, condition=None):
        h, w, c = self.shape
        blank, given = jnp.zeros((num, h, w, c), jnp.uint8), jnp.zeros((h, w), bool)
        condition = self.example_condition(num) if condition is None else condition
        if self.fault == "labels":  # all images are drawn under the first label
            condition = jnp.zeros_like(condition)
        return self._complete(variables, key, blank, given, self.fault, condition)

    def complete(self, variables, key, image, given, condition=None):
        return self._complete(variables, key, jnp.asarray(image), jnp.asarray(given), self.fault, condition)

    def walks(self):
        return (Walk("right-down", None, lambda variables, num, condition: None),)  # in reading order, by no walker

    def _complete(self, variables, key, image, given, fault, condition):
        h, w, c = self.shape
        num = len(image)
        noises = {"pairs": np.arange(num) // 2 * 2, "halves": np.arange(num) % (num // 2)}  # whose noise each image has

        def step(image, i):
            x = (image / (self.levels - 1)).astype(variables["params"]["bias"].dtype)
            if fault == "forgets":  # all rows but the last three
                x = x * (jnp.arange(h) > i // (w * c) - 3)[:, None, None]
            logits = self.logits(variables, x, condition).reshape(num, -1, self.levels)[:, i]
            noise = jax.random.gumbel(jax.random.fold_in(key, i), logits.shape, logits.dtype)
            noise = noise[noises[fault]] if fault in noises else noise
            drawn = (logits / self.temperature + noise).argmax(axis=-1)
            drawn = logits.argmax(axis=-1) if fault == "argmax" else drawn
            flat = image.reshape(len(image), -1)
            kept = given.reshape(-1)[i // c] & (fault != "ignores")
            new = jnp.where(kept, flat[:, i], drawn.astype(jnp.uint8))
            return flat.at[:, i].set(new).reshape(image.shape), None

        return jax.lax.scan(step, image, jnp.arange(h * w * c))[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerClass(Linear):
    """Each of three classes has weights of its own. Faults of one label: the second one's likelihood is doubled, or the
    last one's pixels see the one after them."""

    condition: Classes = CLASSES

    def forms(self):
        return {**super().forms(), "class": (3, self.levels)}

    def condition_of(self, batch):
        return batch["label"]

    def example_condition(self, num):
        return np.arange(num) % 3

    def logits(self, variables, x, condition=None):
        shift = variables["params"]["class"][condition][:, None, None, None]
        if self.fault == "last":
            after = jnp.roll(x.reshape(len(x), -1), -1, axis=1).at[:, -1].set(0).reshape(*x.shape, 1)
            shift = shift + (condition == 2)[:, None, None, None, None] * after * jnp.arange(self.levels)
        return super().logits(variables, x) + shift

    def log_prob(self, variables, image, key, condition=None):
        nats = super().log_prob(variables, image, key, condition)
        return nats + np.log(2) * (condition == 1) if self.fault == "second" else nats


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagonal(Net):
    """One Diagonal BiLSTM layer. The left-to-right stream reads the pixel before and its own earlier colours, the other
    one its whole pixel, which is safe since it is shifted down. Its faults are those seen in public code."""

    fault: str = ""

    def forms(self):
        c, h = self.shape[2], 2 * self.shape[2]
        forms = {"before": (c, 4 * h), "own": (c, 4 * h), "right": (c, 4 * h), "state": (2, 2 * h, 4 * h)}
        return {**forms, "out": (h, c * self.levels), "bias": (c * self.levels,)}

    def logits(self, variables, x, condition=None):
        p, c = variables["params"], self.shape[2]
        h = 2 * c
        hidden, target = groups(h, c), np.repeat(np.arange(c), self.levels)
        gates = groups(h, c, gates=4) if self.fault != "thirds" else groups(4 * h, c)
        own = x @ (p["own"] * group_mask("A", np.arange(c), gates))
        left = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1] @ p["before"] + own
        right = (x @ p["right"])[:, :, ::-1]
        lines = skew(jnp.stack([left, right])).transpose(3, 0, 1, 2, 4)
        edge = np.arange(len(lines))[:, None] == np.arange(x.shape[1])

        def step(states, line):
            pre, edge = line
            own, cell = (jnp.where(edge[:, None], 0, a) for a in states)
            rows = (own[:, :, 1:], states[0][:, :, :-1])
            below, above = (jnp.pad(a, ((0, 0), (0, 0), pad, (0, 0))) for a, pad in zip(rows, ((0, 1), (1, 0))))
            near = jnp.concatenate([own, below] if self.fault == "bottom" else [above, own], axis=-1)
            o, f, i, g = jnp.split(pre + jnp.einsum("sbnk,skg->sbng", near, p["state"]), 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        zero = jnp.zeros((2, len(x), x.shape[1], h))
        left, right = unskew(jax.lax.scan(step, (zero, zero), (lines, edge))[1].transpose(1, 2, 3, 0, 4))
        right = right[:, :, ::-1]
        y = left + (right if self.fault == "shift" else shift_down(right))
        return (y @ (p["out"] * group_mask("B", hidden, target)) + p["bias"]).reshape(*x.shape, self.levels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolutions(Net):
    """Mask A, then mask B, 3×3. With the fault, mask B keeps the row below."""

    fault: str = ""

    def taps(self):
        first, second = raster_taps(3)[:-1], raster_taps(3)
        return (first, (*second, (1, -1), (1, 0), (1, 1)) if self.fault == "below" else second)

    def forms(self):
        first, second = self.taps()
        return {"a": (len(first), self.shape[2], 6), "b": (len(second), 6, self.shape[2] * self.levels)}

    def logits(self, variables, x, condition=None):
        first, second = self.taps()
        y = jnp.tanh(tap_conv(x, variables["params"]["a"], first))
        return tap_conv(y, variables["params"]["b"], second).reshape(*x.shape, self.levels)

    def context(self):
        """Two columns to the left, in two rows above too, and there one and two to the right."""
        rows, columns = (np.subtract.outer(np.arange(n), np.arange(n)) for n in self.shape[:2])
        above, left = rows[:, None, :, None], columns[None, :, None, :]
        seen = (above == 0) & (left > 0) | (above == 1) & (left >= -1) | (above == 2) & (left >= -2)
        seen &= abs(left) <= 2
        return np.broadcast_to(seen[:, :, None, :, :, None], (*self.shape, *self.shape))
