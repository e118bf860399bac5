"""Published weights: from a server, from a folder, or a message that says where to put them."""

import functools
import hashlib
import http.server
import threading

import pytest
import torch
import torchvision

from repro.engine import checkpoint, published, stage
from repro.errors import StageError

from .conftest import record_of


@pytest.fixture
def server(tmp_path):
    """A folder and the URL that serves it."""
    folder = tmp_path / "published"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


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


def test_weights_of_another_network_are_refused(server, bench):
    folder, url = server
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "resnet18.pth")
    settings = {"encoder.source": "published", "encoder.url": f"{url}/resnet18.pth", "encoder.sha256": None}
    work = bench.work("encoder", recipe="common/encoder_supervised.py", settings=settings)  # of width 16
    with pytest.raises(StageError, match="does not fit the backbone"):
        stage.run(work)
