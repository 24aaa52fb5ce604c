"""Skip-Thought vectors (1506.06726): a sentence is what lets the sentences around it be told.

    v = encoder(s_i)                                                                        (eqs. 1–4)
    loss = − Σ_t log p(w_t of s_{i+1} | w_<t, v) − Σ_t log p(w_t of s_{i−1} | w_<t, v)      (eq. 10)

The encoder is a GRU, or one in each direction with half of the numbers ("bi-skip"); v is its state behind the last
word. Two decoders, GRUs conditioned on v at every word (eqs. 5–8), tell the sentence after and the one before. They
share the encoder's word vectors, and the map from states to words (eq. 9).

Deviations: gates and that map have biases; a sentence that is cut has no end; nothing is spent on what fills up
behind a sentence, and what is not known is one word.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.core.capabilities import Scored, Sentences
from jaxgen.core.checks import at_least
from jaxgen.core.errors import UsageError
from jaxgen.core.model import Aux, Batch, Objective, PRNGKey, Variables
from jaxgen.nn.gru import GRU, SentenceEncoder, mask_of
from jaxgen.nn.initial import normal

END, UNKNOWN = 1, 2
"""The numbers of a sentence's end and of a word that is not known, as `data.vocabulary` gives them."""

Neighbour = Literal["before", "after"]
NEIGHBOURS: tuple[Neighbour, ...] = ("before", "after")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkipThought(Scored, Sentences):
    """Vectors of `features` numbers for sentences, whose words have numbers below `words`, each with a vector of
    `embedding` numbers; the decoders' states have `decoder_features`. The encoder reads both ways where `two_way`.

    Its data have "words", "before" and "after", int32[b, length]: a sentence and its neighbours (`data.text`).
    """

    words: int
    embedding: int = 620
    features: int = 2400
    decoder_features: int = 2400
    two_way: bool = False
    dtype: str = "float32"

    figure: ClassVar[str] = "nats_per_word"
    ratios: ClassVar[dict[str, tuple[str, str]]] = {"nats_per_word": ("nats", "words")}
    by_example: ClassVar[bool] = True
    conditioned_on: ClassVar[tuple[type, ...]] = ()
    lacks: ClassVar[dict[str, str]] = {
        "Density": "it tells the words of sentences, and knows no images",
        "Autoregressive": "it tells words one after the other, and not pixels",
        "Sampler": "it draws no images: what it tells is words",
        "Completer": "it knows no images",
        "Encoder": "it gives vectors of sentences (`jaxgen embed-text`), and not of images",
        "Reconstructor": "it tells the neighbours of a sentence, and gives no image back",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, words=4, why="three numbers are marks, and there is a word")
        at_least(self, embedding=1, features=2 if self.two_way else 1, decoder_features=1)

    def init(self, key: PRNGKey, batch: Batch) -> Variables:
        """Fresh variables: word vectors N(0, 0.01), orthogonal recurrent maps."""
        keys = dict(zip(("encoder", "output", *NEIGHBOURS), jax.random.split(key, 4)))
        words = jnp.asarray(batch["words"])
        x, mask = jnp.zeros((*words.shape, self.embedding)), mask_of(words)
        vector = jnp.zeros((len(words), self.features))
        params = {
            "encoder": self._encoder(self.words).init(keys["encoder"], words)["params"],
            "output": self._output().init(keys["output"], jnp.zeros((1, self.decoder_features)))["params"],
        }
        for name in NEIGHBOURS:
            params[name] = self._decoder().init(keys[name], x, mask, vector)["params"]
        return {"params": params}

    def _encoder(self, words: int) -> Any:
        return SentenceEncoder(words, self.embedding, self.features, self.two_way, self.dtype)

    def _decoder(self) -> Any:
        return GRU(self.decoder_features, dtype=self.dtype)

    def _output(self) -> Any:
        """To the logits of all numbers but 0, which no sentence has."""
        return nn.Dense(self.words - 1, dtype=self.dtype, kernel_init=normal(0.1))

    def encode_words(self, variables: Variables, words: Int[Array | np.ndarray, "b t"]) -> Float[Array, "b d"]:
        """The vector of each sentence. The table of word vectors may have more rows than the model has words: those of
        a vocabulary that was expanded (`explore.sentences`)."""
        params = variables["params"]["encoder"]
        vector: Array = self._encoder(len(params["embedding"])).apply({"params": params}, jnp.asarray(words))
        return vector

    def log_probs(
        self, variables: Variables, vector: Float[Array, "b d"], words: Int[Array, "b t"], neighbour: Neighbour
    ) -> Float[Array, "b t"]:
        """Nats: log p of each word of a neighbour given those before it and the sentence's vector; 0 behind its end."""
        params, mask = variables["params"], mask_of(words)
        x = params["encoder"]["embedding"][words[:, :-1]]
        x = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))  # the word before the first is a vector of zeros
        states = self._decoder().apply({"params": params[neighbour]}, x, mask, vector)
        logits = self._output().apply({"params": params["output"]}, states).astype(jnp.float32)
        own = jnp.take_along_axis(logits, jnp.maximum(words - 1, 0)[..., None], axis=-1)[..., 0]
        return jnp.where(mask, own - jax.nn.logsumexp(logits, axis=-1), 0.0)

    def scores(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Float[Array, " b"]]:
        """ "nats" of both neighbours of each sentence, −log p, and how many "words" these have, ends included; of a
        split, "nats_per_word" are all nats by all words."""
        vector = self.encode_words(variables, batch["words"])
        nats = count = jnp.zeros(len(vector))
        for name in NEIGHBOURS:
            words = jnp.asarray(batch[name])
            nats = nats - self.log_probs(variables, vector, words, name).sum(axis=1)
            count = count + mask_of(words).sum(axis=1)
        return {"nats": nats, "words": count}

    def objectives(self) -> tuple[Objective, ...]:
        """One: the nats of both neighbours of a sentence, averaged over sentences."""
        return (Objective("neighbours", self._loss, trains=("encoder", "output", *NEIGHBOURS), examples="separable"),)

    def _loss(self, variables: Variables, batch: Batch, key: PRNGKey) -> tuple[Array, Aux]:
        scores = self.scores(variables, batch, key)
        nats, words = scores["nats"].mean(), scores["words"].mean()
        return nats, Aux({"nats": nats}, shown={"nats_per_word": nats / words})

    def tell(
        self, variables: Variables, vector: Float[Array | np.ndarray, "b d"], neighbour: Neighbour, length: int
    ) -> Int[Array, "b length"]:
        """The neighbour of a sentence of such a vector, greedily: at each word the likeliest, but for the unknown one,
        up to an end."""
        params, vector = variables["params"], jnp.asarray(vector, jnp.float32)
        table, output = params["encoder"]["embedding"], self._output()
        all_true = jnp.ones((len(vector), 1), bool)

        def step(carry: Any, _: None) -> tuple[Any, Array]:
            h, x, ended = carry
            h = self._decoder().apply({"params": params[neighbour]}, x[:, None], all_true, vector, h)[:, 0]
            logits = output.apply({"params": params["output"]}, h).at[:, UNKNOWN - 1].set(-jnp.inf)
            word = jnp.where(ended, 0, jnp.argmax(logits, axis=-1) + 1).astype(jnp.int32)
            return (h, table[word], ended | (word == END)), word

        start = (jnp.zeros((len(vector), self.decoder_features)), jnp.zeros((len(vector), self.embedding)))
        _, words = jax.lax.scan(step, (*start, jnp.zeros(len(vector), bool)), length=length)
        return words.T

    def shows(self, variables: Variables, batch: Batch, key: PRNGKey) -> dict[str, Any]:
        """Sentences, and what the model tells to stand before and after them: int32[b,3,length], before first."""
        words = jnp.asarray(batch["words"])
        vector = self.encode_words(variables, words)
        before, after = (self.tell(variables, vector, name, words.shape[1]) for name in NEIGHBOURS)
        return {"neighbours": jnp.stack([before, words, after], axis=1)}

    def check_data(self, batch: Batch) -> None:
        """Raises `UsageError` unless there are sentences with their neighbours, in numbers that the model has."""
        for name in ("words", *NEIGHBOURS):
            if name not in batch:
                raise UsageError(
                    "SkipThought learns from sentences with those before and after them, and these data have no "
                    f'"{name}"; they have {", ".join(batch)}: give a text, --data text:FILE.'
                )
            words = batch[name]
            if len(words.shape) != 2 or words.dtype.kind not in "iu":
                raise UsageError(
                    f'SkipThought wants "{name}" as whole numbers [sentences, length], got {words.dtype}{words.shape}.'
                )
            if isinstance(words, np.ndarray) and not 0 <= words.min() <= words.max() < self.words:
                raise UsageError(
                    f'SkipThought knows numbers of words below {self.words}, and "{name}" has {words.min()} to '
                    f"{words.max()}: raise words to {words.max() + 1}, or the data's to fewer."
                )

    def check_scored(self, batch: Batch) -> None:
        """The same."""
        self.check_data(batch)
