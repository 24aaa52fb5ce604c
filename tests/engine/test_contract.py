"""The contract: each mistake that a new model can make is one sentence, before the first step."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from helpers.stand_ins import LEVELS, SHAPE, Noisy, Table

from jaxgen.core.capabilities import Encoder, Latent, Reconstructor
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Aux, Objective
from jaxgen.engine.contract import contract, is_proved
from jaxgen.models import GatedPixelCNN, MultiScale, OrderEnsemble, PixelCNN


def changed(kind, **methods):
    """A class with some of its methods replaced."""
    return type("Changed", (kind,), methods)()


def objective(loss=None, **knobs):
    """The stand-in's objective with another loss or other settings."""

    def objectives(self):
        given = {"trains": ("table",), "examples": "separable"} | knobs
        return (Objective("likelihood", lambda *a: (loss or type(self).loss)(self, *a), **given),)

    return objectives


def losing(change):
    return objective(lambda self, v, b, k: change(*Table.loss(self, v, b, k), v))


MISTAKES = {
    "trains what is not there": (objective(trains=("tables",)), "trains 'tables', but the parameters are: table"),
    "no Aux": (
        losing(lambda value, aux, v: (value, {})),
        r"must give jaxgen\.Aux\(metrics\) beside its value, got dict",
    ),
    "value alone": (losing(lambda value, aux, v: value), r"must give \(value, Aux\(...\)\), got float32\[\]"),
    "no mean": (losing(lambda value, aux, v: (value[None], aux)), r"must be one float.*got float32\[1\]"),
    "metrics of examples": (
        losing(lambda value, aux, v: (value, Aux({"x": value[None]}))),
        "metric 'x' must be a scalar",
    ),
    "updates of params": (losing(lambda value, aux, v: (value, Aux({}, v))), "updates of 'params'"),
    "updates from nowhere": (
        losing(lambda value, aux, v: (value, Aux({}, {"stats": {"m": value}}))),
        "updates 'stats', which init does not make",
    ),
    "after of another shape": (
        objective(after=lambda v, b, k: {"params": {"table": v["params"]["table"][0]}}),
        "what `after` gives must have the leaves of init",
    ),
    "no objectives": (lambda self: (), "must give a tuple of one Objective or more"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_of_objectives(name):
    objectives, message = MISTAKES[name]
    with pytest.raises(UsageError, match=message):
        contract(changed(Table, objectives=objectives))


class Coded(Table, Latent, Encoder, Reconstructor):
    def prior(self, key, num):
        return jax.random.normal(key, (num, 2))

    def decode(self, variables, z, condition=None):
        return jnp.zeros((len(z), *self.shape), jnp.uint8)

    def encode(self, variables, image, condition=None):
        return jnp.zeros((len(image), 2))

    def reconstruct(self, variables, image, condition=None):
        return image


METHODS = {
    "init": ({"init": lambda self, key, batch: {"table": 0}}, "with 'params' among them"),
    "scores": (
        {"scores": lambda self, v, b, k: {"x": jnp.zeros(3)}},
        "must give its figure 'bits_per_dim', it gives x",
    ),
    "sums": (
        {"scores": lambda self, v, b, k: {"bits_per_dim": jnp.zeros((4, 16))}},
        r"'bits_per_dim' must give one number for each example, summed over pixels, \[4\], got float32\[4, 16\]",
    ),
    "sample": (
        {"sample": lambda self, v, key, num, condition=None: jnp.zeros((num, *SHAPE))},
        r"sample must give uint8 images \[4, 4, 1\], \[4, 4, 4, 1\], got float32\[4, 4, 4, 1\]",
    ),
    "decode": ({"decode": lambda self, v, z, condition=None: z}, "decode must give uint8 images"),
    "encode": ({"encode": lambda self, v, image, condition=None: image}, r"encode must give a vector for each image"),
    "reconstruct": ({"reconstruct": lambda self, v, image, condition=None: image / 2}, "reconstruct must give uint8"),
    "fails": ({"encode": lambda self, v, image, condition=None: v["parms"]}, "encode fails: KeyError: 'parms'"),
}


@pytest.mark.parametrize("name", METHODS)
def test_mistakes_of_capabilities(name):
    methods, message = METHODS[name]
    contract(Coded())
    with pytest.raises(UsageError, match=message):
        contract(changed(Coded, **methods))


def test_a_model_that_cannot_be_hashed():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Loose(Noisy):
        widths: object = dataclasses.field(default_factory=list)

    with pytest.raises(UsageError, match=r"cannot be hashed.*tuples where it holds lists"):
        contract(Loose())


def test_a_promise_to_be_separable_is_computed_where_asked_for():
    def mean_of_batch(self, variables, batch, key):
        brightness = batch["image"].astype(jnp.float32).mean() / LEVELS
        return brightness**2 + 0 * variables["params"]["table"].sum(), Aux({})

    draw = {"image": jax.random.randint(jax.random.key(0), (4, *SHAPE), 0, LEVELS).astype(jnp.uint8)}
    draw["image"] = draw["image"].at[:2].set(0)
    mixed = changed(Table, objectives=objective(mean_of_batch))
    contract(mixed, draw)
    with pytest.raises(UsageError, match="promises to be separable, but a batch has the loss"):
        contract(mixed, draw, compute=True)
    contract(Table(), draw, compute=True)


def test_only_the_librarys_own_models_are_proved_by_its_tests():
    """A model of a user's module is not, nor is one of the library's that has it inside."""
    small, large = PixelCNN(shape=(4, 4, 1), levels=LEVELS), GatedPixelCNN(shape=(4, 4, 1), levels=LEVELS)
    own = type("Own", (PixelCNN,), {"__module__": "recipe"})(shape=(4, 4, 1), levels=LEVELS)
    assert is_proved(small)
    assert not is_proved(own)
    for inside, proved in ((small, True), (own, False)):
        assert is_proved(MultiScale(shape=(4, 4, 1), levels=LEVELS, small=inside, large=large)) is proved
        assert is_proved(OrderEnsemble(shape=(4, 4, 1), levels=LEVELS, model=inside, orders=("right-down",))) is proved
