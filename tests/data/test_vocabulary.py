"""Words and vocabularies."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.vocabulary import END, UNKNOWN, Vocabulary, tokens

SENTENCES = ("The cat sat on the mat.", "It was a cat; the cat's own mat!", "Nobody — not even he — saw.")


def test_tokens_keep_apostrophes_inside_words_and_split_marks():
    assert tokens("“Don’t,” said Mr. O'Neil—twice_2") == [
        *('"', "don't", ",", '"', "said", "mr", ".", "o'neil", "—", "twice", "_", "2")
    ]
    assert tokens("CAFE\u0301") == tokens("café")  # a letter with its accent apart
    assert tokens(" \t") == []


def test_tokens_of_joined_tokens_are_the_same():
    for sentence in SENTENCES:
        assert tokens(" ".join(tokens(sentence))) == tokens(sentence)


def test_a_vocabulary_has_the_most_frequent_words_first():
    vocabulary = Vocabulary.of(["b a", "a b c", "c b d"], most=3)
    assert vocabulary.words == ("b", "a", "c")
    assert Vocabulary.of(["b a", "a b c", "c b d"], least=2).words == ("b", "a", "c")
    assert len(vocabulary) == 6
    assert vocabulary.numbers("a d b") == [4, UNKNOWN, 3, END]


def test_rows_and_sentences_are_inverse_where_words_are_known():
    vocabulary = Vocabulary.of(SENTENCES)
    rows = vocabulary.rows(SENTENCES, 20)
    assert [vocabulary.sentence(row) for row in rows.words] == [" ".join(tokens(s)) for s in SENTENCES]
    assert ((rows.words > 0).sum(axis=1) == [len(tokens(s)) + 1 for s in SENTENCES]).all()
    assert (rows.cut, rows.unknown, rows.count) == (0, 0, sum(len(tokens(s)) for s in SENTENCES))


def test_a_sentence_that_is_cut_has_no_end_and_is_counted():
    vocabulary = Vocabulary.of(["a b c d"])
    rows = vocabulary.rows(["a b", "a b c", "a b x d"], 3)
    np.testing.assert_array_equal(rows.words, [[3, 4, END], [3, 4, 5], [3, 4, UNKNOWN]])
    assert (rows.cut, rows.unknown, rows.count) == (2, 1, 8)


def test_bad_words_are_refused():
    with pytest.raises(UsageError, match="no word occurs 2 times"):
        Vocabulary.of(["a b"], least=2)
    with pytest.raises(UsageError, match="each word once"):
        Vocabulary(("a", "b", "a"))
    with pytest.raises(UsageError, match=r"notes.txt, line 2: none of its words is known"):
        Vocabulary(("a", ".")).checked(["a .", "x y"], 5, "notes.txt")


def test_the_record_of_a_run_gives_the_vocabulary_back_and_rows_are_said_as_lines():
    vocabulary = Vocabulary.of(SENTENCES)
    assert Vocabulary.read(str(vocabulary)) == vocabulary
    rows = vocabulary.rows(["the cat", "the mat.", "a xyzzy"], 4).words
    assert vocabulary.lines(rows) == ["the cat", "the mat .", "a <unknown>"]
    assert vocabulary.lines(rows[None]) == ["the cat → the mat . → a <unknown>"]
    assert vocabulary.lines(np.array([[3, 9999, END]])) == [f"{vocabulary.words[0]} <unknown>"]
