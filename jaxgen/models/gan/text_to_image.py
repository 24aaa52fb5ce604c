"""Images from sentences: GAN-CLS and GAN-INT (1605.05396).

A recurrent net makes a vector φ(t) of a sentence. Both players make of it 128 numbers by a linear map and LeakyReLU;
the generator has them behind z, the critic on every place of its last map, of 4×4, where a 1×1 convolution joins them
to what it sees there.

    critic (CLS, §4.2)     sp(−l_r) + ½ sp(l_w) + ½ sp(l_f)    (real, its t) → 1, (real, another t) → 0, (fake, t) → 0
    generator (INT, §4.3)  sp(−l_f), of b images under φ(t_i) and b/2 under ½ (φ(t_i) + φ(t_j))
    style (§4.4)           ‖z − S(G(z, φ(t)))‖², a third net that tells z from an image: style, whatever was said

The other sentence is that of another image of the batch, all those as many places further on; that image may by chance
be told the same.

Deviations: the sentence encoder is a GRU over words in place of a convolutional recurrent net over letters. It learns
along with the critic, which has to tell right sentences from wrong ones, and not from the generator; or it is that of
another run and stays as it is (`frozen`). The style net learns along, too, in place of afterwards.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.core.capabilities import Encoder, TextConditional
from jaxgen.core.checks import at_least, one_of
from jaxgen.core.conditions import Text
from jaxgen.core.errors import UsageError
from jaxgen.core.keys import of_examples
from jaxgen.core.model import Aux, Batch, Images, Objective, PRNGKey, Variables
from jaxgen.maths.adversarial import adversarial
from jaxgen.models.gan.base import GAN
from jaxgen.models.gan.conditional import matched
from jaxgen.models.gan.nets import INITIAL, Critic, DCGANCritic, DCGANGenerator, Generator, Layers, pyramid, strided
from jaxgen.nn.gru import SentenceEncoder

TOLD = 128
"""Numbers that either player makes of a sentence's vector."""

ROWS, COLUMNS = 8, 6
"""Sentences that a page shows, and codes that it shows each with."""

WRONG = 0.5
"""Weight of a wrong sentence and of a fake image beside that of a real pair."""


class TextGenerator(Generator):
    """A DCGAN's, with what it makes of a sentence's vector behind z."""

    @nn.compact
    def __call__(self, z: Array, condition: Array | None = None, train: bool = True) -> Float[Array, "b h w c"]:
        told = nn.leaky_relu(Layers(self, train, INITIAL).map(condition, TOLD), 0.2)  # type: ignore[arg-type]
        return DCGANGenerator(self.shape, self.features, self.norm, self.dtype, name="image")(z, told, train)


class TextCritic(Critic):
    """A DCGAN's, that meets what it makes of a sentence's vector at each place of its last map. Of m times as many
    sentences as images, it scores all images under the first of them, then all under the next."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], condition: Array | None = None, train: bool = True
    ) -> tuple[Float[Array, "n outputs"], Float[Array, "n d"]]:
        layers, halvings = Layers(self, train, INITIAL), len(pyramid(self.shape)) - 1
        x = strided(layers, x, self.features, halvings)
        told = nn.leaky_relu(layers.map(condition, TOLD), 0.2)  # type: ignore[arg-type]
        x = jnp.tile(x, (len(told) // len(x), 1, 1, 1))
        told = jnp.broadcast_to(told[:, None, None], (*x.shape[:3], TOLD))
        x = layers.map(jnp.concatenate([x, told], axis=-1), x.shape[-1], (1, 1), bias=layers.biased)
        features = nn.leaky_relu(layers.normed(x), 0.2).reshape(len(x), -1)
        return layers.map(features, self.outputs, bias=self.bias).astype(jnp.float32), features.astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextToImage(GAN, TextConditional, Encoder):
    """Draws images of the sentence that it is told; `condition=Text(words=…, length=…, size=…)` says how many words it
    knows, how many a sentence has at most, and how long its vector is.

    embedding       numbers of a word's vector
    two_way         whether the sentence encoder reads backwards, too
    interpolated    whether the generator is also held to what lies between two sentences (INT)
    frozen          whether the sentence encoder is another run's, put into "frozen/text" (`jaxgen.Graft`)

    In the progress line stand the critic's mean probabilities of the three kinds of pairs: `p_real`, `p_wrong` and
    `p_fake`. At each evaluation a page shows images beside their sentences.

    >>> model = TextToImage(shape=(32, 32, 3), levels=256, condition=Text(words=50, length=24, size=128))
    >>> [objective.name for objective in model.objectives()]
    ['critic', 'generator', 'style']
    """

    embedding: int = 64
    two_way: bool = False
    interpolated: bool = True
    frozen: bool = False

    conditioned_on: ClassVar = (Text,)
    lacks: ClassVar = {
        **{name: reason for name, reason in GAN.lacks.items() if name != "Encoder"},
        "Reconstructor": "its code is an image's style, and what the image shows is told by a sentence: "
        "`jaxgen sample RUN --text … --style IMAGES` draws both together",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        at_least(self, embedding=1)
        one_of(self, net=("dcgan",), loss=("non-saturating", "minimax"), penalty=("none",))
        if self.condition is None:
            raise UsageError(f"{name} is told a sentence: give condition=Text(words=2000, length=24, size=128), say.")
        for field in ("pack", "minibatch"):
            if getattr(self, field) != getattr(GAN, field):
                raise UsageError(
                    f"{name}: its critic sees one image and one sentence at a time, got {field}="
                    f"{getattr(self, field)}: leave {field} out, or use GAN."
                )

    @property
    def _text(self) -> Text:
        condition: Any = self.condition
        return condition  # type: ignore[no-any-return]

    @property
    def text(self) -> SentenceEncoder:
        """From words to a sentence's vector."""
        return SentenceEncoder(self._text.words, self.embedding, self._text.size, self.two_way, self.dtype)

    @property
    def generator(self) -> Generator:
        """From z and a sentence's vector to an image."""
        return TextGenerator(self.shape, self.features, self.norm, self.dtype)

    @property
    def critic(self) -> Critic:
        """From an image and a sentence's vector to a score."""
        knobs = dict(norm=self.critic_norm, spectral=self.spectral, dtype=self.dtype)
        return TextCritic(self.shape, self.features, **knobs)  # type: ignore[arg-type]

    @property
    def style(self) -> Critic:
        """From an image to z."""
        return DCGANCritic(self.shape, self.features, outputs=self.latent, dtype=self.dtype)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables; draws nothing from the data."""
        key, text_key, style_key = jax.random.split(key, 3)
        variables = super().init(key, batch)
        text = self.text.init(text_key, jnp.ones((1, self._text.length), jnp.int32))["params"]
        variables["params"]["style"] = self.style.init(style_key, jnp.zeros((1, *self.shape)), train=False)["params"]
        variables.setdefault("frozen" if self.frozen else "params", {})["text"] = text
        return variables

    def objectives(self) -> tuple[Objective, ...]:
        """The critic's, which moves the sentence encoder unless that is frozen; the generator's; the style net's."""
        critic, generator = super().objectives()
        critic = dataclasses.replace(critic, trains=("critic",) if self.frozen else ("critic", "text"))
        return critic, generator, Objective("style", self._style_loss, trains=("style",))

    def derived(self, variables: Variables, batch: Batch) -> Batch:
        """The sentences' vectors, where a frozen encoder makes them: they stay the same in all of training."""
        return {"sentence_vector": self.text_vectors(variables, batch["words"])} if self.frozen else {}

    def text_vectors(self, variables: Variables, words: Int[Array | np.ndarray, "b n"]) -> Float[Array, "b d"]:
        """φ(t) of each sentence, which stands for it wherever a condition is asked for."""
        params = variables["frozen" if self.frozen else "params"]["text"]
        vectors: Array = self.text.apply({"params": params}, jnp.asarray(words))  # type: ignore[assignment]
        return vectors.astype(jnp.float32)

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """One page, "sentences": a row for each of the first sentences, and in each column the images of one code."""
        words, (h, w, c) = jnp.asarray(batch["words"])[:ROWS], self.shape
        z = jnp.tile(self.prior(key, COLUMNS), (len(words), 1))
        image = self.decode(variables, z, jnp.repeat(words, COLUMNS, axis=0))
        return {"sentences": (image.reshape(len(words), COLUMNS, h, w, c), words)}

    def encode(self, variables: Variables, image: Images, condition: Any = None) -> Float[Array, "b d"]:
        """z of each image as the style net tells it, whatever its sentence."""
        return self._style(variables, self.real({"image": image}))

    def vector(self, variables: Variables, condition: Any, num: int) -> Float[Array, "num k"] | None:
        """A sentence's vector, of words by the encoder."""
        condition = jnp.asarray(condition)
        if jnp.issubdtype(condition.dtype, jnp.integer):
            return self.text_vectors(variables, condition)
        return condition

    def condition_vector(self, variables: Variables, batch: Batch, key: PRNGKey) -> Float[Array, "b k"]:
        """The vectors of a batch's sentences."""
        return batch["sentence_vector"] if "sentence_vector" in batch else self.text_vectors(variables, batch["words"])

    def _critic_terms(
        self, variables: Variables, real: Array, fake: Array, condition: Array | None, batch: Batch, key: PRNGKey
    ) -> tuple[Float[Array, " n"], Aux]:
        # What the critic sees in the real images is the same under either sentence: it looks once.
        both = jnp.concatenate([condition, others(key, condition)])  # type: ignore[list-item]
        real_scores, _, updates = self.scored(variables, real, both)
        fake_scores, _, _ = self.scored(variables, fake, condition)
        right_scores, wrong_scores = jnp.split(real_scores, 2)
        return matched(right_scores, wrong_scores, fake_scores, updates, WRONG)

    def _generator_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        noise_key, other_key = jax.random.split(key)
        text = self.condition_vector(variables, batch, key)
        if self.interpolated:
            text = jnp.concatenate([text, (0.5 * (text + others(other_key, text)))[: len(text) // 2]])
        fake, updates = self.draw(variables, noise_key, len(text), text)
        score = self.scored(variables, fake, text)[0][:, 0]
        return adversarial(self.loss).generator(score, score).mean(), Aux({}, updates)

    def _style_loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        z_key, told_key = jax.random.split(key)
        text = self.condition_vector(variables, batch, told_key)
        z = of_examples(self.prior(z_key, len(text)))
        image, _ = self._apply("generator", variables, z, text)
        error = jnp.square(z - self._style(variables, image)).mean()
        return error, Aux({"z_error": error})

    def _style(self, variables: Variables, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
        z, _ = self.style.apply({"params": variables["params"]["style"]}, x)
        return z


def others(key: PRNGKey, x: Float[Array, "b d"] | None) -> Float[Array, "b d"]:
    """For each row that of another place, all those as many places further on."""
    return jnp.roll(x, jax.random.randint(key, (), 1, max(2, len(x))), axis=0)  # type: ignore[arg-type]
