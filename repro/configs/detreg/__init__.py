"""DETReg (Bar et al., CVPR 2022)."""
