"""Pictures beside the sentences that they were drawn by."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jaxgen.pictures.page import LONGEST, Page
from jaxgen.pictures.strips import strips


def sentence_page(
    image: UInt8[np.ndarray, "n k h w c"], sentences: Sequence[str], title: str = "", headings: Sequence[str] = ()
) -> Page:
    """A page with a row of k pictures for each sentence, which stands before them, broken into lines.

    >>> sentences = ["a red circle", "a blue square left of a green star"]
    >>> sentence_page(np.zeros((2, 3, 32, 32, 3), np.uint8), sentences).shape
    (166, 347, 3)
    """
    names = ["\n".join(textwrap.wrap(sentence, LONGEST)) for sentence in sentences]
    return strips([(image, headings or [" "] * image.shape[1])], names, title)
