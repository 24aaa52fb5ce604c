"""What a check found wrong, as a picture of the plane of pixels."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from jaxgen.verification.sensitivity import View

COLOURS = {
    "seen": (70, 130, 200),
    "blind": (255, 170, 0),
    "leak": (225, 30, 40),
    "hole": (120, 120, 120),
    "later": (35, 35, 40),
    "own": (255, 255, 255),
}
"""Seen as declared; declared and not seen; seen and not declared; before it but not declared; the rest; the own one."""

LEGEND = (
    "blue: seen; orange: declared, but not seen; red: seen, but not declared; grey: a declared hole; white: its own"
)


def picture(view: View) -> UInt8[np.ndarray, "height width 3"]:
    """The image plane in `COLOURS`, one panel for each channel, left to right; the own sub-pixel has a white frame."""
    h, w, c = view.seen.shape
    cell = max(4, min(32, 960 // (c * (w + 1))))
    plane = np.empty((h, w, c, 3), np.uint8)
    plane[:] = COLOURS["later"]
    own = np.zeros((h, w, c), bool)
    own[view.at] = True
    leak = view.seen & ~view.declared
    masks = {
        "hole": view.before & ~view.declared,
        "seen": view.declared & view.seen,
        "blind": view.declared & ~view.seen,
        "own": own & ~leak,
        "leak": leak,
    }
    for name, mask in masks.items():
        plane[mask] = COLOURS[name]
    page = np.zeros((h * cell + 1, (c * (w + 1) - 1) * cell + 1, 3), np.uint8)
    for r, j, k in np.ndindex(h, w, c):
        top, left = r * cell, (k * (w + 1) + j) * cell
        if own[r, j, k]:
            page[top : top + cell + 1, left : left + cell + 1] = COLOURS["own"]
        frame = 3 if own[r, j, k] and cell > 8 else 1
        page[top + frame : top + cell + 1 - frame, left + frame : left + cell + 1 - frame] = plane[r, j, k]
    return page
