"""A classifier of several attributes of an image at once, such as the shape, the colour and the place of what it shows.

No paper's net: that of `models.classifier`, whose logits are cut into a softmax for each attribute. An image's label is
"attribute", int32[b,a], the number of each attribute's value, and −1 where there is none, of which nothing is learned.

    loss = −Σ_a log p(y_a|x), over the attributes that there are
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.core.capabilities import Attributes, Features, Scored
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.models.classifier import ConvClassifier, ConvClassifierNet


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttributeReader(Scored, Attributes, Features):
    """Reads attributes off images. `attributes` are their names and how many values each has; those whose names begin
    alike, as "shape_1" and "shape_2", have an error together, too. Of the net, `conv`, `layers`, `hidden` and `dropout`
    are those of `ConvClassifier`.

    >>> model = AttributeReader(shape=(16, 16, 3), levels=256, attributes=(("shape_1", 4), ("shape_2", 4), ("size", 2)))
    >>> model.kinds
    {'shape': [0, 1], 'size': [2]}
    """

    attributes: tuple[tuple[str, int], ...]
    conv: tuple[int, ...] = (32, 64, 128)
    layers: int = 1
    hidden: int = 128
    dropout: float = 0.25
    dtype: str = "float32"

    figure: ClassVar[str] = "error"
    conditioned_on: ClassVar = ()
    by_example: ClassVar = True
    lacks: ClassVar = {
        **ConvClassifier.lacks,
        "Classifier": "it tells several attributes of an image, and not one class",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attributes or min(values for _, values in self.attributes) < 2:
            raise UsageError(
                f"AttributeReader: wanted attributes of at least two values each, as (('colour', 6),), got "
                f"{self.attributes}."
            )
        at_least(self, hidden=1)
        knobs = {name: getattr(self, name) for name in ("shape", "levels", "conv", "layers", "hidden", "dropout")}
        ConvClassifier(**knobs)  # for what else makes no net

    @property
    def kinds(self) -> dict[str, list[int]]:
        """The numbers of the attributes by the beginning of their names."""
        kinds: dict[str, list[int]] = {}
        for number, (name, _) in enumerate(self.attributes):
            kinds.setdefault(name.partition("_")[0], []).append(number)
        return kinds

    @property
    def net(self) -> ConvClassifierNet:
        """From images to the hidden layer, and the logits of all attributes side by side."""
        total = sum(values for _, values in self.attributes)
        return ConvClassifierNet(self.conv, self.layers, self.hidden, total, self.dropout, self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        return {"params": {"net": self.net.init(key, jnp.zeros((1, *self.shape)))["params"]}}

    def objectives(self) -> tuple[Objective, ...]:
        """One: the nats of all attributes of an image, averaged over the batch."""
        return (Objective("cross_entropy", self._loss, trains=("net",), examples="separable"),)

    def read(self, variables: Variables, image: Images) -> Int[Array, "b a"]:
        """The likeliest value of each attribute, whether the image has it or not: the second shape, say, of one."""
        parts = self._log_probs(self._outputs(variables, image)[1])
        return jnp.stack([log_probs.argmax(axis=1) for log_probs in parts], axis=1).astype(jnp.int32)

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "error", percent of an image's attributes that are read wrongly, and the same of those of a kind as
        "error_shape"; "nats", −log p of all of them."""
        attribute = jnp.asarray(batch["attribute"])
        log_probs = self._log_probs(self._outputs(variables, batch["image"])[1])
        return {**self._errors(log_probs, attribute), "nats": self._nats(log_probs, attribute)}

    def features(self, variables: Variables, image: Images) -> Float[Array, "b hidden"]:
        """The hidden layer, behind its ReLU."""
        return self._outputs(variables, image)[0]

    def check_data(self, batch: Batch) -> None:
        """Raises `UsageError` unless there is a number of each attribute's values, or −1, for each image."""
        super().check_data(batch)
        if "attribute" not in batch or batch["attribute"].shape[1:] != (len(self.attributes),):
            arrays = ", ".join(f"'{n}' {[*a.shape]}" for n, a in batch.items())
            raise UsageError(
                f"AttributeReader wants {len(self.attributes)} numbers of each image in an array 'attribute', got "
                f"{arrays}: give such data, as scenes."
            )
        if isinstance(batch["attribute"], np.ndarray):
            for number, (name, values) in enumerate(self.attributes):
                column = batch["attribute"][:, number]
                if column.min() < -1 or column.max() >= values:
                    raise UsageError(
                        f"AttributeReader knows {values} values of '{name}', 0 to {values - 1} and -1 for none, got "
                        f"{column.min()} to {column.max()}."
                    )

    def check_scored(self, batch: Batch) -> None:
        """The same."""
        self.check_data(batch)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        attribute = jnp.asarray(batch["attribute"])
        log_probs = self._log_probs(self._outputs(variables, batch["image"], key)[1])
        nats = self._nats(log_probs, attribute).mean()
        return nats, Aux({"nats": nats, "error": self._errors(log_probs, attribute)["error"].mean()})

    def _outputs(self, variables: Variables, image: Images, key: PRNGKey | None = None) -> tuple[Array, Array]:
        rngs = {} if key is None else {"dropout": key}
        params = {"params": variables["params"]["net"]}
        return cast(Any, self.net.apply(params, to_float(image, self.levels), key is not None, rngs=rngs))

    def _log_probs(self, logits: Float[Array, "b n"]) -> list[Float[Array, "b _"]]:
        ends = np.cumsum([values for _, values in self.attributes])[:-1]
        return [jax.nn.log_softmax(part) for part in jnp.split(logits, ends, axis=1)]

    def _nats(self, log_probs: list[Array], attribute: Int[Array, "b a"]) -> Float[Array, " b"]:
        values = zip(log_probs, attribute.T, strict=True)
        parts = [jnp.take_along_axis(x, jnp.maximum(y, 0)[:, None], axis=1)[:, 0] * (y >= 0) for x, y in values]
        return -jnp.stack(parts).sum(axis=0)

    def _errors(self, log_probs: list[Array], attribute: Int[Array, "b a"]) -> dict[str, Float[Array, " b"]]:
        there = attribute >= 0
        wrong = there & (jnp.stack([x.argmax(axis=1) for x in log_probs], axis=1) != attribute)

        def percent(columns: Any) -> Float[Array, " b"]:
            return 100.0 * wrong[:, columns].sum(axis=1) / jnp.maximum(there[:, columns].sum(axis=1), 1)

        kinds = {f"error_{kind}": percent(np.array(columns)) for kind, columns in self.kinds.items()}
        return {"error": percent(slice(None)), **kinds}
