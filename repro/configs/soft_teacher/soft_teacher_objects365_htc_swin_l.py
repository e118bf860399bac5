"""Soft Teacher around HTC++ on Swin-L that was pre-trained with Objects365: Xu et al. 2021, Table 1, "ours*".

Expect 60.1 AP of boxes and 51.9 of masks at one scale, 60.7 and 52.5 at several. Ours, as all of its pretraining: the
schedule is that without it, and class scores, mask heads and semantic branch start anew.
"""

from .soft_teacher_htc_swin_l import data, model, optimizer, run, scales, train

init = {"pretrain": {"into": {"student": ["cls_score", "mask", "semantic_head"]}}}  # the teacher follows at the start
