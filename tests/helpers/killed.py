"""Training runs in processes of their own, to be killed."""

import subprocess
import sys

import jax

from helpers import PROCESSES, ROOT
from helpers.runs import EIGHT
from jaxgen.engine.checkpoint.checkpoints import Checkpoints
from jaxgen.engine.devices.mesh import replicated


def start(folder, *arguments):
    command = [sys.executable, str(PROCESSES / "train.py"), str(folder), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.split()


def last(folder, like):
    with Checkpoints(folder / "checkpoints", write=False) as checkpoints:
        target = jax.device_put(like, replicated(EIGHT))
        return checkpoints.restore(target), checkpoints.latest
