"""Sentences of images as numbers: of one for each, and of several, of which training draws one."""

import jax
import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.arrays import digits, npz
from jaxgen.data.captions import bags_of_words, captioned
from jaxgen.data.vocabulary import Vocabulary

LINES = np.array([["a dog", "the dog runs"], ["a cat", "one cat sits"]] * 5)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, images=np.zeros((10, 4, 4, 3), np.uint8) + 7, captions=LINES)
    return path


def test_numbers_are_those_of_the_sentences(file):
    data = captioned(npz(file), length=5).load()
    for split in data.splits().values():
        for words, lines in zip(split["words"], split["sentence"], strict=True):
            assert [data.vocabulary.sentence(row) for row in words] == list(lines)


def test_training_draws_one_of_several_sentences_and_evaluation_takes_the_first(file):
    data = captioned(npz(file), length=5).load()
    batch = {"words": data.train["words"]}
    drawn = [data.transform(batch, jax.random.key(seed), True)["words"] for seed in range(40)]
    chosen = np.array(
        [[(row == batch["words"][i]).all(axis=1).argmax() for i, row in enumerate(rows)] for rows in drawn]
    )
    assert 0.35 < chosen.mean() < 0.65
    assert len(np.unique(chosen, axis=0)) > 20  # of each image by itself
    first = data.transform(batch, jax.random.key(0), False)["words"]
    np.testing.assert_array_equal(first, batch["words"][:, 0])


def test_a_bag_has_each_word_as_often_as_its_sentence(tmp_path):
    np.savez(tmp_path / "one.npz", images=np.zeros((10, 4, 4, 3), np.uint8) + 7, sentence=["a cat a dog", "a cat"] * 5)
    known = Vocabulary(("a", "cat"))
    data = bags_of_words(captioned(npz(tmp_path / "one.npz"), length=6, vocabulary=known), 6).load()
    bags = {str(line): list(bag) for line, bag in zip(data.train["sentence"], data.train.condition, strict=True)}
    assert bags == {"a cat a dog": [0, 0, 1, 2, 1, 0], "a cat": [0, 0, 0, 1, 1, 0]}


def test_what_has_no_sentences_is_refused(file):
    with pytest.raises(UsageError, match="wanted a sentence for each image"):
        captioned(digits()).load()
    with pytest.raises(UsageError, match="one sentence for each image"):
        bags_of_words(captioned(npz(file)), 100).load()
    with pytest.raises(UsageError, match="length must be at least 2"):
        captioned(digits(), length=1)
