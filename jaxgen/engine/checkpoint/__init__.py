"""Checkpoints of a run: saved while it goes on, whole or not there, checked when they are read."""

from jaxgen.engine.checkpoint.checkpoints import Checkpoints

__all__ = ["Checkpoints"]
