"""Editing by strokes on what a generator can draw (iGAN, 1609.03552): a picture is brought to its nearest place among
the generator's images, and from there to the nearest one that has what somebody drew.

    projection   z₀ = argmin_z mean (G(z) − x)²                                                   (§3.1, eq. 3)
    edit         z  = argmin_z Σ_strokes data(G(z)) + 5 · mean (z₀ − z)²                          (§4.1, eq. 5)

Images count as −1 … 1 and codes in standard deviations of the prior, beyond whose draws they do not go. Of a stroke
with alpha α the data term is, by its brush,

    colour   Σ α (G(z) − colour)² / Σ α
    sketch   the same of the outlines (`maths.edges`), over cells that the stroke goes through: how bright it is, and
             on which side, is of no account
    warp     both, of pieces of the picture that were dragged to where they lie in the layer

Both searches begin at several codes and are one compiled program: all starts take a step of Adam at once, and after
each of a few rounds the best quarter goes on. Projection begins at the code of the model's own encoder, where it has
one, and at draws of the prior; an edit at z₀ and at codes on the way from there to such draws, and without a picture at
the draws alone, each of which is a z₀ of its own that holds a tenth as firmly. Deviations: no features in the
projection, no term of the critic, and Adam for both, where the paper has L-BFGS-B for one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from jaxgen.core.capabilities import Encoder, Latent, require
from jaxgen.core.errors import UsageError
from jaxgen.core.images import from_float, to_float
from jaxgen.explore.latent import same_numbers
from jaxgen.explore.trained import Trained
from jaxgen.maths.edges import cell_of, outlines, pooled
from jaxgen.maths.rewriting import unrounded

BRUSHES = ("colour", "sketch", "warp")

CLOSENESS, LOOSENESS = 5.0, 0.5
"""How many times the squared distance from z₀ counts: of a picture that is edited, and of a draw."""

STARTS, ROUNDS, KEPT, RATE = 32, (15, 25, 40), 4, 0.1
"""Codes that a search begins at, steps of its rounds, of how many codes one goes on after each, and Adam's rate."""

DRAWS = 4096
"""Of the prior, from which the size of its numbers is found."""


@dataclasses.dataclass(frozen=True)
class Stroke:
    """What somebody drew: colours, `alpha` 0 to 1 where, and the brush."""

    colour: UInt8[np.ndarray, "h w c"]
    alpha: Float[np.ndarray, "h w"]
    brush: str = "colour"


@dataclasses.dataclass(frozen=True)
class Edited:
    """The code that an edit began at and the one that it came to, and the data term of both."""

    before: Float[np.ndarray, "*d"]
    after: Float[np.ndarray, "*d"]
    loss_before: float
    loss_after: float


class Editor:
    """Projects pictures and edits by strokes on one model; compiled once for each combination of brushes.

    Raises `UsageError` for a model that draws from no code of a known prior, and for fewer starts than one.
    """

    def __init__(self, trained: Trained, condition: Any = None, starts: int = STARTS, seed: int = 0):
        self.model: Any = require(trained.model, Latent, "be edited by strokes")
        if starts < 1:
            raise UsageError(f"wanted at least 1 start, got {starts}.")
        self.trained, self.condition, self.starts = trained, condition, starts
        draws = np.asarray(self.model.prior(jax.random.key(seed), max(DRAWS, starts)))
        self.draws, self.spread = draws[:starts], float(draws.std())
        self.bounds = float(draws.min()), float(draws.max())

    def project(self, image: UInt8[Any, "h w c"]) -> Float[np.ndarray, "*d"]:
        """The code whose image is nearest to one, by mean squared difference."""
        starts = self.draws
        model = self.model
        if isinstance(model, Encoder) and same_numbers(model):
            condition = None if self.condition is None else np.asarray(self.condition)[:1]
            guess = self.trained.encode(image[None], condition).reshape(1, *starts.shape[1:])
            starts = np.concatenate([guess, starts[: self.starts - 1]])
        target = jnp.asarray(to_float(image, model.levels))
        code, _ = self._search("projection")(self.trained.variables, starts, starts, (target,), 0.0)
        return np.asarray(code)

    def edit(self, strokes: Sequence[Stroke], start: Float[np.ndarray, "*d"] | None = None) -> Edited:
        """The edit of a code by strokes; without a code to begin at, of that draw of the prior that they lead nearest
        to what they ask. Raises `UsageError` for no strokes, and for ones of another size."""
        if not strokes:
            raise UsageError("wanted a stroke or more, got none.")
        for stroke in strokes:
            check_stroke(stroke, self.model.shape)
        starts, origin, closeness = self.draws, self.draws, LOOSENESS
        if start is not None:
            closeness, t = CLOSENESS, np.linspace(0.0, 0.5, self.starts).reshape(-1, *[1] * start.ndim)
            starts, origin = start + t * (self.draws - start), np.broadcast_to(start, starts.shape)
        layers = [(jnp.asarray(to_float(s.colour, 256)), jnp.asarray(s.alpha, jnp.float32)) for s in strokes]
        search = self._search(*(stroke.brush for stroke in strokes))
        code, (origin_of, before, after) = search(self.trained.variables, starts, origin, layers, closeness)
        return Edited(np.asarray(origin_of), np.asarray(code), float(before), float(after))

    def pictures(self, codes: Float[np.ndarray, "n ..."]) -> UInt8[np.ndarray, "n h w c"]:
        """The images of codes as they are drawn before they are rounded to levels, as 0 … 255."""
        return np.asarray(from_float(jax.jit(self._drawn)(self.trained.variables, jnp.asarray(codes)), 256))

    @functools.cache  # noqa: B019
    def _search(self, *kinds: str) -> Callable[..., Any]:
        """The compiled search for a code under a picture or strokes."""

        def data(variables: Any, z: Array, wanted: Any) -> Float[Array, " n"]:
            x = self._drawn(variables, z)
            if kinds == ("projection",):
                return 4.0 * ((x - wanted[0]) ** 2).mean(axis=(1, 2, 3))
            terms = [data_term(x, colour, alpha, kind) for kind, (colour, alpha) in zip(kinds, wanted)]
            return sum(terms[1:], terms[0])

        @jax.jit
        def search(variables: Any, z: Array, origin: Array, wanted: Any, closeness: Any) -> Any:
            def cost(z: Array, origin: Array) -> Float[Array, " n"]:
                apart = ((z - origin) / self.spread) ** 2
                return data(variables, z, wanted) + closeness * apart.reshape(len(z), -1).mean(axis=1)

            z, origin = jnp.asarray(z, jnp.float32), jnp.asarray(origin, jnp.float32)
            for number, steps in enumerate(ROUNDS):
                if number:
                    best = jnp.argsort(cost(z, origin))[: max(1, -(-len(z) // KEPT))]
                    z, origin = z[best], origin[best]
                z = self._descended(lambda z: cost(z, origin).sum(), z, steps)  # noqa: B023
            costs = cost(z, origin)
            best = costs.argmin()
            ends = jnp.stack([origin[best], z[best]])
            before, after = data(variables, ends, wanted)
            return z[best], (origin[best], before, after)

        return search

    def _descended(self, total: Callable[[Array], Array], z: Array, steps: int) -> Array:
        """Codes after so many steps, which fall to nothing along a cosine."""
        adam = optax.adam(optax.cosine_decay_schedule(RATE * self.spread, steps))

        def step(carry: Any, _: None) -> tuple[Any, None]:
            z, state = carry
            updates, state = adam.update(jax.grad(total)(z), state)
            return (jnp.clip(z + updates, *self.bounds), state), None

        (z, _), _ = jax.lax.scan(step, (z, adam.init(z)), length=steps)
        return z

    def _drawn(self, variables: Any, z: Array) -> Float[Array, "n h w c"]:
        """The images of codes, 0 to 1 and not rounded."""
        condition = None if self.condition is None else jnp.repeat(jnp.asarray(self.condition)[:1], len(z), 0)
        decode = unrounded(lambda z: self.model.decode(variables, z, condition))
        return decode(z) / (self.model.levels - 1)


def data_term(
    x: Float[Array, "n h w c"], colour: Float[Array, "h w c"], alpha: Float[Array, "h w"], brush: str
) -> Float[Array, " n"]:
    """How far images are from what a stroke asks, by its brush: the mean squared difference where it lies, of images
    as −1 … 1, of outlines, or both."""
    terms = []
    if brush != "sketch":
        terms.append((4.0 * ((x - colour) ** 2).mean(axis=-1) * alpha).sum(axis=(1, 2)) / alpha.sum())
    if brush != "colour":
        cell = cell_of(x.shape[1:])
        # A line says where an outline is, whatever its colour; of a piece of a picture the outlines inside count.
        shown = alpha[..., None] if brush == "sketch" else alpha[..., None] * colour + (1 - alpha[..., None]) * x
        wanted = outlines(jax.lax.stop_gradient(shown[None] if shown.ndim == 3 else shown), cell)
        share = pooled(alpha[None, ..., None], cell)[..., 0]
        difference = ((outlines(x, cell) - wanted) ** 2).sum(axis=-1)
        terms.append((difference * share).sum(axis=(1, 2)) / jnp.maximum(share.sum(), 1e-6))
    return sum(terms[1:], terms[0])


def check_stroke(stroke: Stroke, shape: Sequence[int]) -> None:
    """Raises `UsageError` unless a stroke is of images of this shape, has a brush that is known and lies somewhere."""
    if stroke.brush not in BRUSHES:
        raise UsageError(f"there is no brush {stroke.brush!r}: brushes are {', '.join(BRUSHES)}.")
    if stroke.colour.shape != tuple(shape) or stroke.alpha.shape != tuple(shape[:2]):
        raise UsageError(f"wanted strokes over images {list(shape)}, got {list(stroke.colour.shape)}.")
    if not (stroke.alpha > 0).any():
        raise UsageError("wanted a stroke with alpha somewhere, got one that is transparent all over.")
