"""HTC++ on Swin-L with all of COCO's labels: Xu et al. 2021, Tables 1 and 4, "supervised".

Expect 57.1 AP of boxes and 49.6 of masks at one scale, 58.2 and 50.5 at several. What of it is ours, and what is not
there, is said in `common/htc_swin_l.py`.
"""

from repro.configs.scales import combine

from ..common.coco_mask import labelled as data
from ..common.coco_mask import scales as data_scales
from ..common.htc_swin_l import init, model
from ..common.htc_swin_l import scales as model_scales
from ..common.htc_train import optimizer, train
from ..common.htc_train import scales as train_scales
from ..common.run import run
from ..common.run import scales as run_scales

scales = combine(run_scales, train_scales, model_scales, data_scales, {"smoke": {"data.percent": 25}})
