"""RT-DETR (Zhao et al., CVPR 2024) and RT-DETRv2 (Lv et al. 2024), by backbone; rows of tables call them S to X."""
