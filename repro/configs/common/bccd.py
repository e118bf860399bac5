"""BCCD's photographs of blood cells, 640×480, at the small scales: smaller views of them, and never other images.

A red cell is then about 20 pixels wide, a platelet 8. With up to 30 cells in an image there are twice as many queries.
"""

small = {
    "data.mapper.augmentation.short_edges": [112, 128, 144],
    "data.mapper.augmentation.max_size": 192,
    "data.mapper.augmentation.crop_short_edges": [128, 160],
    "data.mapper.augmentation.crop_size": [96, 144],
    "data.mapper.cache_images": True,
}
tiny = {
    "data.mapper.augmentation.short_edges": [88, 96],
    "data.mapper.augmentation.max_size": 128,
    "data.mapper.augmentation.crop_short_edges": [96, 120],
    "data.mapper.augmentation.crop_size": [72, 96],
}
view_scales = {"small": small, "tiny": tiny}
query_scales = {"small": {"model.transformer.queries.num_queries": 60}}
