"""Systems of kinds that the package has none of, as recipe files: trained, resumed, evaluated, shown by the engine."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers.cli import after, said
from helpers.foreign import IMAGE_PRIOR, SENTENCES

import jaxgen
from jaxgen.runs.log import read_log


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("experiments").mkdir()
    Path("experiments/image_prior.py").write_text(IMAGE_PRIOR, encoding="utf-8")
    Path("experiments/sentences.py").write_text(SENTENCES, encoding="utf-8")


def interrupted(capsys, name, steps):
    """The run of a recipe, stopped behind some of its steps and resumed; its result, and that of one left alone."""
    whole = json.loads(said(capsys, "train", name, "--run", "whole", "--json")[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxgen.cli.commands.train._Interrupts.__call__", after(steps))
        assert said(capsys, "train", name, "--run", "parts")[0] == 130
    code, out, err = said(capsys, "train", name, "--run", "parts", "--json")
    assert (code, "resuming" in err) == (0, True)
    parts = json.loads(out)
    assert parts["metrics"] == whole["metrics"]
    assert parts["best_step"] == whole["best_step"]
    return whole


def test_an_image_prior_judged_by_psnr(capsys):
    result = interrupted(capsys, "image_prior", 25)
    assert result["best"] == {"name": "psnr", "higher": True, "split": "valid"}
    points = {r["step"]: r["psnr"] for r in read_log(Path("whole/metrics.jsonl")) if r["split"] == "valid"}
    assert result["best_step"] == max(points, key=points.get)
    assert points[max(points)] > points[10], "it learns"
    assert "psnr" in said(capsys, "runs", ".")[1]
    code, out, _ = said(capsys, "evaluate", "whole", "--split", "valid", "--json")
    assert (code, json.loads(out)["psnr"]) == (0, pytest.approx(points[result["best_step"]], rel=1e-5))
    run = jaxgen.load("whole")
    assert run.step == result["best_step"]
    assert run.reconstruct(run.dataset.valid.image).shape == (8, 8, 8, 1)
    assert Path("whole/samples/00000060-reconstructions.png").is_file()
    assert "bits/dim" not in said(capsys, "inspect", "whole")[1]
    code, out, err = said(capsys, "sample", "whole")
    assert (code, out) == (2, "")
    assert "ImagePrior cannot sample" in err


def test_a_sentence_model_on_words(capsys):
    result = interrupted(capsys, "sentences", 60)
    assert result["metrics"]["test/nats_per_word"] < 0.6 * math.log(6)
    about = json.loads(Path("whole/run.json").read_text())
    assert about["batch"] == {"words": {"shape": [5], "dtype": "int32"}, "length": {"shape": [], "dtype": "int32"}}
    lines = Path("whole/samples/00000200-sentences.txt").read_text().splitlines()
    assert len(lines) == 3
    assert all(set(line.split()) <= {"one", "two", "three", "four", "."} for line in lines)
    code, out, _ = said(capsys, "evaluate", "whole", "--json")
    assert (code, json.loads(out)["nats_per_word"]) == (0, pytest.approx(result["metrics"]["test/nats_per_word"]))
    assert said(capsys, "inspect", "whole")[0] == 0
    assert said(capsys, "inspect", "sentences")[0] == 0
    code, out, err = said(capsys, "sample", "whole")
    assert (code, "Bigram cannot sample" in err) == (2, True)
    with np.errstate(all="raise"):
        assert jaxgen.load("whole").scores()["nats_per_word"].shape == (20,)
