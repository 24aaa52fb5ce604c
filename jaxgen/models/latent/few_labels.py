"""A classifier for few labels: a small head on the codes of an encoder that was trained without any.

    p(y|x) = softmax(h(f(x))),  loss −log p(y|x)

f is the encoder of any model that encodes images, h a perceptron with tanh, linear by default. The encoder's variables
come from another run (a graft) or begin fresh: the same net from scratch. Frozen, they stay as they are and the head
alone is trained, a linear probe; otherwise all of it is, as in 1406.5298's M1 or the fine-tuning of 2006.10029. What
the encoding does not read, a decoder say, is left out.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.core.capabilities import Classifier, Encoder, require
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Aux, Batch, ImageModel, Images, Objective, PRNGKey, Variables, batch_like
from jaxgen.maths.distributions import categorical_log_prob
from jaxgen.nn.perceptron import Perceptron


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewLabels(Classifier):
    """Classes from the codes of `encoder`, a model that encodes images of this shape and these levels, by a head with
    the layers `hidden`. `frozen` trains the head alone.

    Parameters are "head" and, unless `frozen`, "encoder"; the collection "frozen" holds what of the encoder stays as it
    is. `grafts` says where its parts go.

    >>> from jaxgen.models.latent.autoencoder import AutoEncoder
    >>> encoder = AutoEncoder(shape=(28, 28, 1), levels=256)
    >>> model = FewLabels(shape=(28, 28, 1), levels=256, encoder=encoder, frozen=True)
    >>> model.grafts()
    (('params/encoder', 'frozen/params/encoder'),)
    """

    encoder: ImageModel
    classes: int = 10
    hidden: tuple[int, ...] = ()
    frozen: bool = False

    by_example: ClassVar = True
    conditioned_on: ClassVar = ()
    lacks: ClassVar = {
        "Density": "it says how likely a label is given an image, not how likely the image is",
        "Autoregressive": "it says how likely a label is given an image, not how likely the image is",
        "Sampler": "it keeps of another model what encodes images: draw from that one",
        "Latent": "it keeps of another model what encodes images: draw from that one",
        "Decoder": "it keeps of another model what encodes images: decode by that one",
        "Completer": "it keeps of another model what encodes images: complete by that one",
        "Encoder": "its codes are another model's: encode by that one",
        "Reconstructor": "it keeps of another model what encodes images: reconstruct by that one",
        "Features": "it has seen few labels: features to measure by come from a classifier that has seen all",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, classes=2, hidden=1)
        require(self.encoder, Encoder, "be the encoder of FewLabels")
        name = type(self.encoder).__name__
        if self.encoder.condition is not None:
            raise UsageError(
                f"FewLabels: its {name} is conditional, and must encode images alone: train one that is not."
            )
        if (tuple(self.encoder.shape), self.encoder.levels) != (tuple(self.shape), self.levels):
            raise UsageError(
                f"FewLabels: its {name} encodes images {tuple(self.encoder.shape)} of {self.encoder.levels} levels, "
                f"and these are {tuple(self.shape)} of {self.levels}: give both the same shape and levels."
            )

    @property
    def head(self) -> Perceptron:
        return Perceptron(self.hidden, (("logits", self.classes),))

    def _read(self) -> tuple[Variables, tuple[str, ...], int]:
        """Shapes of the encoder's variables, the names of those of its parameters that encoding reads, and the size of
        a code. Traced, not computed."""
        model: Any = self.encoder
        batch = batch_like(self, 1)
        variables = jax.eval_shape(lambda batch: model.init(jax.random.key(0), batch), batch)
        program = jax.make_jaxpr(model.encode)(variables, batch["image"])
        read = {id(variable) for equation in program.eqns for variable in equation.invars}
        leaves = jax.tree_util.tree_leaves_with_path(variables)
        inputs = zip(leaves, program.jaxpr.invars[: len(leaves)], strict=True)
        names = {path[1].key for (path, _), variable in inputs if path[0].key == "params" and id(variable) in read}
        return variables, tuple(sorted(names)), program.out_avals[0].shape[1]

    def grafts(self) -> tuple[tuple[str, str], ...]:
        """What of a run of the encoder goes where here, as paths: what a `Graft` takes, and where it is put."""
        variables, names, _ = self._read()
        place = "frozen/params" if self.frozen else "params/encoder"
        others = (name for name in variables if name != "params")
        return (*((f"params/{n}", f"{place}/{n}") for n in names), *((n, f"frozen/{n}") for n in others))

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables, of the encoder too."""
        encoder_key, head_key = jax.random.split(key)
        _, names, size = self._read()
        fresh = self.encoder.init(encoder_key, batch)
        params = {name: fresh["params"][name] for name in names}
        others = {name: tree for name, tree in fresh.items() if name != "params"}
        head = self.head.init(head_key, jnp.zeros((1, size)))["params"]
        if self.frozen:
            return {"params": {"head": head}, "frozen": {"params": params, **others}}
        return {"params": {"head": head, "encoder": params}} | ({"frozen": others} if others else {})

    def objectives(self) -> tuple[Objective, ...]:
        """One: −log p(y|x), averaged over the batch."""
        trains = ("head",) if self.frozen else ("head", "encoder")
        return (Objective("cross_entropy", self._loss, trains=trains, examples="separable"),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        label = jnp.asarray(batch["label"], jnp.int32)
        log_probs = self.class_log_probs(variables, batch["image"], key)
        nats = -categorical_log_prob(log_probs, label).mean()
        return nats, Aux({"nats": nats, "error": 100.0 * (log_probs.argmax(axis=1) != label).mean()})

    def codes(self, variables: Variables, image: Images) -> Float[Array, "b d"]:
        """The code of each image."""
        model: Any = self.encoder
        kept = variables.get("frozen", {})
        code: Array = model.encode(kept if self.frozen else {**kept, "params": variables["params"]["encoder"]}, image)
        return code

    def class_log_probs(self, variables: Variables, image: Images, key: PRNGKey) -> Float[Array, "b classes"]:
        """log p(y|x) of each class. Draws nothing."""
        outputs: Any = self.head.apply({"params": variables["params"]["head"]}, self.codes(variables, image))
        return jax.nn.log_softmax(outputs[0])
