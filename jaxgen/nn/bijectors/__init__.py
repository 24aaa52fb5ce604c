"""Invertible maps with the log-determinants of their Jacobians, which flows are composed of."""
