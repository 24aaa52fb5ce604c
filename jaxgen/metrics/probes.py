"""What a linear map reads off a representation: the accuracy of logistic regression on codes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from jaxgen.core.errors import UsageError


def linear_probe(
    codes: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    test_codes: Float[np.ndarray, "m d"],
    test_labels: Int[np.ndarray, " m"],
) -> float:
    """Percent of test codes whose class a logistic regression on the others tells: multinomial, with scikit-learn's
    default L2 penalty, on codes brought to mean 0 and variance 1 by the training codes' moments.

    Raises `UsageError` where the training labels are of one class.

    >>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> linear_probe(x, y, np.array([[-3.0], [3.0], [4.0], [5.0]]), np.array([0, 1, 1, 0]))
    75.0
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        raise UsageError(f"a linear probe needs training labels of at least two classes, got {np.unique(labels)}.")
    mean, spread = codes.mean(axis=0, dtype=np.float64), codes.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1.0
    probe = LogisticRegression(max_iter=10_000).fit((codes - mean) / spread, labels)
    return float(100 * probe.score((test_codes - mean) / spread, test_labels))
