"""Install Detectron2 from the best source that can be reached, and say which one that was and why.

Detectron2 is not on PyPI under its own name. In order:

1. it can be imported already: nothing is done;
2. upstream, at a pinned commit, built by pip from GitHub;
3. where GitHub cannot be reached: the Python part of ``detectron2-cdo`` 0.5 from PyPI, a third party's upload of
   Detectron2 0.5 (Apache-2.0) whose archive lacks the C++ sources. It is repaired for today's libraries and repackaged
   as the wheel ``detectron2 0.5+pure``. What needs the missing C++ (rotated boxes, deformable convolution, the fast
   COCO evaluator) raises when called; nothing here calls it.

Runs with the standard library alone, before anything of this project can be imported, in the environment of the
interpreter that runs it (torch must be in it):

    python repro/install/detectron2.py [--source auto|upstream|pure] [--archive detectron2_cdo-0.5.tar.gz]
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import NamedTuple

COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"  # June 2026, calls itself 0.6
UPSTREAM = "https://github.com/facebookresearch/detectron2"
SDIST = "detectron2-cdo==0.5"
PURE_VERSION = "0.5+pure"


class Repair(NamedTuple):
    """One textual mend of the 0.5 sources."""

    file: str
    pattern: str
    replacement: str
    why: str


REPAIRS = (
    Repair("data/transforms/transform.py", r"Image\.LINEAR", "Image.BILINEAR", "Pillow 10 removed the alias"),
    Repair("model_zoo/model_zoo.py", r"import pkg_resources", "import importlib.resources", "setuptools 81 removed it"),
    Repair(
        "model_zoo/model_zoo.py",
        r'pkg_resources\.resource_filename\(\s*"detectron2\.model_zoo", os\.path\.join\("configs", config_path\)\s*\)',
        'str(importlib.resources.files("detectron2.model_zoo").joinpath("configs", config_path))',
        "setuptools 81 removed it",
    ),
    Repair("data/build.py", r"np\.int\b", "int", "NumPy 1.24 removed the alias"),
    Repair("evaluation/sem_seg_evaluation.py", r"np\.(int|float)\b", r"\1", "NumPy 1.24 removed the alias"),
    Repair("data/datasets/pascal_voc.py", r"np\.str\b", "str", "NumPy 1.24 removed the alias"),
    Repair(
        "engine/train_loop.py",
        r"from torch\.cuda\.amp import GradScaler\n(\s*)\n(\s*)grad_scaler = GradScaler\(\)",
        r'from torch.amp import GradScaler\n\1\n\2grad_scaler = GradScaler("cuda")',
        "torch.cuda.amp is deprecated",
    ),
    Repair("engine/train_loop.py", r"from torch\.cuda\.amp import autocast", "from torch.amp import autocast", "same"),
    Repair("engine/train_loop.py", r"with autocast\(\):", 'with autocast("cuda"):', "same"),
    Repair(
        "checkpoint/detection_checkpoint.py",
        r"torch\.load\(f\)",
        "torch.load(f, weights_only=False)",
        "torch 2.6 refuses pickled NumPy scalars otherwise",
    ),
)

NOT_COMPILED = '''"""Stands in for the C++ extension, which this repackaging does not have."""


def get_compiler_version():
    return "not compiled (pure-Python repackaging)"


def get_cuda_version():
    return "not compiled"


def has_cuda():
    return False


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args, **kwargs):
        raise RuntimeError(
            f"detectron2._C.{name} is not compiled: this is Detectron2 0.5+pure, its Python part alone. "
            "Where GitHub can be reached, `python repro/install/detectron2.py --source upstream` builds the whole."
        )

    return missing
'''


class InstallationError(RuntimeError):
    """No source of Detectron2 could be installed; the message says what was tried."""


def installed() -> str | None:
    """Version of the importable Detectron2, or None."""
    here = Path(__file__).resolve().parent  # on sys.path when this file is run, and it would find itself
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != here]
    if importlib.machinery.PathFinder.find_spec("detectron2", elsewhere) is None:
        return None
    try:
        return importlib.metadata.version("detectron2")
    except importlib.metadata.PackageNotFoundError:
        return "unknown version"


def reachable(url: str, seconds: float = 10.0) -> str | None:
    """None when ``url`` answers (through the proxies of the environment), else the reason why not."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):
            return None
    except (urllib.error.URLError, OSError) as error:
        return str(getattr(error, "reason", error))


def pip(*arguments: str) -> None:
    """Run pip in this interpreter's environment.

    Raises:
        subprocess.CalledProcessError: pip failed; its output went to the terminal.
    """
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


def install_upstream() -> None:
    """Build the pinned upstream commit: about a minute on two cores without a GPU."""
    pip("install", "--no-build-isolation", "--no-deps", f"detectron2 @ git+{UPSTREAM}.git@{COMMIT}")


def install_pure(archive: Path | None = None) -> None:
    """Repair and install the Python part of Detectron2 0.5.

    Args:
        archive: the source distribution, where it was fetched by other means; else pip downloads it.
    """
    with tempfile.TemporaryDirectory(prefix="detectron2-") as folder:
        work = Path(folder)
        if archive is None:
            # pip runs its setup.py for the metadata, which imports torch and pkg_resources.
            pip("download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "-d", folder, SDIST)
            archive = next(work.glob("detectron2*cdo-*.tar.gz"))
        wheel = make_wheel(archive, work)
        pip("install", "-q", "--no-deps", "--force-reinstall", str(wheel))


def make_wheel(archive: Path, folder: Path) -> Path:
    """Turn the source distribution into a repaired pure-Python wheel.

    Raises:
        InstallationError: the archive is not the one that the repairs were written for.
    """
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "source", filter="data")
    root = next((folder / "source").iterdir())
    package = root / "detectron2"
    for repair in REPAIRS:
        apply(repair, package)
    (package / "_C.py").write_text(NOT_COMPILED)
    init = package / "__init__.py"
    init.write_text(re.sub(r'__version__ = "[^"]*"', f'__version__ = "{PURE_VERSION}"', init.read_text()))

    info = f"detectron2-{PURE_VERSION}.dist-info"
    contents = {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(package.rglob("*")) if p.is_file()}
    contents[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: detectron2\nVersion: {PURE_VERSION}\nLicense: Apache-2.0\n"
        f"Summary: Python part of Detectron2 0.5, repaired by repro from {SDIST}\nHome-page: {UPSTREAM}\n"
    ).encode()
    contents[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: repro\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{info}/LICENSE"] = (root / "LICENSE").read_bytes()
    contents[f"{info}/top_level.txt"] = b"detectron2\n"
    record = "".join(f"{name},sha256={digest(data)},{len(data)}\n" for name, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()

    wheel = folder / f"detectron2-{PURE_VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in contents.items():
            zipped.writestr(name, data)
    return wheel


def apply(repair: Repair, package: Path) -> None:
    """Mend one file in place.

    Raises:
        InstallationError: there is nothing to mend, so this is another version of the file.
    """
    path = package / repair.file
    text, count = re.subn(repair.pattern, repair.replacement, path.read_text())
    if not count:
        raise InstallationError(f"{repair.file}: /{repair.pattern}/ does not occur; is this {SDIST}?")
    path.write_text(text)


def digest(data: bytes) -> str:
    """Hash of a file in the form that a wheel's RECORD wants."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def install(source: str = "auto", archive: Path | None = None) -> str:
    """Install Detectron2 and return one sentence about what was done.

    Args:
        source: ``auto`` keeps what is there and prefers upstream; ``upstream`` and ``pure`` force one source.
        archive: the 0.5 source distribution, when it is at hand.

    Raises:
        InstallationError: nothing could be installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise InstallationError("torch is not installed in this environment; Detectron2 is built against it.")
    if source == "auto":
        version = installed()
        if version is not None:
            return f"Detectron2 {version} is already installed."
    reasons = []
    if source in ("auto", "upstream"):
        reason = reachable(UPSTREAM)
        if reason is None:
            try:
                install_upstream()
                return f"Detectron2 built from upstream commit {COMMIT[:12]}."
            except subprocess.CalledProcessError as error:
                reason = f"pip ended with status {error.returncode}"
        reasons.append(f"upstream: {reason}")
    if source in ("auto", "pure"):
        try:
            install_pure(archive)
            because = f" ({'; '.join(reasons)})" if reasons else ""
            return f"Detectron2 {PURE_VERSION} made from {SDIST}{because}."
        except (subprocess.CalledProcessError, StopIteration, tarfile.TarError) as error:
            reasons.append(f"pure: {error}")
    raise InstallationError("Detectron2 could not be installed. " + "; ".join(reasons))


def main() -> int:
    """Command line; exit status 0 when Detectron2 is there afterwards."""
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", choices=("auto", "upstream", "pure"), default="auto")
    parser.add_argument("--archive", type=Path, help="detectron2_cdo-0.5.tar.gz, where pip cannot download it")
    arguments = parser.parse_args()
    try:
        print(install(arguments.source, arguments.archive))
    except InstallationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
