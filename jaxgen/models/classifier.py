"""A small convolutional classifier of a data set's own images, whose last hidden layer gives features in which sets of
images are compared (`explore.quality`).

No paper's net: blocks of 3×3 convolutions with ReLU (LeCun et al. 1998, §II, in the form of 1409.1556) and 2×2 pooling
by the maximum, a dense hidden layer with ReLU, a dense map to the classes; dropout (1207.0580) in front of both dense
layers. He's initial weights (1502.01852), zero biases. It draws nothing outside of training.

    loss = −log p(y|x),  p(y|x) = softmax(W h + b),  features = h ≥ 0
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.capabilities import Classifier, Features
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.images import to_float
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.nn.dropout import Dropout
from jaxgen.nn.strided import Conv


class ConvClassifierNet(nn.Module):
    """The hidden layer and the logits of images 0 … 1, both float32."""

    features: tuple[int, ...]
    layers: int
    hidden: int
    classes: int
    dropout: float
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], train: bool = False
    ) -> tuple[Float[Array, "b hidden"], Float[Array, "b classes"]]:
        he = nn.initializers.he_normal()
        drop = partial(Dropout, self.dropout, deterministic=not train)
        for i, n in enumerate(self.features):
            for j in range(self.layers):
                x = Conv(n, (3, 3), dtype=self.dtype, kernel_init=he, name=f"conv_{i}_{j}")(x)
                # A maximum commutes with the ReLU, which then has a quarter of the values to go over.
                x = nn.relu(_pooled(x) if j == self.layers - 1 else x)
        x = drop()(x.reshape(len(x), -1))
        x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=he, name="hidden")(x)).astype(jnp.float32)
        return x, nn.Dense(self.classes, name="logits")(drop()(x))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvClassifier(Classifier, Features):
    """A classifier of images. `conv` are the features of each block of `layers` convolutions, `hidden` is the width of
    the hidden layer, the number of its features."""

    classes: int = 10
    conv: tuple[int, ...] = (16, 32, 64)
    layers: int = 1
    hidden: int = 128
    dropout: float = 0.25
    dtype: str = "float32"

    conditioned_on: ClassVar = ()
    by_example: ClassVar = True
    lacks: ClassVar = {
        "Density": "a classifier says p(y|x), nothing of p(x)",
        "Autoregressive": "a classifier says p(y|x), nothing of p(x)",
        "Sampler": "a classifier draws no images",
        "Completer": "a classifier draws no images",
        "Encoder": "its vectors are features to measure distances in, which no decoder was trained with",
        "Reconstructor": "it keeps of an image what tells its class, and has no way back",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, classes=2, conv=1, layers=1, hidden=1)
        if not 0 <= self.dropout < 1:
            raise UsageError(f"ConvClassifier: dropout must be at least 0 and below 1, got {self.dropout}")
        if min(self.shape[:2]) < 2 ** len(self.conv):
            raise UsageError(
                f"ConvClassifier: {len(self.conv)} blocks halve sides that often, so that images must be at least "
                f"{2 ** len(self.conv)} pixels high and wide, got {self.shape[0]}×{self.shape[1]}: give fewer blocks"
            )

    @property
    def net(self) -> ConvClassifierNet:
        return ConvClassifierNet(self.conv, self.layers, self.hidden, self.classes, self.dropout, self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        return {"params": {"net": self.net.init(key, jnp.zeros((1, *self.shape)))["params"]}}

    def objectives(self) -> tuple[Objective, ...]:
        """One: −log p(y|x), averaged over the batch."""
        return (Objective("cross_entropy", self._loss, trains=("net",), examples="separable"),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        log_probs = jax.nn.log_softmax(self._outputs(variables, batch["image"], key)[1])
        label = jnp.asarray(batch["label"], jnp.int32)
        nats = -jnp.take_along_axis(log_probs, label[:, None], axis=1).mean()
        return nats, Aux({"nats": nats, "error": 100.0 * (log_probs.argmax(axis=1) != label).mean()})

    def _outputs(self, variables: Variables, image: Images, key: PRNGKey | None = None) -> tuple[Array, Array]:
        """Features and logits; with dropout where there is a key."""
        rngs = {} if key is None else {"dropout": key}
        params = {"params": variables["params"]["net"]}
        return cast(Any, self.net.apply(params, to_float(image, self.levels), key is not None, rngs=rngs))

    def class_log_probs(self, variables: Variables, image: Images, key: PRNGKey) -> Float[Array, "b classes"]:
        """log p(y|x) of each class. Draws nothing."""
        return jax.nn.log_softmax(self._outputs(variables, image)[1])

    def features(self, variables: Variables, image: Images) -> Float[Array, "b hidden"]:
        """The hidden layer, behind its ReLU."""
        return self._outputs(variables, image)[0]


def _pooled(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """The maximum of each 2×2 pixels; the last row or column of an odd side is left out. By a reshape: a window's
    gradient is slow on a CPU."""
    b, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
