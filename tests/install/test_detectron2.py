"""The installer's own steps, on a small archive of the same layout as detectron2-cdo 0.5."""

import base64
import hashlib
import http.server
import importlib.util
import io
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "repro" / "install" / "detectron2.py"
spec = importlib.util.spec_from_file_location("install_detectron2", SCRIPT)
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)

SOURCES = {
    "__init__.py": '__version__ = "0.5"\n',
    "data/transforms/transform.py": "def f(interp=Image.LINEAR): return interp\n",
    "model_zoo/model_zoo.py": "import pkg_resources\n"
    'cfg = pkg_resources.resource_filename(\n    "detectron2.model_zoo", os.path.join("configs", config_path)\n)\n',
    "data/build.py": "a = np.int\nb = np.int64\n",
    "evaluation/sem_seg_evaluation.py": "a = np.int\nb = np.float\n",
    "data/datasets/pascal_voc.py": "a = np.str\n",
    "engine/train_loop.py": "from torch.cuda.amp import GradScaler\n\ngrad_scaler = GradScaler()\n"
    "from torch.cuda.amp import autocast\nwith autocast():\n    x = 1\n",
    "checkpoint/detection_checkpoint.py": "data = torch.load(f)\n",
}


def archive(folder: Path, sources: dict[str, str]) -> Path:
    path = folder / "detectron2_cdo-0.5.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        files = {f"detectron2/{name}": text for name, text in sources.items()} | {"LICENSE": "Apache-2.0\n"}
        for name, text in files.items():
            member = tarfile.TarInfo(f"detectron2_cdo-0.5/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def test_wheel_holds_repaired_sources_and_a_true_record(tmp_path):
    wheel = install.make_wheel(archive(tmp_path, SOURCES), tmp_path)
    with zipfile.ZipFile(wheel) as zipped:
        read = {name: zipped.read(name) for name in zipped.namelist()}
    assert b"Image.BILINEAR" in read["detectron2/data/transforms/transform.py"]
    assert read["detectron2/data/build.py"] == b"a = int\nb = np.int64\n"
    assert read["detectron2/evaluation/sem_seg_evaluation.py"] == b"a = int\nb = float\n"
    assert b'with autocast("cuda"):' in read["detectron2/engine/train_loop.py"]
    assert b'GradScaler("cuda")' in read["detectron2/engine/train_loop.py"]
    assert b"weights_only=False" in read["detectron2/checkpoint/detection_checkpoint.py"]
    assert b"0.5+pure" in read["detectron2/__init__.py"]
    for name in ("model_zoo/model_zoo.py", "engine/train_loop.py"):
        compile(read[f"detectron2/{name}"], name, "exec")
    assert b"pkg_resources" not in read["detectron2/model_zoo/model_zoo.py"]
    lines = read["detectron2-0.5+pure.dist-info/RECORD"].decode().splitlines()
    assert len(lines) == len(read)
    for line in lines[:-1]:
        name, sha, size = line.split(",")
        true = base64.urlsafe_b64encode(hashlib.sha256(read[name]).digest()).rstrip(b"=").decode()
        assert (sha, int(size)) == (f"sha256={true}", len(read[name]))


def test_another_version_of_the_sources_is_refused(tmp_path):
    sources = SOURCES | {"data/build.py": "a = int\n"}
    with pytest.raises(install.InstallationError, match=r"data/build\.py"):
        install.make_wheel(archive(tmp_path, sources), tmp_path)


def test_reachable_tells_a_server_from_none():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    assert install.reachable(url) is None
    server.shutdown()
    server.server_close()
    assert "refused" in install.reachable(url).lower()


def test_script_finds_the_package_and_not_itself():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Detectron2 ") and "already installed" in done.stdout
    assert "unknown version" not in done.stdout
    bare = subprocess.run([sys.executable, "-I", "-S", str(SCRIPT)], capture_output=True, text=True)
    assert bare.returncode == 1
    assert "torch is not installed" in bare.stderr


def test_installed_detectron2_trains_a_step_of_mask_rcnn():
    """What the project rests on works: proposals, RoIAlign and NMS through torchvision, losses, gradients."""
    import torch
    from detectron2.config import get_cfg
    from detectron2.model_zoo import get_config_file
    from detectron2.modeling import build_model
    from detectron2.structures import BitMasks, Boxes, Instances
    from detectron2.utils.events import EventStorage

    cfg = get_cfg()
    cfg.merge_from_file(get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    torch.manual_seed(0)
    model = build_model(cfg)
    truth = Instances((64, 64))
    truth.gt_boxes = Boxes(torch.tensor([[8.0, 8.0, 40.0, 48.0]]))
    truth.gt_classes = torch.tensor([1])
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[0, 8:48, 8:40] = True
    truth.gt_masks = BitMasks(masks)
    with EventStorage():
        losses = model([{"image": torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8), "instances": truth}])
    assert {"loss_rpn_cls", "loss_cls", "loss_box_reg", "loss_mask"} <= set(losses)
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)
    assert model.backbone.bottom_up.res4[0].conv1.weight.grad.abs().sum() > 0
