"""Decoding gives PIL's pixels whatever the file, and broken files are told from sound ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from repro.data.images import probe, read_image


@pytest.fixture
def picture() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((64, 48), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "mode, name, tolerance",
    [
        ("RGB", "a.jpg", 0),
        ("L", "a.jpg", 0),
        ("CMYK", "a.jpg", 1),
        ("RGBA", "a.png", 0),
        ("P", "a.png", 0),
        ("L", "a.png", 0),
    ],
)
def test_pixels_are_those_of_pil(tmp_path, picture, mode, name, tolerance):
    file = tmp_path / name
    picture.convert(mode).save(file)
    expected = np.asarray(Image.open(file).convert("RGB")).astype(int)
    assert abs(read_image(file).astype(int) - expected).max() <= tolerance
    assert abs(read_image(file, "BGR")[..., ::-1].astype(int) - expected).max() <= tolerance
    assert probe(file) == ((48, 64), None)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_orientation_is_not_applied(tmp_path, picture, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save(tmp_path / name, exif=exif)
    assert read_image(tmp_path / name).shape == (48, 64, 3)


@pytest.mark.parametrize(
    "name, left",
    [("a.jpg", left) for left in (0, 1, 100, -1, -2, -40)] + [("a.png", left) for left in (0, 1, 100, -40)],
)
def test_truncated_files_are_found_without_a_deep_look(tmp_path, picture, name, left):
    file = tmp_path / name
    picture.save(file, quality=95)
    content = file.read_bytes()
    file.write_bytes(content[:left] if left else b"")
    assert probe(file)[1] in ("truncated or not an image", "empty file")
    with pytest.raises(OSError, match=name):
        read_image(file)


def test_bytes_after_the_end_are_forgiven(tmp_path, picture):
    picture.save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    for tail in (b"\x00" * 7, b"camera" * 50):
        (tmp_path / "a.jpg").write_bytes(content + tail)
        assert probe(tmp_path / "a.jpg") == ((48, 64), None)


def test_damage_in_the_middle_takes_a_deep_look(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(content)
    assert probe(tmp_path / "a.png")[1] is None
    assert probe(tmp_path / "a.png", deep=True)[1] == "truncated or not an image"


def test_missing_file(tmp_path):
    assert probe(tmp_path / "none.jpg") == (None, "missing image")
