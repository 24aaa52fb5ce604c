"""Vectors of sentences from the command line, against the model's own; bad input in one sentence."""

import jax
import numpy as np
import pytest
from helpers import ROOT
from helpers.cli import answered, refused, said

import jaxgen
from jaxgen.core.model import batch_like, described_batch
from jaxgen.data.text import stories
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.runs import recipes
from jaxgen.runs.folder import open_folder

LINES = (
    "Anna has a red ball.",
    "",
    "he takes the zebra to the lake.",
    "now it is ben's and ben's and ben's and ben's and ben's.",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with random weights, as training would have begun it."""
    folder = tmp_path_factory.mktemp("text") / "run"
    file = recipes.load_file(ROOT / "experiments/text/skipthought.py")
    settings, data = file.settings(file.smoke), stories(num=100, words=80, length=12).load()
    about = {"batch": described_batch(dict(data.train)), "vocabulary": str(data.vocabulary), "data": "stories"}
    open_folder(folder, file, settings, about)
    model, draw = recipes.build(file, settings).model, np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch_like(model, 1, about["batch"]))
    variables = jax.tree.map(lambda leaf: draw.standard_normal(leaf.shape, np.float32), shapes)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(1, {"variables": variables})
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("\n".join(LINES), encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "strange.txt").write_text("now it is.\nxyzzy plugh", encoding="utf-8")
    (tmp_path / "ragged.txt").write_text("red 1 2\nzebra 1 2 3\n", encoding="utf-8")
    (tmp_path / "few.txt").write_text("2 2\nred 1 2\nzebra 1 2\n", encoding="utf-8")


def test_vectors_are_the_models_own_and_the_nearest_is_the_sentence_itself(folder, capsys):
    near = ("--near", LINES[2], "--num", 2, "--between", LINES[0], LINES[2], "--steps", 3)
    figures = answered(capsys, "embed-text", folder, "lines.txt", "-o", "v.npz", *near)
    assert (figures["sentences"], figures["cut"], figures["unknown"]) == (3, 1, 1)
    run, arrays = jaxgen.load(folder), np.load("v.npz")
    sentences = [line for line in LINES if line]
    rows = run.vocabulary.rows(sentences, 12)
    assert rows.words.shape == (3, 12)
    np.testing.assert_allclose(arrays["vector"], run.model.encode_words(run.variables, rows.words), atol=1e-5)
    assert arrays["sentence"].tolist() == sentences
    assert figures["near"][0]["sentence"] == LINES[2]
    assert figures["near"][0]["cosine"] == pytest.approx(1)
    told = run.model.tell(run.variables, arrays["vector"][:1], "after", 12)
    assert figures["between"][0]["after"] == run.vocabulary.sentence(np.asarray(told)[0])
    assert len(figures["between"]) == 3
    # The vector of a foreign word that is where "red" is reads as "red" does.
    own = run.variables["params"]["encoder"]["embedding"]
    words = np.array([*run.vocabulary.words, "zebra"])
    place = run.vocabulary.words.index("lake")
    np.savez("own.npz", words=words, vectors=np.concatenate([own[3 : 3 + len(words) - 1], own[3 + place :][:1]]))
    text = said(capsys, "embed-text", folder, "lines.txt", "-o", "w.npz", "--vectors", "own.npz", *near[:4])[1]
    assert "1 more words by own.npz; the map explains 100.0%" in text
    wider = run.vocabulary.rows([LINES[2].replace("zebra", "lake")], 12).words
    np.testing.assert_allclose(
        np.load("w.npz")["vector"][1], run.model.encode_words(run.variables, wider)[0], atol=1e-3
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["empty.txt"], ["empty.txt is empty"]),
        (["none.txt"], ["none.txt", "No such file"]),
        (["strange.txt"], ["strange.txt, line 2: none of its words is known", "xyzzy"]),
        (["lines.txt", "--near", "xyzzy"], ["--near, line 1: none of its words"]),
        (["lines.txt", "--between", "red"], ["--between wants two sentences", "got 1"]),
        (["lines.txt", "--steps", "1"], ["--steps must be at least 2"]),
        (["lines.txt", "-o", "v.png"], ["ends in .npz"]),
        (["lines.txt", "--vectors", "ragged.txt"], ["ragged.txt, line 2", "3 numbers", "one width"]),
        (["lines.txt", "--vectors", "few.txt"], ["of 2 words with vectors the model knows 1"]),
    ],
    ids=lambda value: " ".join(value) if value[0].islower() else "",
)
def test_bad_input_gets_one_sentence_and_writes_nothing(args, words, folder, capsys):
    sentence = refused(capsys, "embed-text", folder, *args)
    assert all(word in sentence for word in words), sentence
