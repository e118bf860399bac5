"""STAC's supervised detector on a share of the COCO labels, which is also its first stage (Sohn et al. 2020).

Expect 23.86 AP with 10 % of the labels (STAC's abstract); 9.05 and 18.47 with 1 and 5 % (its Table 1, as we recall it).
"""

from repro.configs.scales import combine

from ..common.run import run
from ..common.run import scales as run_scales
from ..common.stac_r50 import labelled as data
from ..common.stac_r50 import model, optimizer, train, train_scales

init = {"encoder": {"into": {"backbone.bottom_up": []}}}

data.percent = 1  # columns of the table set this

scales = combine(run_scales, train_scales)
