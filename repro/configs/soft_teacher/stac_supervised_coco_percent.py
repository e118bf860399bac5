"""STAC's supervised detector on a share of the COCO labels, which is also its first stage (Sohn et al. 2020).

Expect 9.05, 18.47 and 23.86 AP with 1, 5 and 10 % of the labels (STAC's own Table 1, as we recall it).
"""

from repro.configs.scales import combine

from ..common.run import run
from ..common.run import scales as run_scales
from ..common.stac_r50 import labelled as data
from ..common.stac_r50 import model, optimizer, train, train_scales

init = {"encoder": {"into": {"backbone.bottom_up": []}}}

data.percent = 1  # columns of the table set this

scales = combine(run_scales, train_scales)
