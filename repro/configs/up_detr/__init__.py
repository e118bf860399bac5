"""UP-DETR (Dai et al., CVPR 2021), a baseline of other papers."""
