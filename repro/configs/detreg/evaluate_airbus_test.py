"""COCO box AP on 3,000 test images of Airbus Ship Detection (our split), images as on COCO val2017."""

from repro.configs.scales import combine

from ..common.evaluate_coco_val2017 import data, evaluators, run
from ..common.evaluate_coco_val2017 import scales as coco_scales

data.dataset = "airbus_test"

scales = combine(coco_scales, {size: {"data.dataset": f"ships_{size}_test"} for size in ("small", "tiny", "smoke")})
