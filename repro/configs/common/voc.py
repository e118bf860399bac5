"""Generated images in place of PASCAL VOC at the small scales: shapes, of which the small ones are difficult."""

train_scales = {size: {"data.dataset": f"shapes_voc_{size}_train"} for size in ("small", "tiny", "smoke")}
test_scales = {size: {"data.dataset": f"shapes_voc_{size}_test"} for size in ("small", "tiny", "smoke")}
