"""Lists of the images that make up a share of the labels of COCO train2017, as files for other code bases.

Stages draw their share themselves (`repro.data.splits`) and need no list. `repro data prepare percent` writes the lists
of DETReg's Table 5, 1, 2, 5 and 10 % with five seeds, so that others can train on the same images, and says whether
they have the published sizes.
"""

from __future__ import annotations

from pathlib import Path

from repro.data import splits
from repro.data.dataset import Dataset, Progress, quiet
from repro.data.datasets import coco

PERCENT, SEEDS = (1, 2, 5, 10), (42, 43, 44, 45, 46)
HOME = coco.HOME
NAME = "coco_2017_train"


def register(root: Path | None) -> list[Dataset]:
    """No set of its own: a share is a setting of a stage (`data.percent`)."""
    return []


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Write `<root>/coco/shares/<percent>-seed<seed>.json`.

    Args:
        source: Folder that holds COCO's `annotations`; None takes `<root>/coco`.
        root: Folder of data sets.
        copy: There is nothing to copy.
        progress: Is told how far it is.

    Raises:
        DataError: The annotations of train2017 are not there.
    """
    file = (source or root / "coco") / "annotations" / "instances_train2017.json"
    ids = [image["id"] for image in coco.read_file(file, file.parent, NAME).annotations["images"]]
    done = []
    wanted = [(percent, seed) for percent in PERCENT for seed in SEEDS]
    for number, (percent, seed) in enumerate(wanted):
        progress("lists", number, len(wanted))
        chosen = splits.percent(ids, percent, seed)
        target = root / "coco" / "shares" / f"{percent}-seed{seed}.json"
        splits.save(target, chosen, percent=percent, seed=seed, dataset=NAME)
        done.append(f"wrote {target}: {len(chosen):,} of {len(ids):,} images")
    return done
