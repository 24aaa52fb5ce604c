"""What Skip-Thought vectors are worth: three figures of a run, each beside simple rivals.

    python experiments/studies/skipthought_probes.py --run RUN
    python experiments/studies/skipthought_probes.py --run RUN --data text:FOLDER --questions 1000 --scenes 4000

RUN is of `skipthought`; its own test split is asked, or that of other data. A table, and `skipthought_probes.json`:

    nats per word      of both neighbours, beside words by their frequencies and by those behind the word before
                       (bigrams, Witten-Bell), counted on the training split
    which follows      percent of questions in which the sentence that follows is told among nine others of the split;
                       by the decoder, log p(s | v) − log p(s | mean v), and by the cosine of vectors; beside the cosine
                       of bags of words (means of the run's word vectors, and weighted counts), and chance
    scene attributes   percent of sentences about scenes, made by the library, of which logistic regression reads an
                       attribute off the vector, beside a bag of words and the most frequent value

Scenes are the same for every run, and so are questions for a split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
CANDIDATES = 10
ATTRIBUTES = ("objects", "place", "shape_1", "colour_1")
Row = dict[str, Any]


def main(args: Sequence[str] | None = None) -> int:
    """Ask, tell; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--run", required=True, help="the run of `skipthought`")
    parser.add_argument("--data", default="", help="another text, as `jaxgen train --data` takes it (the run's own)")
    parser.add_argument("--questions", type=int, default=500, help="which of ten follows (default 500)")
    parser.add_argument("--scenes", type=int, default=4000, help="sentences about scenes (default 4000)")
    parser.add_argument("--out", type=Path, default=None, help="a folder for the figures (default: the run's)")
    options = parser.parse_args(args)
    if options.questions < 1 or options.scenes < 100:
        parser.error("--questions is at least 1, --scenes at least 100")
    from jaxgen.core.capabilities import Sentences, require
    from jaxgen.core.errors import UsageError
    from jaxgen.core.files import write_json
    from jaxgen.runs.load import load

    try:
        run = load(options.run)
        require(run.model, Sentences, "be asked about sentences")
        dataset = run.other_data(options.data) if options.data else run.dataset
        if dataset.vocabulary.words != run.vocabulary.words and options.data:
            dataset = renumbered(dataset, run.vocabulary)
    except UsageError as error:
        parser.error(str(error))
    rows = [*likelihood(run, dataset), *followers(run, dataset, options.questions), *attributes(run, options.scenes)]
    out = Path(options.run) if options.out is None else options.out
    out.mkdir(parents=True, exist_ok=True)
    settings = {"run": options.run, "step": run.step, "data": dataset.name, "protocol": dataset.protocol}
    write_json(out / "skipthought_probes.json", {**settings, "rows": rows})
    sys.stdout.write(table(rows))
    return 0


def renumbered(dataset: Any, vocabulary: Any) -> Any:
    """Other data, in the numbers of the run's words."""
    import dataclasses

    numbers = np.array([*range(3), *(vocabulary.numbers(word)[0] for word in dataset.vocabulary.words)], np.int32)
    splits = {
        name: split.replaced(**{array: numbers[rows] for array, rows in split.items()})
        for name, split in dataset.splits().items()
    }
    return dataclasses.replace(dataset, **splits, vocabulary=vocabulary)


def likelihood(run: Any, dataset: Any) -> list[Row]:
    """Nats per word of the test split's neighbours, by the model and by n-grams of the training split."""
    from jaxgen.metrics.ngrams import bigram_log_probs, nats_per_word, unigram_log_probs

    figures = run.evaluate("test", dataset)
    train, size = np.asarray(dataset.train["words"]), run.model.words
    asked = np.concatenate([dataset.test[name] for name in ("before", "after")])
    rows = [{"method": "skip-thought", "value": figures["nats_per_word"], "stderr": figures["nats_per_word_stderr"]}]
    for method, log_probs in (("bigrams", bigram_log_probs), ("frequencies", unigram_log_probs)):
        rows.append({"method": method, "value": nats_per_word(log_probs(train, asked, size), asked)})
    return [{"figure": "nats per word", **row} for row in rows]


def questions(count: int, num: int) -> np.ndarray:
    """Places int64[num, 10] in a split of so many sentences: the one asked about first, and nine others."""
    draw = np.random.Generator(np.random.Philox(key=[count, num]))
    asked = draw.integers(count, size=num) if num > count else draw.permutation(count)[:num]
    others = draw.integers(1, count, size=(num, CANDIDATES - 1))  # never the asked one itself
    return np.concatenate([asked[:, None], (asked[:, None] + others) % count], axis=1)


def followers(run: Any, dataset: Any, num: int) -> list[Row]:
    """Percent of questions in which the sentence that follows scores above nine others."""
    from jaxgen.explore.sentences import sentence_vectors

    test, train = dataset.test, dataset.train
    places = questions(len(test), num)
    asked, candidates = test["words"][places[:, 0]], test["after"][places]
    flat = candidates.reshape(-1, candidates.shape[-1])
    vectors = sentence_vectors(run.model, run.variables, asked)
    own = sentence_vectors(run.model, run.variables, flat).reshape(*places.shape, -1)
    some = train["words"][np.linspace(0, len(train) - 1, min(1000, len(train))).astype(int)]
    mean = sentence_vectors(run.model, run.variables, some).mean(axis=0)
    every = told(run, np.repeat(vectors, CANDIDATES, axis=0), flat)
    without = told(run, np.broadcast_to(mean, (len(flat), len(mean))), flat)
    table_of_words = np.asarray(run.variables["params"]["encoder"]["embedding"])
    bag = lambda words: (table_of_words[words] * (words > 2)[..., None]).sum(axis=-2)  # noqa: E731
    weights = rarity(train["words"], run.model.words)
    count = lambda words: counted(words, weights)  # noqa: E731
    scores = {
        "decoder": (every - without).reshape(places.shape),
        "cosine of vectors": cosines(vectors - mean, own - mean),
        "bag of word vectors": cosines(bag(asked), bag(candidates)),
        "bag of words": cosines(count(asked), count(candidates)),
    }
    rows = []
    for method, values in scores.items():
        right = 100.0 * (values[:, 0] > values[:, 1:].max(axis=1))
        rows.append({"method": method, "value": right.mean(), "stderr": right.std() / np.sqrt(num)})
    rows.append({"method": "chance", "value": 100.0 / CANDIDATES})
    return [{"figure": "which follows, %", **row} for row in rows]


def told(run: Any, vectors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Nats: log p of each sentence behind that of its vector, by the model's decoder."""
    import jax

    from jaxgen.explore.chunks import in_chunks

    program = jax.jit(lambda variables, v, w: run.model.log_probs(variables, v, w, "after").sum(axis=1))
    given = {"v": np.asarray(vectors, np.float32), "w": words}
    return in_chunks(lambda rows: program(run.variables, rows["v"], rows["w"]), given, len(words), 100)


def rarity(train: np.ndarray, size: int) -> np.ndarray:
    """log(sentences / sentences with the word) of each number; 0 for ends and what is not known."""
    present = np.zeros(size)
    for row in train:
        present[np.unique(row)] += 1
    weights = np.log((1 + len(train)) / (1 + present))
    weights[:3] = 0
    return weights


def counted(words: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Which words each sentence has, by their weights: float32[…, words]."""
    counts = np.zeros((*words.shape[:-1], len(weights)), np.float32)
    np.put_along_axis(counts, words, weights[words].astype(np.float32), axis=-1)
    return counts


def cosines(asked: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The cosine of each asked vector [n, d] with each of its candidates' [n, k, d]."""
    asked, candidates = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12) for x in (asked, candidates))
    return np.einsum("nd,nkd->nk", asked, candidates)


def attributes(run: Any, num: int) -> list[Row]:
    """Percent of held-out sentences about scenes whose attribute is read off: a fifth of them are held out."""
    from jaxgen.data.scene_sentences import NUMBER, written
    from jaxgen.data.scenes import drawn_attributes
    from jaxgen.explore.sentences import sentence_vectors
    from jaxgen.metrics.probes import linear_probe

    draw = np.random.Generator(np.random.Philox(key=[0, num]))
    scenes = drawn_attributes(num, (1, 2), draw)
    length = run.record.about["batch"]["words"]["shape"][0]
    rows = run.vocabulary.rows([written(scene, draw) for scene in scenes], length)
    sys.stderr.write(f"{rows}\n")
    codes = {
        "skip-thought": sentence_vectors(run.model, run.variables, rows.words),
        "bag of words": counted(rows.words, np.ones(run.model.words)),
    }
    used = codes["bag of words"].any(axis=0)
    codes["bag of words"] = codes["bag of words"][:, used]
    test, results = num // 5, []
    for name in ATTRIBUTES:
        label = scenes[:, NUMBER[name]]
        ends = (label[:-test], label[-test:])
        for method, code in codes.items():
            value = linear_probe(code[:-test], ends[0], code[-test:], ends[1])
            results.append({"figure": f"{name} of scenes, %", "method": method, "value": value})
        most = np.bincount(ends[0]).argmax()
        chance = float(100 * (ends[1] == most).mean())
        results.append({"figure": f"{name} of scenes, %", "method": "most frequent", "value": chance})
    return results


def table(rows: Sequence[Row]) -> str:
    """One line for each figure and method."""
    lines = []
    for row in rows:
        error = f" ± {row['stderr']:.2g}" if "stderr" in row else ""
        lines.append(f"{row['figure']:<22}{row['method']:<22}{row['value']:8.3f}{error}\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
