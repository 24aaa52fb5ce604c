"""Two systems as a stranger would write them: each a recipe file, with nothing of the package changed for it."""

IMAGE_PRIOR = '''
"""Image Prior on a noisy picture. 1711.10925. Ours: not run yet.

A net that draws one image from fixed noise, stopped where the clean one is nearest. Protocol: PSNR to the clean image.

    jaxgen train image_prior
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgen
from jaxgen.core.images import from_float, to_float


class Net(nn.Module):
    @nn.compact
    def __call__(self, z):
        y = nn.relu(nn.Conv(8, (3, 3))(z))
        return nn.sigmoid(nn.Conv(1, (3, 3))(y))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagePrior(jaxgen.Scored, jaxgen.Reconstructor):
    figure = "psnr"
    better = "higher"

    def init(self, key, batch):
        for_net, for_z = jax.random.split(key)
        z = 0.1 * jax.random.uniform(for_z, (1, *self.shape[:2], 4))
        return {"params": {"net": Net().init(for_net, z)["params"]}, "fixed": {"z": z}}

    def restored(self, variables):
        return Net().apply({"params": variables["params"]["net"]}, variables["fixed"]["z"])

    def objectives(self):
        def loss(variables, batch, key):
            z = variables["fixed"]["z"] + 0.03 * jax.random.normal(key, variables["fixed"]["z"].shape)
            y = self.restored({**variables, "fixed": {"z": z}})
            error = ((y - to_float(batch["image"], self.levels)) ** 2).mean()
            return error, jaxgen.Aux({}, shown={"rmse": jnp.sqrt(error)})

        return (jaxgen.Objective("restore", loss, trains=("net",)),)

    def scores(self, variables, batch, key):
        error = (self.restored(variables) - to_float(batch["clean"], self.levels)) ** 2
        return {"psnr": -10 * jnp.log10(error.mean(axis=(1, 2, 3)))}

    def reconstruct(self, variables, image, condition=None):
        return from_float(jnp.repeat(self.restored(variables), len(image), axis=0), self.levels)


def noisy(batch):
    rows, columns = np.mgrid[:8, :8]
    clean = (128 + 100 * np.sin(rows / 2) * np.cos(columns / 3)).astype(np.uint8)[None, ..., None]
    draw = np.random.default_rng(0).normal(0, 25, clean.shape)
    image = np.clip(clean + draw, 0, 255).astype(np.uint8)
    some = jaxgen.Split(image.repeat(batch, 0), clean=clean.repeat(batch, 0))
    return jaxgen.Dataset("one noisy picture", 256, some, some, None, "sigma 25, one picture")


def recipe(batch: int = 8, steps: int = 60, lr: float = 0.01) -> jaxgen.Recipe:
    return jaxgen.Recipe(
        data=jaxgen.Source("one noisy picture", lambda: noisy(batch)),
        model=ImagePrior(shape=(8, 8, 1), levels=256),
        optimizer=optax.adam(lr),
        batch=batch,
        steps=steps,
        ema=0.9,
        evaluate_every=10,
        save_every=20,
        samples=2,
    )


SMOKE = dict(steps=4)
'''

SENTENCES = '''
"""Bigram on counting sentences. Unpublished. Ours: not run yet.

The next word given the last one, padded with 0. Protocol: nats per word of held-out sentences.

    jaxgen train sentences
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgen

WORDS = ("", "one", "two", "three", "four", ".")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bigram(jaxgen.Scored):
    words: int = len(WORDS)
    length: int = 5

    figure = "nats_per_word"

    def init(self, key, batch):
        return {"params": {"table": jnp.zeros((self.words, self.words))}}

    def log_prob(self, variables, words):
        table = jax.nn.log_softmax(variables["params"]["table"])
        real = words[:, 1:] > 0
        return jnp.where(real, table[words[:, :-1], words[:, 1:]], 0).sum(1), real.sum(1)

    def objectives(self):
        def loss(variables, batch, key):
            nats, count = self.log_prob(variables, batch["words"])
            return -(nats / count).mean(), jaxgen.Aux({"longest": batch["length"].max().astype(jnp.float32)})

        return (jaxgen.Objective("likelihood", loss, trains=("table",), examples="separable"),)

    def scores(self, variables, batch, key):
        nats, count = self.log_prob(variables, batch["words"])
        return {"nats_per_word": -nats / count}

    def shows(self, variables, batch, key):
        table = variables["params"]["table"]
        following = lambda word, key: (jax.random.categorical(key, table[word]),) * 2  # noqa: E731
        one = lambda key: jax.lax.scan(following, 1, jax.random.split(key, self.length))[1]  # noqa: E731
        return {"sentences": jax.vmap(one)(jax.random.split(key, 3))}

    def readable(self, name, shown):
        return [" ".join(WORDS[word] for word in row if word) for row in shown]


def counting(many):
    draw = np.random.default_rng(0)

    def split(count):
        length = draw.integers(2, 5, count).astype(np.int32)
        words = np.zeros((count, 5), np.int32)
        for row, n in zip(words, length):
            row[:n] = np.arange(1, n + 1)
            row[n] = 5
        return jaxgen.Split(words=words, length=length)

    return jaxgen.Dataset("counting", 0, split(many), split(20), split(20), "sentences that count to four at most")


def recipe(batch: int = 16, steps: int = 200, lr: float = 0.1) -> jaxgen.Recipe:
    return jaxgen.Recipe(
        data=jaxgen.Source("counting", lambda: counting(64)),
        model=Bigram(),
        optimizer=optax.adam(lr),
        batch=batch,
        steps=steps,
        evaluate_every=50,
        save_every=50,
        samples=3,
    )


SMOKE = dict(steps=4)
'''
