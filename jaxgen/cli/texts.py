"""Sentences that a user names on the command line, and pages of images that are drawn by several of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.cli.output import say, write_npz
from jaxgen.core.errors import UsageError

COLUMNS = 8
"""Images of a sentence that a picture shows at most."""


def check(options: Any) -> None:
    """Raises `UsageError` for flags of `jaxgen sample` that do not go together where sentences are told."""
    if not options.text:
        for flag, value in (("--between", options.between), ("--style", options.style)):
            if value:
                raise UsageError(f"{flag} is about sentences: say with --text what is to be drawn, or leave it out.")
        return
    if options.label is not None or options.condition:
        raise UsageError("--text says what images show: leave --label and --condition out.")
    if options.between and (len(options.text) < 2 or options.between < 2 or options.style):
        raise UsageError(
            f"--between wants two steps or more between two sentences or more, and no --style, got {options.between} "
            f"and {len(options.text)}."
        )
    if not rows(options):
        return
    plain = (options.prior, options.chain, options.temperature, options.truncation, options.frames, options.plain)
    if plain != ("model", "none", 1.0, None, "", False) or Path(options.output).suffix.lower() == ".gif":
        raise UsageError(
            "of several sentences, with --between and with --style a page is drawn as it is: leave --prior, --chain, "
            "--temperature, --truncation, --frames, --plain and a .gif out, or give one sentence."
        )


def rows(options: Any) -> bool:
    """Whether a page with a row for each sentence is asked for, and not a grid."""
    return len(options.text) > 1 or bool(options.style)


def name(options: Any) -> str:
    """What sentences add to the name of a picture."""
    from jaxgen.cli.inputs import slug

    text = "".join(f"-{slug(sentence)[-40:]}" for sentence in options.text[:2])
    text += f"-between{options.between}" if options.between else ""
    return text + (f"-style-{slug(options.style)}" if options.style else "")


@dataclasses.dataclass(frozen=True)
class Words:
    """Sentences as a model gets them, int32[n,length], what is said of them, and the same as figures."""

    words: Any
    lines: list[str]
    figures: dict[str, Any]


def words_of(run: Any, sentences: Sequence[str]) -> Words:
    """Sentences by the vocabulary of a run. What is not known of them is said.

    Raises `UsageError` for a model that is told none, for one of which no word is known, and for one that is too long.
    """
    from jaxgen.core.capabilities import TextConditional, require
    from jaxgen.data.vocabulary import tokens

    model = require(run.model, TextConditional, "draw by a sentence")
    vocabulary, length = run.vocabulary, model.condition.length
    for sentence in sentences:
        count = len(vocabulary.numbers(sentence))
        if count > length:
            raise UsageError(
                f"--text {sentence[:60]!r} has {count - 1} words, and {run.folder} takes {length - 1} at most: say it "
                "in fewer."
            )
    words = vocabulary.checked(list(sentences), length, "--text").words
    spoken = dict.fromkeys(word for sentence in sentences for word in tokens(sentence) if word[0].isalnum())
    unknown = [word for word in spoken if word not in vocabulary]
    lines = [f"not known to the model: {', '.join(unknown)}"] if unknown else []
    return Words(words, lines, {"text": list(sentences), "unknown": unknown})


def page(run: Any, options: Any, path: Path) -> int:
    """Draw rows of images by several sentences, by what lies between them, or in the style of images; the exit code."""
    import numpy as np

    from jaxgen.cli.inputs import named_images
    from jaxgen.explore.text_conditional import between_sentences, by_sentences, restyled
    from jaxgen.pictures.grid import displayed, save_png
    from jaxgen.pictures.sentence_page import sentence_page

    sentences, words = list(options.text), words_of(run, options.text)
    figures = {"output": str(path), "step": run.step, "num": options.num, "seed": options.seed, **words.figures}
    shown, headings = sentences, [f"code {i}" for i in range(min(COLUMNS, options.num))]
    of_style = None
    if options.style:
        styles = named_images(run, options.style, min(COLUMNS, options.num))
        of_style, headings = styles.image, styles.names
        image, what = restyled(run, words.words, styles.image), f"in the style of {len(styles.image)} images"
        figures["style"] = styles.names
    elif options.between:
        image = between_sentences(run, words.words, options.between, options.num, options.seed)
        between = [""] * (options.between - 2)
        shown = [line for sentence in sentences[:-1] for line in (sentence, *between)] + sentences[-1:]
        what = f"on the way between {len(sentences)} sentences, {options.between} steps each"
    else:
        image, what = by_sentences(run, words.words, options.num, options.seed), f"by {len(sentences)} sentences"
    if path.suffix.lower() == ".npz":
        repeated = np.repeat(np.array(shown), image.shape[1])
        write_npz(path, image=image.reshape(-1, *image.shape[2:]), sentence=repeated)
    else:
        picture = displayed(image[:, :COLUMNS], run.model.levels)
        if of_style is not None:
            picture = np.concatenate([displayed(of_style[None], run.model.levels), picture])
            shown = ["the images", *shown]
        title = f"{type(run.model).__name__}, step {run.step:,}: {what}"
        save_png(sentence_page(picture, shown, title, headings), path)
    say(options.json, figures, "\n".join([f"{path}: {what}", *words.lines]))
    return 0
