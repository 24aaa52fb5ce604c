"""The study of when to stop: what it reads off a run's course."""

import sys

import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT))
from experiments.studies import stopping_rule


def course(psnr, variance):
    """Evaluations every ten steps; the rule keeps what was there at the least variance."""
    records, least, kept = [], 1.0, 0.0
    for i, (db, now) in enumerate(zip(psnr, variance)):
        if now < least:
            least, kept = now, db
        records.append(
            {"step": 10 * (i + 1), "psnr": db, "psnr_stopped": kept, "variance": now, "least_variance": least}
        )
    return records


COURSE = course([20.0, 25.0, 28.0, 27.0, 26.0, 24.0], [0.5, 0.3, 0.2, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(("patience", "rule", "step"), [(1, 27.0, 50), (2, 27.0, 60), (3, 27.0, 60)])
def test_losses_are_counted_from_the_best_step(patience, rule, step):
    """The rule waits for its patience, or ends with the run, and gives back what it kept."""
    row = stopping_rule.compared(COURSE, 45, patience)
    assert (row["best"], row["best_step"], row["last"]) == (28.0, 30, 24.0)
    assert (row["fixed"], row["fixed_loss"]) == (27.0, 1.0)
    assert (row["rule"], row["rule_loss"], row["rule_step"]) == (rule, 28.0 - rule, step)


def test_a_rule_without_patience_for_a_hill_stops_before_it():
    row = stopping_rule.compared(course([20.0, 25.0, 24.0, 29.0], [0.3, 0.2, 0.25, 0.1]), 10, 1)
    assert (row["rule"], row["rule_loss"], row["rule_step"]) == (25.0, 4.0, 30)
    assert row["fixed"] == 20.0


def test_means_and_panels_are_over_pictures():
    rows = [{"image": name, **stopping_rule.compared(COURSE, fixed, 2)} for name, fixed in (("a", 20), ("b", 30))]
    assert stopping_rule.means(rows)["fixed_loss"] == pytest.approx((3.0 + 0.0) / 2)
    assert "| mean | 28.00, 30 | 26.50, 1.50 | 27.00, 1.00, 60 | 24.00 |" in stopping_rule.table(rows)
    psnr, variance = stopping_rule.panels({"a": COURSE}).values()
    assert max(value for _, value in psnr["a"]) == 0.0
    assert min(value for _, value in variance["a"]) == 1.0
