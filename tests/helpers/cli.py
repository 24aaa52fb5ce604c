"""The command line, called in this process and in one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from helpers import ROOT
from jaxgen.cli.main import main

ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


def said(capsys, *args):
    """Exit code, standard output and standard error of one command."""
    capsys.readouterr()
    code = main([str(arg) for arg in args])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *args, code=2):
    """The one sentence of a command that fails."""
    before = sorted(Path().rglob("*"))
    actual, out, err = said(capsys, *args)
    assert actual == code
    assert out == ""
    assert err.startswith("jaxgen: ")
    assert err.count("\n") == 1, err
    assert sorted(Path().rglob("*")) == before, "something was written"
    return err


def after(calls):
    """A stop flag that is raised at its so-manyeth look."""
    left = iter([False] * (calls - 1))

    def stop(self):
        if next(left, None) is None:
            self.code = 130
        return self.code != 0

    return stop


def started(*args, **more):
    command = [sys.executable, "-m", "jaxgen", *args]
    return subprocess.Popen(command, env=ENV, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)


def answered(capsys, *args):
    """The JSON of a command that works."""
    code, out, err = said(capsys, *args, "--json")
    assert code == 0, err
    return json.loads(out)


def saved(path):
    with np.load(path) as file:
        return file["image"]
