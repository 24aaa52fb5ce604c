"""Stand-ins for models, without a net library: trained in a moment, with all that an engine meets."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen.core.capabilities import Density, Sampler
from jaxgen.core.model import Aux, Model, Objective
from jaxgen.data.dataset import Dataset, Source, Split
from jaxgen.engine.recipe import Recipe

SHAPE, LEVELS = (4, 4, 1), 5


def dataset(n=96, shape=SHAPE, levels=LEVELS, transform=None, seed=0):
    draw = np.random.RandomState(seed)
    mean = draw.uniform(0, levels - 1, shape)

    def split(count):
        image = np.clip(np.round(mean + draw.normal(size=(count, *shape))), 0, levels - 1).astype(np.uint8)
        return Split(image, draw.randint(0, 3, count).astype(np.int32))

    return Dataset("stand-in", levels, split(n), split(21), split(19), "synthetic", transform)


def jitter(batch, key, train):
    """An augmentation that draws: some pixels fall to zero."""
    image = batch["image"]
    keep = jax.random.bernoulli(key, 0.9 if train else 1.0, image.shape)
    return {**batch, "image": image * keep.astype(image.dtype)}


class Untrained:
    """What a model has that nobody trains: to stand before its capabilities in a class line."""

    def init(self, key, batch):
        return {}

    def objectives(self):
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Density, Sampler):
    """Independent sub-pixels: the logits are the parameters. No draws."""

    shape: tuple[int, int, int] = SHAPE
    levels: int = LEVELS
    explode_at: float = float("inf")

    def init(self, key, batch):
        return {"params": {"table": jax.random.normal(key, (*self.shape, self.levels))}}

    def log_prob(self, variables, image, key, condition=None):
        log_pmf = jax.nn.log_softmax(variables["params"]["table"])
        chosen = jnp.where(image[..., None] == jnp.arange(self.levels), log_pmf, 0.0)
        return chosen.sum(axis=(1, 2, 3, 4))

    def sample(self, variables, key, num, condition=None):
        logits = variables["params"]["table"]
        return jax.random.categorical(key, logits, shape=(num, *self.shape)).astype(jnp.uint8)

    def loss(self, variables, batch, key):
        value = -self.log_prob(variables, batch["image"], key).mean()
        moved = jnp.abs(variables["params"]["table"]).max()
        return jnp.where(moved > self.explode_at, jnp.nan, value), Aux({"nats": value})

    def objectives(self):
        return (Objective("likelihood", self.loss, ("table",), examples="separable"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noisy(Table):
    """A convolution, batch norm and dropout beside the table: draws and running statistics."""

    drop: float = 0.3
    width: int = 8

    def init(self, key, batch):
        first, second, third = jax.random.split(key, 3)
        c = self.shape[2]
        return {
            "params": {
                "table": super().init(first, batch)["params"]["table"],
                "net": {
                    "conv": 0.3 * jax.random.normal(second, (3, 3, c, self.width)),
                    "scale": jnp.ones(self.width),
                    "bias": jnp.zeros(self.width),
                    "out": 0.3 * jax.random.normal(third, (self.width, self.levels)),
                },
            },
            "batch_stats": {"mean": jnp.zeros(self.width), "var": jnp.ones(self.width)},
        }

    def loss(self, variables, batch, key):
        net, stats = variables["params"]["net"], variables["batch_stats"]
        image = batch["image"]
        x = image.astype(jnp.float32) / (self.levels - 1)
        x = jax.lax.conv_general_dilated(x, net["conv"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        x = jax.nn.relu((x - mean) * jax.lax.rsqrt(var + 1e-3) * net["scale"] + net["bias"])
        if self.drop:
            x = x * jax.random.bernoulli(key, 1 - self.drop, x.shape) / (1 - self.drop)
        log_pmf = jax.nn.log_softmax(x @ net["out"])[..., None, :]
        guess = -jnp.where(image[..., None] == jnp.arange(self.levels), log_pmf, 0.0).sum(-1).mean()
        value = guess - self.log_prob(variables, image, key).mean() / 16
        running = {
            "mean": 0.9 * stats["mean"] + 0.1 * mean,
            "var": 0.9 * stats["var"] + 0.1 * var,
        }
        return value, Aux({"guess": guess}, {"batch_stats": running})

    def objectives(self):
        return (Objective("both", self.loss, ("table", "net")),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duel(Sampler, Model):
    """Two players: a generator of mean images, and a critic that acts at every second step."""

    shape: tuple[int, int, int] = SHAPE
    levels: int = LEVELS
    critic_every: int = 1

    def init(self, key, batch):
        first, second = jax.random.split(key)
        pixels = int(np.prod(self.shape))
        return {
            "params": {
                "generator": {"w": 0.1 * jax.random.normal(first, (3, pixels))},
                "critic": {"w": 0.1 * jax.random.normal(second, (pixels,)), "b": jnp.zeros(())},
            }
        }

    def draw(self, params, key, num):
        return jax.nn.sigmoid(jax.random.normal(key, (num, 3)) @ params["generator"]["w"])

    def score(self, params, x):
        return x @ params["critic"]["w"] + params["critic"]["b"]

    def sample(self, variables, key, num, condition=None):
        x = self.draw(variables["params"], key, num) * (self.levels - 1)
        return jnp.round(x).astype(jnp.uint8).reshape(num, *self.shape)

    def critic_loss(self, variables, batch, key):
        params, image = variables["params"], batch["image"]
        real = image.reshape(len(image), -1).astype(jnp.float32) / (self.levels - 1)
        fake = self.draw(params, key, len(image))
        value = jax.nn.softplus(-self.score(params, real)).mean() + jax.nn.softplus(self.score(params, fake)).mean()
        return value, Aux({})

    def generator_loss(self, variables, batch, key):
        params = variables["params"]
        fake = self.draw(params, key, len(batch["image"]))
        return jax.nn.softplus(-self.score(params, fake)).mean(), Aux({})

    def objectives(self):
        return (
            Objective("critic", self.critic_loss, ("critic",), every=self.critic_every),
            Objective("generator", self.generator_loss, ("generator",), optimizer=optax.sgd(0.5)),
        )


def recipe(model, data=None, **knobs):
    data = data or dataset()
    knobs = {"optimizer": optax.sgd(0.1), "batch": 16, "steps": 10, "evaluate_every": 1000, "save_every": 1000} | knobs
    return Recipe(data=Source(data.name, lambda: data), model=model, **knobs)
