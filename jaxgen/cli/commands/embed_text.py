"""`jaxgen embed-text`: the vectors of sentences, which are near to each other, and what lies between two."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxgen.cli import flags
from jaxgen.cli.open import OfRun, open_run
from jaxgen.cli.output import at_least_one, output, say, write_npz
from jaxgen.core.errors import UsageError


@dataclasses.dataclass(kw_only=True)
class EmbedText(OfRun):
    """Write the vector of each sentence of a text file: `vector`, and `sentence`.

    With --near the sentences of the file nearest to another, by cosine. With --between what the model tells to stand
    before and after the vectors on the way from one sentence to another, word by word the likeliest.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A text file."""
    layout: Literal["lines", "paragraphs"] = "lines"
    """A sentence on each line, or running text."""
    near: flags.text("SENTENCE", "none") = ""  # type: ignore[valid-type]
    """A sentence to which the nearest of the file are looked for."""
    num: int = 5
    """How many of these."""
    between: tuple[str, ...] = ()
    """Two sentences; what lies between them is told."""
    steps: int = 7
    """Vectors on the way from one to the other, ends included."""
    vectors: flags.text("FILE.npz", "those of the model alone") = ""  # type: ignore[valid-type]
    """Word vectors, .npz (words, vectors) or .txt, by which words are understood that the model was not trained on."""
    output: flags.text("FILE.npz", "in the run's folder", "-o") = ""  # type: ignore[valid-type]
    """Where the vectors go."""


def run(args: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    options = flags.parse(EmbedText, args, "jaxgen embed-text")
    at_least_one(num=options.num)
    if options.between and len(options.between) != 2:
        raise UsageError(f"--between wants two sentences, each in quotes, got {len(options.between)}.")
    if options.steps < 2:
        raise UsageError(f"--steps must be at least 2, the two ends, got {options.steps}.")
    path = output(options, f"embed-text-{options.file.stem}.npz", (".npz",))
    from jaxgen.data.text import read

    sentences = read(options.file, options.layout)
    run = open_run(options)
    import numpy as np

    from jaxgen.cli import progress
    from jaxgen.core.capabilities import Sentences, require
    from jaxgen.data.word_vectors import word_vectors
    from jaxgen.explore.sentences import expanded, sentence_vectors

    require(run.model, Sentences, "embed sentences")
    vocabulary, variables, lines = run.vocabulary, run.variables, []
    figures: dict[str, Any] = {"output": str(path), "step": run.step, "sentences": len(sentences)}
    if options.vectors:
        own = len(vocabulary.words)
        variables, vocabulary, explained = expanded(variables, vocabulary, *word_vectors(options.vectors))
        more = len(vocabulary.words) - own
        figures["expanded"] = {"words": more, "explained": explained}
        lines.append(f"{more:,} more words by {options.vectors}; the map explains {explained:.1%} of the model's own")
    length = run.record.about["batch"]["words"]["shape"][0]
    rows = vocabulary.checked(sentences, length, str(options.file))
    asked = {"--near": [options.near] if options.near else [], "--between": list(options.between)}
    typed = {flag: vocabulary.checked(words, length, flag).words for flag, words in asked.items() if words}
    figures |= {"cut": rows.cut, "unknown": rows.unknown, "words": rows.count}
    with progress.counted(len(sentences), "sentences") as told:
        vector = sentence_vectors(run.model, variables, rows.words, told)
    figures["dims"] = vector.shape[1]
    lines.insert(0, f"{path}: {rows}; {vector.shape[1]} numbers each")
    if options.near:
        figures["near"], more_lines = _near(options, run.model, variables, typed["--near"], vector, sentences)
        lines += more_lines
    if options.between:
        figures["between"], more_lines = _between(options, run.model, variables, typed["--between"], vocabulary)
        lines += more_lines
    write_npz(path, vector=vector, sentence=np.array(sentences))
    say(options.json, figures, "\n".join(lines))
    return 0


def _near(
    options: EmbedText, model: Any, variables: Any, words: Any, vector: Any, sentences: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The sentences nearest to the one asked for, as figures and as lines."""
    from jaxgen.explore.sentences import nearest_sentences, sentence_vectors

    places, cosine = nearest_sentences(sentence_vectors(model, variables, words), vector, options.num)
    near = [{"sentence": sentences[i], "line": int(i) + 1, "cosine": float(c)} for i, c in zip(places[0], cosine[0])]
    return near, [f"nearest to {options.near!r}:", *(f"  {n['cosine']:.3f}  {n['sentence']}" for n in near)]


def _between(
    options: EmbedText, model: Any, variables: Any, words: Any, vocabulary: Any
) -> tuple[list[dict[str, str]], list[str]]:
    """What is told on the way from one sentence to the other, as figures and as lines."""
    from jaxgen.explore.sentences import between, sentence_vectors

    ends = sentence_vectors(model, variables, words)
    told = between(model, variables, ends, options.steps, words.shape[1])
    pairs = [{name: vocabulary.sentence(rows[i]) for name, rows in told.items()} for i in range(options.steps)]
    first, last = options.between
    title = f"before and after what lies between {first!r} and {last!r}:"
    return pairs, [title, *(f"  {pair['before']}  …  {pair['after']}" for pair in pairs)]
