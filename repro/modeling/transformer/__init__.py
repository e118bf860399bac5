"""The transformers and their seams: encoder, queries, query position, refinement."""

from .decoder import DeformableDecoder
from .deformable import DeformableTransformer
from .denoising import ContrastiveDenoising
from .detr import DETRTransformer
from .detr_decoder import DETRDecoder
from .detr_encoder import DETREncoder
from .encoder import DeformableEncoder
from .queries import BoxPosition, LearnedPosition, LearnedQueries, LearnedSlots
from .refine import EachLayer, LookForwardTwice, NoRefinement
from .rtdetr import RTDETRTransformer
from .selection import EncoderQueries
from .two_stage import TwoStageQueries

__all__ = [
    "BoxPosition",
    "ContrastiveDenoising",
    "DETRDecoder",
    "DETREncoder",
    "DETRTransformer",
    "DeformableDecoder",
    "DeformableEncoder",
    "DeformableTransformer",
    "EachLayer",
    "EncoderQueries",
    "LearnedPosition",
    "LearnedQueries",
    "LearnedSlots",
    "LookForwardTwice",
    "NoRefinement",
    "RTDETRTransformer",
    "TwoStageQueries",
]
