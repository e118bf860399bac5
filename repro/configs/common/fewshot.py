"""Generated images in place of COCO's few-shot split at the small scales: eight classes, of which two are novel."""

from repro.data.datasets.fewshot import NOVEL_SHAPES

_SIZES = ("small", "tiny", "smoke")
base_scales = {size: {"data.dataset": f"shapes_fewshot_{size}_base"} for size in _SIZES}
train_scales = {size: {"data.dataset": f"shapes_fewshot_{size}_train"} for size in _SIZES}
test_scales = {
    size: {"data.dataset": f"shapes_fewshot_{size}_test", "evaluators.coco_fewshot.novel": list(NOVEL_SHAPES)}
    for size in _SIZES
}
