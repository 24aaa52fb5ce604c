"""A conditional GAN (1411.1784) whose critic is matching-aware (1605.05396, §4.2).

A critic that sees real images with their own labels alone may pass over labels altogether, as long as it tells real
from fake. Here it sees a third kind of pair, to be turned down like a fake: a real image with a label that is not its
own, drawn uniformly among the others.

    critic      sp(−l_r) + sp(l_w) + sp(l_f)    (real, right) → 1, (real, wrong) → 0, (fake, its label) → 0
    generator   sp(−l_f), or −sp(l_f)           `loss`: "non-saturating" or "minimax"

Deviations: labels in place of texts; the three terms have one weight, where 1605.05396 halves those of the last two.
The nets are those of `models.gan.nets`, and all else is `models.gan.base`'s.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.checks import one_of
from jaxgen.core.conditions import Classes
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Aux, Batch, PRNGKey, Variables
from jaxgen.maths.labels import matching_critic, wrong_labels
from jaxgen.models.gan.base import GAN

COLUMNS = 10
"""Codes that the picture of all classes shows each class of."""

MOST_ROWS = 20
"""Classes that it shows at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConditionalGAN(GAN):
    """Draws images of the class that it is told; `condition=Classes(count)` says how many there are.

    In the progress line stand the critic's mean probabilities of the three kinds of pairs: `p_real`, `p_wrong` and
    `p_fake`. At each evaluation a picture, "classes", shows a row for each class and a code in each column.

    >>> model = ConditionalGAN(shape=(28, 28, 1), levels=256, condition=Classes(10))
    >>> model.condition.count
    10
    """

    conditioned_on: ClassVar = (Classes,)
    lacks: ClassVar = {
        **GAN.lacks,
        "Classifier": "its critic tells real images with their labels from all others, and no probabilities of classes",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        one_of(self, loss=("non-saturating", "minimax"), penalty=("none",))
        if self.condition is None:
            raise UsageError(f"{name} is told a class: give condition=Classes(10), say, or use GAN without labels.")
        if self._classes.count < 2:
            raise UsageError(
                f"{name}: wanted at least 2 classes, as a wrong label is one of the others, got {self._classes.count}."
            )
        if self._classes.dropout:
            raise UsageError(
                f"{name}: an image whose label is dropped has no wrong one, got dropout={self._classes.dropout}: leave "
                "it 0, or use GAN."
            )

    @property
    def _classes(self) -> Classes:
        condition: Any = self.condition
        return condition  # type: ignore[no-any-return]

    def _critic_terms(
        self, variables: Variables, real: Array, fake: Array, condition: Array | None, batch: Batch, key: PRNGKey
    ) -> tuple[Float[Array, " n"], Aux]:
        label = jnp.asarray(self.trained_on(batch), jnp.int32)
        wrong = self.vector(variables, wrong_labels(key, label, self._classes.count), len(label))
        right_scores, _, updates = self.scored(variables, real, condition)
        wrong_scores, fake_scores = (self.scored(variables, *pair)[0] for pair in ((real, wrong), (fake, condition)))
        return matched(right_scores, wrong_scores, fake_scores, updates)

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """One picture, "classes": a row for each class, up to 20, and in each column the images of one code."""
        rows, (h, w, c) = min(self._classes.count, MOST_ROWS), self.shape
        z = jnp.tile(self.prior(key, COLUMNS), (rows, 1))
        image = self.decode(variables, z, jnp.repeat(jnp.arange(rows), COLUMNS))
        page = image.reshape(rows, COLUMNS, h, w, c).transpose(0, 2, 1, 3, 4)
        return {"classes": page.reshape(1, rows * h, COLUMNS * w, c)}


def matched(right: Array, wrong: Array, fake: Array, updates: Variables, weight: float = 1.0) -> tuple[Array, Aux]:
    """What a matching-aware critic minimises on each image, of its scores [b,1] of the three kinds of pairs, with their
    mean probabilities for the progress line and its updated statistics."""
    scores = [score[:, 0] for score in (right, wrong, fake)]
    shown = {name: jax.nn.sigmoid(score).mean() for name, score in zip(("p_real", "p_wrong", "p_fake"), scores)}
    return matching_critic(scores[0], scores[1], scores[2], weight), Aux({}, updates, shown)
