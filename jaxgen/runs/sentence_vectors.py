"""Sentences as vectors of a run that draws by sentences: what a rival is conditioned on that is told the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxgen.data.captions import with_vectors
from jaxgen.data.dataset import Dataset, Source
from jaxgen.explore.text_conditional import text_vectors
from jaxgen.runs.load import load

CHUNK = 500
"""Sentences at a time."""


def with_sentence_vectors(source: Source, folder: str | Path) -> Source:
    """Data with "words" by the vocabulary of a run (`grafts.vocabulary_of`) get as "condition", float32[n,d], the
    vectors that the run's model makes of the sentences. Raises `UsageError` for a model that is told none."""

    def of(data: Dataset) -> Callable[[np.ndarray], np.ndarray]:
        run = load(folder)
        return lambda words: np.concatenate(
            [text_vectors(run, words[start : start + CHUNK]) for start in range(0, len(words), CHUNK)]
        )

    return with_vectors(source, of, f"sentence vectors by {Path(folder).name}")
