"""Published weights: from a server, from a folder, or a message that says where to put them."""

import argparse
import hashlib

import pytest
import timm
import torch
import torchvision

from repro.engine import checkpoint, published, stage
from repro.errors import StageError
from repro.modeling import timm_backbone

from .conftest import record_of


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_downloaded_once_and_checked(server, tmp_path):
    folder, url = server
    (folder / "weights.pth").write_bytes(b"abc" * 1000)
    here = tmp_path / "here"
    path = published.fetch(f"{url}/weights.pth", digest(folder / "weights.pth")[:8], here)
    assert path.read_bytes() == b"abc" * 1000
    (folder / "weights.pth").unlink()
    assert published.fetch(f"{url}/weights.pth", None, here) == path  # no second download
    assert [file.name for file in here.iterdir()] == ["weights.pth"]


def test_another_file_than_was_published_is_refused(server, tmp_path):
    folder, url = server
    (folder / "weights.pth").write_bytes(b"abc")
    with pytest.raises(StageError, match=r"has SHA-256 .*, not 00000000"):
        published.fetch(f"{url}/weights.pth", "00000000", tmp_path / "here")


@pytest.mark.parametrize("name", ["missing.pth", "short.pth"])
def test_without_the_file_the_message_says_where_to_put_it(server, tmp_path, name, monkeypatch):
    folder, url = server
    (folder / "short.pth").write_bytes(b"abc")
    if name == "short.pth":
        real = published.shutil.copyfileobj
        monkeypatch.setattr(published.shutil, "copyfileobj", lambda source, target: real(_half(source), target))
    with pytest.raises(StageError) as error:
        published.fetch(f"{url}/{name}", None, tmp_path / "here")
    assert f"{url}/{name}" in str(error.value)
    assert f"put it at {tmp_path / 'here' / name}" in str(error.value)
    assert list((tmp_path / "here").iterdir()) == []


def _half(source):
    import io

    return io.BytesIO(source.read(1))


def test_an_encoder_stage_imports_published_weights(server, bench):
    """As at paper scale: torchvision's names come in, Detectron2's go out, and the record says where they are from."""
    folder, url = server
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, folder / "resnet18.pth")
    settings = {
        "encoder.source": "published",
        "encoder.url": f"{url}/resnet18.pth",
        "encoder.sha256": digest(folder / "resnet18.pth")[:8],
        "model.backbone.width": 64,
    }
    work = bench.run("encoder", recipe="common/encoder_supervised.py", settings=settings)
    weights = checkpoint.load(work.output / checkpoint.FINAL)["model"]
    assert torch.equal(weights["res3.0.conv1.weight"], state["layer2.0.conv1.weight"])
    assert torch.equal(weights["stem.conv1.norm.running_var"], state["bn1.running_var"])
    assert record_of(work).origin == "published"
    assert record_of(work).implementation["weights"] == f"sha256:{digest(folder / 'resnet18.pth')}"


def test_weights_of_another_network_are_refused(server, bench):
    folder, url = server
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "resnet18.pth")
    settings = {"encoder.source": "published", "encoder.url": f"{url}/resnet18.pth", "encoder.sha256": None}
    work = bench.work("encoder", recipe="common/encoder_supervised.py", settings=settings)  # of width 16
    with pytest.raises(StageError, match="does not fit the backbone"):
        stage.run(work)


def test_a_file_of_ones_own_is_read_where_it_lies(tmp_path, bench):
    """Weights under a prefix, as self-supervised methods publish theirs, beside values that are no tensors."""
    state = torchvision.models.resnet18(weights=None).state_dict()
    file = tmp_path / "moco.pth"
    prefixed = {f"module.encoder_q.{name}": value for name, value in state.items()} | {"module.queue": torch.zeros(2)}
    torch.save({"state_dict": prefixed, "args": argparse.Namespace(lr=0.1), "epoch": 3}, file)
    settings = {
        "encoder.source": "published",
        "encoder.url": str(file),
        "encoder.sha256": digest(file),
        "encoder.key": "state_dict",
        "encoder.prefix": "module.encoder_q.",
        "model.backbone.width": 64,
    }
    recipe = "common/encoder_checkpoint.py"
    weights = checkpoint.load(bench.run("encoder", recipe=recipe, settings=settings).output / checkpoint.FINAL)["model"]
    assert torch.equal(weights["res5.1.conv2.weight"], state["layer4.1.conv2.weight"])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"encoder.url": ""}, "neither a URL nor an absolute path"),
        ({"encoder.url": "/nowhere/weights.pth"}, "There is no file /nowhere/weights.pth"),
        ({"encoder.url": "HERE"}, "whole sha256.*It is [0-9a-f]{64}"),
        ({"encoder.url": "HERE", "encoder.sha256": "0" * 64}, "it was changed, or the recipe is of another"),
        ({"encoder.key": "state_dcit"}, "has no 'state_dcit'. Did you mean state_dict"),
        ({"encoder.prefix": "module."}, "no weights whose names begin with 'module.'"),
        ({"encoder.source": "torchvision"}, "expected one of published, timm"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_file_of_ones_own_is_said(tmp_path, bench, settings, complaint):
    file = tmp_path / "own.pth"
    torch.save({"state_dict": {"a": torch.zeros(1)}}, file)
    right = {"encoder.url": str(file), "encoder.sha256": digest(file), "encoder.key": "state_dict"}
    chosen = {"encoder.source": "published", **(right if "encoder.url" not in settings else {}), **settings}
    chosen = {key: str(file) if value == "HERE" else value for key, value in chosen.items()}
    with pytest.raises(StageError, match=complaint):
        stage.run(bench.work("encoder", recipe="common/encoder_checkpoint.py", settings=chosen))


def test_detreg_learns_from_a_network_of_timms(server, bench, monkeypatch):
    """As at paper scale: timm says where, the file is downloaded, and backbone and target encoder start from it."""
    folder, url = server
    whole = timm.create_model("test_resnet", num_classes=11)
    torch.save({"state_dict": whole.state_dict()}, folder / "published.pth")
    monkeypatch.setattr(timm_backbone, "address", lambda name: f"{url}/published.pth")
    encoder = bench.run("encoder", recipe="common/encoder_timm.py", settings={"encoder.source": "timm"})
    assert record_of(encoder).origin == "published"
    assert (encoder.output_root / "weights").is_dir()
    propose = bench.run("propose")
    pretrain = bench.run("pretrain", [encoder, propose], recipe="detreg/pretrain_coco_timm.py")
    weights = checkpoint.load(pretrain.output / checkpoint.FINAL)["model"]
    expected = whole.layer2[0].conv1.weight
    assert torch.equal(weights["target_encoder.net.layer2.0.conv1.weight"], expected)
    assert torch.equal(weights["backbone.net.layer2.0.conv1.weight"], expected)  # frozen in pretraining
    finetune = bench.run("finetune", [pretrain], recipe="detreg/finetune_coco_percent_timm.py")
    assert record_of(finetune).metrics["last.loss_ce"] > 0


@pytest.mark.parametrize("source", ["trained", "timm"])
def test_a_timm_network_can_be_trained_here_or_must_be_downloaded(bench, source, monkeypatch):
    monkeypatch.setattr(timm_backbone, "address", lambda name: "http://127.0.0.1:9/model.safetensors")
    work = bench.work("encoder", recipe="common/encoder_timm.py", settings={"encoder.source": source})
    if source == "trained":
        stage.run(work)
        assert "net.layer4.0.conv1.weight" in checkpoint.load(work.output / checkpoint.FINAL)["model"]
        return
    with pytest.raises(StageError, match=r"cannot be downloaded .* put it at .*weights/test_resnet.safetensors"):
        stage.run(work)


def test_timm_weights_need_a_timm_backbone(bench):
    work = bench.work("encoder", recipe="common/encoder_supervised.py", settings={"encoder.source": "timm"})
    with pytest.raises(StageError, match="not a TimmBackbone"):
        stage.run(work)
