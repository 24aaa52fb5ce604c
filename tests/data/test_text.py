"""Text files and stories as sentences with their neighbours."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.data.source import source
from jaxgen.data.text import neighbours, running, stories, text


def written(folder, **texts):
    folder.mkdir(exist_ok=True)
    for name, content in texts.items():
        (folder / f"{name}.txt").write_text(content, encoding="utf-8")
    return folder


def counted(name, num):
    return "\n\n".join(f"{name} {i}." for i in range(num))


def test_neighbours_stay_inside_texts_and_splits():
    texts = {"train": [["a b", "b", "c"], ["d", "e", "f", "g"]], "valid": [["a", "b", "c"]]}
    data = neighbours("letters", texts, 10, 4, "by hand")
    say = data.vocabulary.sentence
    triples = [tuple(map(say, rows)) for rows in zip(*(data.train[n] for n in ("before", "words", "after")))]
    assert triples == [("a b", "b", "c"), ("d", "e", "f"), ("e", "f", "g")]
    assert len(data.valid) == 1


def test_of_a_folder_the_last_text_is_for_testing_and_the_vocabulary_is_that_of_training(tmp_path):
    folder = written(tmp_path / "texts", b=counted("two", 40), a=counted("one", 30), c=counted("three", 35), d="\n")
    (folder / "d.txt").rename(folder / "notes.md")
    data = text(folder, words=100, length=6).load()
    say = data.vocabulary.sentence
    # Ends of the texts have a neighbour on one side only, and so have the ends of their parts.
    assert [len(split) for split in data.splits().values()] == [27 - 2 + 36 - 2, 3 - 2 + 4 - 2, 35 - 2]
    assert say(data.train["words"][0]) == "one 1 ."
    assert say(data.train["after"][24]) == "one 26 ."
    assert [say(row) for row in data.valid["words"]] == ["one 28 .", "two <unknown> .", "two <unknown> ."]
    assert say(data.test["before"][0]) == "<unknown> 0 ."
    assert "test: c.txt" in data.protocol


def test_of_one_file_the_last_tenths_are_held_out(tmp_path):
    path = written(tmp_path, book=counted("line", 50)) / "book.txt"
    data = source(f"text:{path},words=9,length=4").load()
    assert [len(split) for split in data.splits().values()] == [38, 3, 3]
    assert data.train["words"].shape == (38, 4)
    assert len(data.vocabulary.words) == 9
    assert "9 words are known, unknown are 27.5% of train" in data.protocol
    assert "; 0 sentences are cut at 4 words" in data.protocol
    assert source(str(path)).load().train["words"].shape == (38, 30)
    assert "; 50 sentences are cut at 3 words" in source(f"text:{path},length=3").load().protocol


def test_running_text_is_cut_at_sentence_ends_only():
    assert running('Dr. No came at 5.30 p.m. on\nMay 3. Did J. Smith see? "Yes!" It ends…\n\nso') == [
        *("Dr. No came at 5.30 p.m. on May 3.", "Did J. Smith see?", '"Yes!"', "It ends…", "so")
    ]
    assert running("And so do I. Elsewhere I.\n \n\tEnd") == ["And so do I.", "Elsewhere I.", "End"]


def test_stories_go_on_with_what_they_are_about():
    data = stories(num=50).load()
    again = stories(num=50).load()
    assert all(np.array_equal(data.train[name], again.train[name]) for name in data.train)
    assert not np.array_equal(data.train["words"], stories(num=50, seed=1).load().train["words"])
    assert [len(split) for split in data.splits().values()] == [160, 20, 20]
    say = data.vocabulary.sentence
    for place, after in zip(data.train["words"][1::4], data.train["before"][1::4]):
        assert {w for w in say(place).split() if w in ("garden", "lake")} == {
            w for w in say(after).split() if w in ("garden", "lake")
        }


def test_bad_texts_are_one_sentence_each(tmp_path):
    folder = written(tmp_path, empty=" \n\n", short=counted("a", 5))
    (folder / "latin.txt").write_bytes("naïve".encode("latin-1"))
    for name, words in (
        ("empty.txt", "is empty"),
        ("short.txt", "at least 30 sentences"),
        ("latin.txt", "UTF-8"),
        ("none.txt", "no such text file"),
    ):
        with pytest.raises(UsageError, match=words):
            text(folder / name).load()
    with pytest.raises(UsageError, match=r"wanted \.txt files"):
        text(written(tmp_path / "bare")).load()
    with pytest.raises(UsageError, match="layout must be lines or paragraphs, got 'line'"):
        text(folder, layout="line")
    with pytest.raises(UsageError, match="length must be at least 2"):
        source(f"text:{folder},length=1")
