"""DETReg's Deformable DETR as its authors pretrained it on ImageNet-1k for 5 epochs (Bar et al. 2022, Sec. 4).

Its class head knows objects only, by an index that is our class 0. The head of the embeddings is left behind: what is
imported is a detector, to be fine-tuned or asked where objects are.
"""

from .detreg_coco import model, published, run

published.url = "https://github.com/amirbar/DETReg/releases/download/1.0.0/checkpoint_imagenet.pth"
published.drop = ["embedding_head"]
