"""Sentences on the command line: rows of pictures by each, and those that a model cannot be told."""

import dataclasses
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.runs import ONE

from jaxgen.cli import texts
from jaxgen.cli.commands.sample import Sample
from jaxgen.core.conditions import Text
from jaxgen.core.errors import UsageError
from jaxgen.data.vocabulary import Vocabulary
from jaxgen.explore.text_conditional import between_sentences, by_sentences
from jaxgen.explore.trained import Trained
from jaxgen.models.gan.dcgan import DCGAN
from jaxgen.models.gan.text_to_image import TextToImage

MODEL = TextToImage(
    shape=(8, 8, 1), levels=4, features=2, latent=3, norm="none", embedding=3, condition=Text(words=9, length=5, size=5)
)
WORDS = Vocabulary(("a", "red", "star", "blue", "circle"))
A, B = "a red star", "A blue circle"


@dataclasses.dataclass(frozen=True, eq=False)
class Told(Trained):
    """A run so far as pages need it."""

    folder: str = "runs/told"
    step: int = 7
    vocabulary: Vocabulary = WORDS


@pytest.fixture(scope="module")
def run():
    draw, fresh = np.random.default_rng(0), jax.jit(MODEL.init)(jax.random.key(5), {})
    return Told(MODEL, jax.tree.map(lambda a: a + 0.3 * draw.standard_normal(a.shape, np.float32), fresh), ONE)


def options(**chosen):
    return Sample(**{"run": "runs/told", "num": 3, "seed": 7, **chosen})


def test_arrays_are_rows_by_each_sentence_and_by_what_lies_between(run, tmp_path, capsys):
    words = run.vocabulary.rows([A, B], 5).words
    path = tmp_path / "rows.npz"
    assert texts.page(run, options(text=(A, B)), path) == 0
    rows = np.load(path)
    np.testing.assert_array_equal(rows["image"], by_sentences(run, words, 3, 7).reshape(6, 8, 8, 1))
    assert list(rows["sentence"]) == [A] * 3 + [B] * 3
    assert texts.page(run, options(text=(A, B), between=3), path) == 0
    way = np.load(path)
    np.testing.assert_array_equal(way["image"], between_sentences(run, words, 3, 3, 7).reshape(9, 8, 8, 1))
    assert list(way["sentence"]) == [A] * 3 + [""] * 3 + [B] * 3
    assert "on the way between 2 sentences" in capsys.readouterr().out


def test_words_that_are_not_known_are_said(run):
    told = texts.words_of(run, ["a pink star", "a grey, pink"])
    assert told.figures["unknown"] == ["pink", "grey"]
    assert told.lines == ["not known to the model: pink, grey"]
    assert texts.words_of(run, [A, B]).lines == []


@pytest.mark.parametrize(
    ("sentence", "words"),
    [("dogs bark", "none of its words is known"), ("a red star a blue circle", "has 6 words, and runs/told takes 4")],
)
def test_sentences_that_the_model_cannot_be_told_are_refused(run, sentence, words):
    with pytest.raises(UsageError, match=words):
        texts.words_of(run, [sentence])


def test_a_model_without_sentences_is_told_none():
    run = types.SimpleNamespace(model=DCGAN(shape=(8, 8, 1), levels=4, latent=3, features=2), folder=Path("runs/gan"))
    with pytest.raises(UsageError, match=r"DCGAN cannot draw by a sentence: it is told no sentences.*TextToImage"):
        texts.words_of(run, [A])


@pytest.mark.parametrize(
    "chosen",
    [
        {"between": 3},
        {"style": "test"},
        {"text": (A,), "label": 1},
        {"text": (A,), "between": 3},
        {"text": (A, B), "between": 1},
        {"text": (A, B), "between": 3, "style": "test"},
        {"text": (A, B), "temperature": 0.5},
        {"text": (A, B), "output": "rows.gif"},
    ],
)
def test_flags_that_do_not_go_together_are_refused(chosen):
    with pytest.raises(UsageError, match=r"--text|--between|several sentences"):
        texts.check(options(**chosen))
