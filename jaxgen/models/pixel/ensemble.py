"""Ensembles over orders: a pixel model reads the image in several orders, and its probabilities are mixed.

    p(x) = 1/K Σ_o p_o(x),    log p(x) = lse_o log p_o(x) − log K

p_o is a pixel model in the order o (`jaxgen.core.orders`), with a likelihood of its own; by the concavity of the
logarithm the mixture's nats are at most the members' mean. Either each order has a network, all trained in one run, or
one network serves all orders and is told which one it reads in by a class condition (`shared`): then each image of a
batch is read in one order, drawn so that all orders share the batch evenly, and the loss is in expectation the members'
mean.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from jaxgen.core import conditions
from jaxgen.core.capabilities import Completer, Density, Sampler
from jaxgen.core.errors import UsageError
from jaxgen.core.images import bits_per_dim
from jaxgen.core.keys import places
from jaxgen.core.model import Aux, Batch, Images, Mask, Objective, PRNGKey, Variables
from jaxgen.core.orders import ORDERS, check_order, from_raster, is_prefix, order_rank, to_raster
from jaxgen.models.pixel.base import PixelModel

SHARED = "shared"
"""The name of the parameters of a network that serves all orders; others bear their order's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrderEnsemble(Density, Sampler, Completer):
    """`model` in each of `orders`. It says which model and with what settings; its own shape, levels and order are set
    here (`members`), and its condition where one network is `shared` by all orders.

    Orders along rows and orders along columns share a network only of square images: others would not fit one batch.
    """

    model: PixelModel
    orders: tuple[str, ...] = ORDERS
    shared: bool = False

    by_example: ClassVar = True
    conditioned_on: ClassVar = ()
    exactly: ClassVar = f"{Completer.exactly}, by the members in whose orders they come first"
    lacks: ClassVar = {
        "Autoregressive": "it mixes orders, and what comes before a pixel is another thing in each",
        "Incremental": "it mixes orders, and a walk over pixels is in one",
        "Latent": "a pixel model has no latent vector",
        "Encoder": "a pixel model has no latent vector",
        "Reconstructor": "a pixel model has no latent vector",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.model, PixelModel):
            raise UsageError(f"OrderEnsemble: model must be a pixel model, got {type(self.model).__name__}")
        if self.model.condition is not None:
            raise UsageError("OrderEnsemble is unconditional: leave the condition of its model away")
        for order in self.orders:
            check_order(order)
        if not self.orders or len(set(self.orders)) < len(self.orders):
            raise UsageError(f"OrderEnsemble: wanted at least one order and each once, got {self.orders}")
        if self.shared and len({_turned(self.shape, order) for order in self.orders}) > 1:
            h, w, _ = self.shape
            raise UsageError(
                f"OrderEnsemble: orders along rows and along columns cannot share a network of {h}×{w} images, which "
                "are not square: take orders of one kind, or shared=False"
            )
        _ = self.members  # what the model refuses is refused now

    @property
    def members(self) -> tuple[PixelModel, ...]:
        """The model in each order; with a shared network, conditional on the number of the order."""
        kind = conditions.Classes(len(self.orders)) if self.shared else None
        return tuple(
            dataclasses.replace(self.model, shape=self.shape, levels=self.levels, order=order, condition=kind)
            for order in self.orders
        )

    def _told(self, member: int, num: int) -> Array | None:
        """The condition of a member, for so many images."""
        return jnp.full((num,), member, jnp.int32) if self.shared else None

    def _part(self, variables: Variables, member: int) -> Variables:
        """The variables of a member."""
        return {"params": variables["params"][SHARED if self.shared else self.orders[member]]}

    @property
    def _raster(self) -> PixelModel:
        """The shared network on images that are turned to raster order already."""
        return dataclasses.replace(self.members[0], shape=_turned(self.shape, self.orders[0]), order="right-down")

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh parameters: of the shared network, or of each order's."""
        if self.shared:
            return {"params": {SHARED: self.members[0].init(key, batch)["params"]}}
        keys = jax.random.split(key, len(self.orders))
        return {"params": {m.order: m.init(k, batch)["params"] for m, k in zip(self.members, keys)}}

    def objectives(self) -> tuple[Objective, ...]:
        """One for each network, in nats per sub-pixel; logged nats are a member's, and of a shared one their mean."""
        if self.shared:
            shared = Objective("likelihood", self._shared_loss, (SHARED,), examples="separable")
            return (dataclasses.replace(shared, microbatch=self.model.piece),)
        return tuple(self._own_objective(i) for i in range(len(self.orders)))

    def _own_objective(self, member: int) -> Objective:
        (objective,) = self.members[member].objectives()

        def loss(variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
            return objective.loss(self._part(variables, member), batch, key)

        return dataclasses.replace(objective, name=self.orders[member], loss=loss, trains=(self.orders[member],))

    def _shared_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        for_orders, for_net = jax.random.split(key)
        image = jnp.asarray(batch["image"])
        label = jax.random.permutation(for_orders, len(self.orders))[places(len(image)) % len(self.orders)]
        turned = _chosen([to_raster(image, order) for order in self.orders], label)
        nats = -self._raster.pixel_log_prob(self._part(variables, 0), turned, label, for_net).sum(axis=(1, 2)).mean()
        bits = bits_per_dim(nats, self.shape)
        return nats / math.prod(self.shape), Aux({"nats": nats, "bits_per_dim": bits})

    def log_probs(self, variables: Variables, image: Images, key: PRNGKey) -> Float[Array, "orders b"]:
        """Nats of each image under each member."""
        return jnp.stack(
            [
                m.log_prob(self._part(variables, i), image, key, self._told(i, len(image)))
                for i, m in enumerate(self.members)
            ]
        )

    def log_prob(self, variables: Variables, image: Images, key: PRNGKey, condition: Any = None) -> Float[Array, " b"]:
        """Nats of each image under the mixture. Draws nothing; as much work as its members together."""
        self.check_condition(condition, len(image))
        return jax.nn.logsumexp(self.log_probs(variables, image, key), axis=0) - math.log(len(self.orders))

    def sample(
        self, variables: Variables, key: PRNGKey, num: int, condition: Any = None, temperature: float = 1.0
    ) -> UInt8[Array, "num h w c"]:
        """`num` images, each in an order of its own, drawn uniformly. `temperature` divides the log-probabilities of
        each draw of a pixel.

        With a network for each order, all of them draw `num` images, and one in K is kept; a shared one draws no more.
        """
        self.check_condition(condition, num)
        for_orders, for_pixels = jax.random.split(key)
        label = jax.random.randint(for_orders, (num,), 0, len(self.orders))
        if self.shared:
            turned = self._raster.sample(self._part(variables, 0), for_pixels, num, label, temperature)
            return _chosen([from_raster(turned, order) for order in self.orders], label)
        keys = jax.random.split(for_pixels, len(self.orders))
        drawn = [
            m.sample(self._part(variables, i), keys[i], num, None, temperature) for i, m in enumerate(self.members)
        ]
        return _chosen(drawn, label)

    def complete(
        self,
        variables: Variables,
        key: PRNGKey,
        image: Images,
        given: Mask,
        condition: Any = None,
        temperature: float = 1.0,
    ) -> UInt8[Array, "b h w c"]:
        """Images equal to `image` where `given`, drawn elsewhere by members in whose orders what is given comes first.

        Such a draw is one from the conditional distribution of the mixture of those members: where there are several,
        one is drawn for each image, with probabilities in proportion to those that they give to what is given. Where
        there is none the first member completes, approximately. `given` decides which members run at all where its
        values are known; inside a compiled program that takes it as an argument, all do. A `temperature` is that of
        the pixels that are drawn, not of the choice of a member.
        """
        self.check_condition(condition, len(image))
        image, members = jnp.asarray(image), self._candidates(given)
        given, (for_orders, for_pixels) = jnp.asarray(given), jax.random.split(key)
        keys = jax.random.split(for_pixels, len(self.orders))
        num = len(image)
        drawn = [
            self.members[i].complete(self._part(variables, i), keys[i], image, given, self._told(i, num), temperature)
            for i in members
        ]
        if len(members) == 1:
            return drawn[0]
        known = jnp.where(given[:, :, None], image, 0)
        weights = jnp.stack([self._log_prob_given(variables, i, known, given) for i in members])
        fits = jnp.stack([_comes_first(given, self.orders[i]) for i in members])
        first = jnp.where(jnp.arange(len(members)) == 0, 0.0, -jnp.inf)[:, None]
        weights = jnp.where(fits.any(), jnp.where(fits[:, None], weights, -jnp.inf), first)
        return _chosen(drawn, jax.random.categorical(for_orders, weights, axis=0))

    def _candidates(self, given: Any) -> list[int]:
        """The members that may have to complete: those in whose orders the given pixels come first, as far as known."""
        every = range(len(self.orders))
        if isinstance(given, jax.core.Tracer):
            return list(every)
        return [i for i in every if is_prefix(np.asarray(given), self.orders[i])] or [0]

    def _log_prob_given(self, variables: Variables, member: int, image: Array, given: Array) -> Array:
        """Nats [b] that a member gives to the given pixels, in whose order they come first."""
        told = self._told(member, len(image))
        log_prob = self.members[member].pixel_log_prob(self._part(variables, member), image, told)
        return jnp.where(given, log_prob, 0.0).sum(axis=(1, 2))

    def completes_exactly(self, given: Bool[np.ndarray, "h w"]) -> bool:
        """Whether the given pixels come first in some member's order: a draw is exact under those members then,
        and so under the mixture where they are all."""
        return any(is_prefix(given, order) for order in self.orders)


def _turned(shape: tuple[int, int, int], order: str) -> tuple[int, int, int]:
    """The shape of an image turned so that raster order reads it in `order`."""
    h, w = to_raster(np.empty((1, *shape[:2])), order).shape[1:]
    return h, w, shape[2]


def _chosen(images: list[Array], label: Array) -> Array:
    """For each image of a batch, that of the list which its label names."""
    return jnp.stack(images)[label, jnp.arange(len(label))]


def _comes_first(given: Array, order: str) -> Array:
    """`orders.is_prefix` for values that are known only when the program runs."""
    rank = order_rank(given.shape, order)
    return jnp.where(given, rank, -1).max() < given.sum()
