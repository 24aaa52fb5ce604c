"""Ordered sentences: text files, or little stories made here, become sentences with the ones before and after them.

A split has "words", "before" and "after", int32[n, length]: a sentence of its text and its two neighbours, as numbers
of the data's `Vocabulary`, which counts the words of training alone. No sentence is a neighbour across two texts, nor
across two splits.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxgen.core.errors import UsageError, nearest
from jaxgen.core.files import home_path
from jaxgen.data.arrays import listing
from jaxgen.data.dataset import Dataset, Source, Split, finish
from jaxgen.data.vocabulary import Vocabulary

LAYOUTS = ("lines", "paragraphs")
LEAST = 30
"""Sentences of a text at least: each of its parts holds one with two neighbours."""

ABBREVIATED = frozenset(
    ("mr", "mrs", "ms", "dr", "st", "prof", "sr", "jr", "messrs", "capt", "col", "gen", "no", "vol")
)
ENDING = re.compile(r"""[.!?…]+["'”’)\]]*\s+(?=["'“‘(\[—]*[^\W\d_a-zß-ÿ]|[0-9])""")


def text(path: str | os.PathLike[str], words: int = 20_000, length: int = 30, layout: str = "lines") -> Source:
    """The sentences of a text file, or of all `.txt` files of a folder, in UTF-8.

    Of several files, in the order of their names, the last is the test split, and a last tenth of each other validates;
    of a single one, the last tenth is for testing and the tenth before it for validation. `layout` says how a text is
    cut: "lines", a sentence a line, blank lines passed over; "paragraphs", running text with blank lines between
    paragraphs. The vocabulary has the `words` most frequent words, and a sentence of more than `length` is cut.

    Raises `UsageError` for a file that is not there, is no text, or has fewer than 30 sentences.
    """
    where = home_path(path)
    if layout not in LAYOUTS:
        raise UsageError(f"text: layout must be {' or '.join(LAYOUTS)}, got {layout!r}.{nearest(layout, LAYOUTS)}")
    for name, value, least in (("words", words, 1), ("length", length, 2)):
        if value < least:
            raise UsageError(f"text: {name} must be at least {least}, got {value}.")

    def load() -> Dataset:
        texts = [read(file, layout) for file in _files(where)]
        for file, sentences in zip(_files(where), texts):
            if len(sentences) < LEAST:
                raise UsageError(f"{file}: wanted at least {LEAST} sentences in order, found {len(sentences)}.")
        if len(texts) == 1:
            (only,) = texts
            tenth = len(only) // 10
            parts = {"train": [only[: -2 * tenth]], "valid": [only[-2 * tenth : -tenth]], "test": [only[-tenth:]]}
            protocol = f"{where.name}, {len(only):,} sentences; validation and test: the last two tenths"
        else:
            tenths = [len(sentences) // 10 for sentences in texts[:-1]]
            parts = {"train": [sentences[:-tenth] for sentences, tenth in zip(texts, tenths)]}
            parts |= {"valid": [sentences[-tenth:] for sentences, tenth in zip(texts, tenths)], "test": texts[-1:]}
            protocol = f"{len(texts)} texts, {sum(map(len, texts)):,} sentences; test: {_files(where)[-1].name}, "
            protocol += "validation: the last tenth of each other text"
        return neighbours(where.stem, parts, words, length, protocol)

    return Source(where.stem, load)


def neighbours(
    name: str, parts: Mapping[str, Sequence[Sequence[str]]], words: int, length: int, protocol: str
) -> Dataset:
    """A data set of the texts of each split, which are sentences in order."""
    vocabulary = Vocabulary.of((s for sentences in parts["train"] for s in sentences), words)
    splits, unknown, cut = {}, [], 0
    for split, texts in parts.items():
        rows = vocabulary.rows([sentence for sentences in texts for sentence in sentences], length)
        ends = np.cumsum([len(sentences) for sentences in texts])
        middle = np.concatenate([np.arange(e - len(s) + 1, e - 1) for s, e in zip(texts, ends)]).astype(int)
        splits[split] = Split(words=rows.words[middle], before=rows.words[middle - 1], after=rows.words[middle + 1])
        unknown.append(f"{rows.unknown / max(1, rows.count):.1%} of {split}")
        cut += rows.cut
    protocol += (
        f"; {len(vocabulary.words):,} words are known, unknown are {', '.join(unknown)}; {cut:,} sentences are cut at "
    )
    data = finish(name, splits, None, f"{protocol}{length} words")
    return Dataset(**{**vars(data), "vocabulary": vocabulary})


def read(path: Path, layout: str = "lines") -> list[str]:
    """The sentences of a text file. Raises `UsageError` where it is none, or is empty."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: give a text file.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: wanted text in UTF-8, byte {error.start} is none: save it as UTF-8.") from error
    lines = content.splitlines() if layout == "lines" else running(content)
    sentences = [" ".join(line.split()) for line in lines if line.strip()]
    if not sentences:
        raise UsageError(f"{path} is empty: give a text file with a sentence a line.")
    return sentences


def running(content: str) -> list[str]:
    """The sentences of running text: cut behind ., ! and ? where a capital or a number follows, but behind Mr. and the
    like; paragraphs, between blank lines, end one in any case.

    >>> running('Mr. Hill\\nleft. "Why?" he asked.\\n\\nNobody knew')
    ['Mr. Hill left.', '"Why?" he asked.', 'Nobody knew']
    """
    sentences = []
    for paragraph in re.split(r"\n\s*\n", content):
        paragraph, start = " ".join(paragraph.split()), 0
        for match in ENDING.finditer(paragraph):
            last = re.search(r"(\w+)\.$", paragraph[start : match.end()].rstrip())
            if last and (
                last[1].lower() in ABBREVIATED or (len(last[1]) == 1 and last[1].isupper() and last[1] != "I")
            ):
                continue
            sentences.append(paragraph[start : match.end()].strip())
            start = match.end()
        sentences.append(paragraph[start:])
    return [sentence for sentence in sentences if sentence]


def _files(where: Path) -> list[Path]:
    if where.is_dir():
        files = sorted(file for file in where.iterdir() if file.suffix.lower() == ".txt" and file.is_file())
        if not files:
            raise UsageError(f"{where}: wanted .txt files there, {listing(where)}")
        return files
    if not where.is_file():
        raise UsageError(f"{where}: there is no such text file or folder of .txt files.")
    return [where]


NAMES = ("anna", "ben", "clara", "david", "emma", "felix")
THINGS = ("ball", "book", "boat", "cake", "drum", "kite")
COLOURS = ("red", "blue", "green", "yellow")
PLACES = ("garden", "kitchen", "lake", "market", "school")


def stories(num: int = 2000, words: int = 20_000, length: int = 16, seed: int = 0) -> Source:
    """Little stories of six sentences, made by a seed: who had what, where it was taken, met whom, and went to whom.

    Name, thing, colour, place and friend go on from sentence to sentence, so that a neighbour can be known in part, and
    the phrasing is drawn. A tenth of the stories validates, and a tenth is for testing.

    >>> data = stories(num=30).load()
    >>> data.vocabulary.sentence(data.test["words"][0])
    'he takes the red boat to the kitchen .'
    """
    if num < 10:
        raise UsageError(f"stories: num must be at least 10, got {num}.")

    def load() -> Dataset:
        draw = np.random.Generator(np.random.Philox(key=[seed, num]))
        texts, tenth = [_story(draw) for _ in range(num)], num // 10
        parts = {"train": texts[: -2 * tenth], "valid": texts[-2 * tenth : -tenth], "test": texts[-tenth:]}
        return neighbours("stories", parts, words, length, f"{num:,} little stories by seed {seed}")

    return Source("stories", load)


def _story(draw: np.random.Generator) -> list[str]:
    one = functools.partial(_one_of, draw)
    who, friend = (NAMES[i] for i in draw.permutation(len(NAMES))[:2])
    thing, colour, place = one(THINGS), one(COLOURS), one(PLACES)
    they, them = ("she", "her") if who in NAMES[::2] else ("he", "him")
    return [
        one((f"{who} has a {colour} {thing}.", f"there is a {colour} {thing} that belongs to {who}.")),
        one((f"{they} takes the {colour} {thing} to the {place}.", f"today {they} goes to the {place} with it.")),
        one((f"in the {place} {who} meets {friend}.", f"{friend} waits for {them} in the {place}.")),
        one((f'"what a nice {thing}!" says {friend}.', f"{friend} likes the {colour} {thing} very much.")),
        one((f"so {who} gives the {thing} to {friend}.", f"{they} lets {friend} play with the {thing}.")),
        one((f"now the {colour} {thing} is {friend}'s.", f"{friend} thanks {who} and goes home.")),
    ]


def _one_of(draw: np.random.Generator, forms: Sequence[str]) -> str:
    return forms[int(draw.integers(len(forms)))]
