"""A linear probe reads what is linear, whatever its scale, and no more."""

import numpy as np
import pytest

from jaxgen.core.errors import UsageError
from jaxgen.metrics.probes import linear_probe


def test_it_reads_what_is_linear_whatever_its_scale():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 600)
    code = rng.normal(size=(600, 4)) + 8 * np.eye(4)[label]
    for scale in (1.0, np.array([1e-6, 1e6, 1.0, 1.0])):
        scaled = (code * scale).astype(np.float32)
        assert linear_probe(scaled[:300], label[:300], scaled[300:], label[300:]) > 99


def test_it_reads_no_exclusive_or_and_no_constant():
    code = np.tile([[0.0, 0.0, 5.0], [0.0, 1.0, 5.0], [1.0, 0.0, 5.0], [1.0, 1.0, 5.0]], (10, 1))
    label = np.tile([0, 1, 1, 0], 10)
    assert linear_probe(code, label, code, label) <= 75
    with pytest.raises(UsageError, match="at least two classes"):
        linear_probe(code, np.zeros(40, int), code, label)
