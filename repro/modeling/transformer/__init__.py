"""Two transformers, DETR's and the deformable one with its seams: encoder, queries, query position, refinement."""

from .decoder import DeformableDecoder
from .deformable import DeformableTransformer
from .detr import DETRTransformer
from .detr_decoder import DETRDecoder
from .detr_encoder import DETREncoder
from .encoder import DeformableEncoder
from .queries import LearnedPosition, LearnedQueries, LearnedSlots
from .refine import EachLayer, NoRefinement
from .two_stage import TwoStageQueries

__all__ = [
    "DETRDecoder",
    "DETREncoder",
    "DETRTransformer",
    "DeformableDecoder",
    "DeformableEncoder",
    "DeformableTransformer",
    "EachLayer",
    "LearnedPosition",
    "LearnedQueries",
    "LearnedSlots",
    "NoRefinement",
    "TwoStageQueries",
]
