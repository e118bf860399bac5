"""Published detectors, of their authors' names and nesting but small: imported, scored, and said to be published."""

import argparse
import gzip
import json
import re
import sys
import tempfile
import types

import numpy as np
import pytest
import torch

from repro.configs.common import deformable_detr_r50, detr_r50, soft_teacher_r50
from repro.engine import checkpoint, config, stage, trained
from repro.engine.evaluate import DETECTIONS
from repro.errors import StageError
from repro.weights import faster_rcnn, rtdetr, soft_teacher

from .conftest import record_of

TORCHVISION = (
    (r"^backbone\.stem\.conv1\.norm\.", "backbone.0.body.bn1."),
    (r"^backbone\.stem\.", "backbone.0.body."),
    (r"^backbone\.res(\d)\.", lambda match: f"backbone.0.body.layer{int(match[1]) - 1}."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
)
AUTHORS = (
    *TORCHVISION,
    (r"^transformer\.queries\.", "transformer."),
    (r"^neck\.", ""),
    (r"^transformer\.query_", "query_"),
)


def published(model, family, heads):
    """The model's weights in a file of the family, with what else its authors left there."""
    if family == "rtdetr":
        return {"ema": {"module": rtdetr.to_published(model.state_dict())}, "last_epoch": 71}
    state = {}
    for name, value in model.state_dict().items():
        for pattern, replacement in AUTHORS:
            name = re.sub(pattern, replacement, name)
        copies = [name.replace("_embed.0.", f"_embed.{index}.") for index in range(heads)]
        copies = copies if heads else [name.replace("_embed.0.", "_embed.")]
        state |= dict.fromkeys(copies if name.startswith(("class_embed", "bbox_embed")) else [name], value)
    return {"model": state, "optimizer": {}, "epoch": 49, "args": argparse.Namespace(lr=2e-4, device="cuda")}


def small(recipe, scales):
    values = {**scales["small"], **scales["tiny"]}
    assert config.apply(recipe, values, "test") == []
    return values


CASES = {
    "published/detreg_coco.py": (deformable_detr_r50.scales, 2, "common/evaluate_coco_val2017.py"),
    "published/detr_r50.py": (detr_r50.scales, 0, "common/evaluate_coco_val2017.py"),
    "published/rtdetrv2_r18vd.py": (None, 0, "rtdetr/evaluate_coco_val2017.py"),
}


@pytest.mark.parametrize("recipe", CASES)
def test_a_published_detector_is_imported_and_scored(server, bench, recipe):
    folder, url = server
    scales, heads, evaluation = CASES[recipe]
    resolved = config.resolve(recipe).recipe
    if scales is None:
        resolved["model"] = config.resolve("rtdetr/rtdetrv2_r18vd.py", {}, "smoke").recipe["model"]
    else:
        small(resolved, scales)
    torch.manual_seed(0)
    original = config.build(resolved["model"])
    torch.save(published(original, resolved["published"]["family"], heads), folder / "detector.pth")
    settings = {"model": resolved["model"], "published.url": f"{url}/detector.pth", "published.sha256": None}
    imported = bench.run("finetune", recipe=recipe, settings=settings)
    weights = checkpoint.load(imported.output / checkpoint.FINAL)["model"]
    own = original.state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own if "num_batches" not in name)
    evaluated = bench.run("evaluate", [imported], recipe=evaluation)
    assert [record_of(work).origin for work in (imported, evaluated)] == ["published", "published"]
    assert record_of(imported).implementation == {"weights": f"sha256:{checkpoint.sha256(folder / 'detector.pth')}"}
    assert "coco_box.AP" in record_of(evaluated).metrics


def test_a_detector_of_ones_own_is_retrained(chain):
    assert record_of(chain["evaluate"]).origin == record_of(chain["finetune"]).origin == "retrained"


def test_a_pretrained_detector_is_fine_tuned_here(server, bench):
    """DETReg's released pretraining: its embedding head is left behind, its objectness is our first class."""
    folder, url = server
    recipe = "published/detreg_imagenet.py"
    resolved = config.resolve(recipe).recipe
    small(resolved, deformable_detr_r50.scales)
    content = published(config.build(resolved["model"]), "deformable_detr", 2)
    content["model"] |= {"feature_embed.layers.0.weight": torch.zeros(64, 64)}
    torch.save(content, folder / "pretrained.pth")
    settings = {"model": resolved["model"], "published.url": f"{url}/pretrained.pth"}
    imported = bench.run("pretrain", recipe=recipe, settings=settings)
    finetuned = bench.run("finetune", [imported])
    assert record_of(finetuned).origin == "retrained"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"published.url": "URL/nothing.pth"}, r"cannot be downloaded .*put it at .*weights/nothing\.pth"),
        ({"published.url": "URL/page.html"}, "answers with a web page"),
        ({"published.url": "URL/detector.pth", "published.sha256": "00000000"}, "has SHA-256"),
        ({"published.url": "URL/detector.pth"}, r"do not fit the model from .*detector\.pth: .*missing"),
    ],
    ids=str,
)
def test_what_keeps_a_published_detector_from_being_imported_is_said(server, bench, settings, complaint):
    folder, url = server
    (folder / "page.html").write_text("<html>Are you sure?</html>")
    torch.save({"model": {"query_embed.weight": torch.zeros(1)}}, folder / "detector.pth")
    recipe = "published/detreg_coco.py"
    small_model = config.resolve(recipe).recipe
    small(small_model, deformable_detr_r50.scales)
    chosen = {key: value.replace("URL", url) for key, value in settings.items()} | {"model": small_model["model"]}
    with pytest.raises(StageError, match=complaint):
        stage.run(bench.work("finetune", recipe=recipe, settings=chosen))


def small_soft_teacher():
    """Settings of a Soft Teacher as narrow as at scale tiny, but with the layers that the released ones have."""
    recipe = config.resolve("published/soft_teacher_1_percent.py").recipe
    values = {**soft_teacher_r50.scales["small"], **soft_teacher_r50.scales["tiny"]}
    values["model.detector.backbone.bottom_up.depth"] = 50
    assert config.apply(recipe, values, "test") == []
    return {key: value for key, value in values.items() if not key.endswith(("burn_in", "final"))}, recipe["model"]


@pytest.fixture
def released(monkeypatch):
    """A function that writes a file as mmcv does: weights beside what a class of its own says of the training."""
    module = types.ModuleType("mmcv_of_the_test")
    module.History = type("History", (), {"__module__": module.__name__, "__qualname__": "History"})

    def write(path, state, **more):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module.__name__, module)
            history = module.History()
            history.best = np.float64(0.2)
            meta = {"CLASSES": ("bar",), "config": "model = dict()", "iter": 180_000, "hook_msgs": {"history": history}}
            torch.save({"meta": meta, "state_dict": state, "optimizer": {"state": {}}, **more}, path)

    return write


def test_the_student_and_the_teacher_of_a_released_fold_are_imported_and_scored(server, bench, released):
    folder, url = server
    settings, model = small_soft_teacher()
    torch.manual_seed(0)
    original = config.build(model)
    torch.nn.init.normal_(original.teacher.roi_heads.box_predictor.cls_score.bias)
    state = soft_teacher.to_published(original.state_dict())
    assert len(state) == 2 * 348
    released(folder / "fold_3.pth", state)
    settings |= {"published.url": f"{url}/fold_{{fold}}.pth", "published.file": "ours_{fold}.pth"}
    imported = bench.run("train", recipe="published/soft_teacher_5_percent.py", settings=settings, seed=3)
    assert (imported.output_root / "weights" / "ours_3.pth").is_file()
    weights, own = checkpoint.load(imported.output / checkpoint.FINAL)["model"], original.state_dict()
    assert weights.keys() == own.keys() and all(torch.equal(weights[name], own[name]) for name in own)
    found = []
    for who in ("student", "teacher"):
        for score in (0.05, 0.001):
            threshold = "inference.detector.roi_heads.box_predictor.test_score_thresh"
            evaluated = bench.run(
                "evaluate",
                [imported],
                recipe="soft_teacher/evaluate_coco_val2017.py",
                settings={"inference.inference_on": who, threshold: score},
            )
            assert record_of(evaluated).origin == "published"
            assert "coco_box.AP" in record_of(evaluated).metrics
            found.append(json.loads(gzip.decompress((evaluated.output / DETECTIONS).read_bytes())))
    assert found[0] != found[2]  # two detectors
    lowest = [min(entry["score"] for entry in entries) for entries in found]
    assert lowest[2] > 0.05 >= lowest[3] > 0.001


def test_a_plain_detector_of_mmdetection_becomes_both_and_one_of_its_first_version_is_refused(tmp_path, released):
    _, model = small_soft_teacher()
    original = config.build(model)
    state = faster_rcnn.to_published(original.student.state_dict())
    assert len(state) == 348
    released(tmp_path / "plain.pth", state)
    found = trained.load({"model": model}, tmp_path / "plain.pth", torch.device("cpu"))
    for part in (found.student, found.teacher):
        assert all(torch.equal(value, original.student.state_dict()[name]) for name, value in part.state_dict().items())
    alone = trained.load({"model": model["detector"]}, tmp_path / "plain.pth", torch.device("cpu"))
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in found.student.state_dict().items())
    released(tmp_path / "first.pth", state | {"bbox_head.fc_cls.weight": torch.zeros(9, 128)})
    released(tmp_path / "both.pth", soft_teacher.to_published(original.state_dict()))
    with pytest.raises(StageError, match=r"both\.pth does not hold .* a student and a teacher"):
        trained.load({"model": model["detector"]}, tmp_path / "both.pth", torch.device("cpu"))
    with pytest.raises(StageError, match=r"first\.pth does not hold .* mmdetection 1, which counts background first"):
        trained.load({"model": model}, tmp_path / "first.pth", torch.device("cpu"))


def test_a_fold_that_nobody_can_download_is_to_be_put_where_the_message_says(server, bench):
    folder, url = server
    (folder / "folder.html").write_text("<html>five files</html>")
    settings, _ = small_soft_teacher()
    settings["published.url"] = f"{url}/folder.html"
    work = bench.work("train", recipe="published/soft_teacher_10_percent.py", settings=settings, seed=2)
    with pytest.raises(StageError, match=r"put it at .*weights/soft_teacher_r50_10_percent_fold_2\.pth"):
        stage.run(work)


def test_nothing_of_a_published_file_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return tempfile.mkdtemp, ("", "sprung", str(tmp_path))

    torch.save({"meta": Trap(), "state_dict": {"weight": torch.ones(1)}}, tmp_path / "trap.pth")
    content = checkpoint.load_published(tmp_path / "trap.pth")
    assert isinstance(content["meta"], checkpoint.Unread) and content["state_dict"]["weight"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["trap.pth"]
    with pytest.raises(StageError, match="not a checkpoint that can be read"):
        checkpoint.load(tmp_path / "trap.pth")  # of our own files nothing is foreign
