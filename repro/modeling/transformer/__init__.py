"""The deformable transformer and its seams: encoder, queries, query position, refinement."""

from .decoder import DeformableDecoder
from .deformable import DeformableTransformer
from .encoder import DeformableEncoder
from .queries import LearnedPosition, LearnedQueries
from .refine import EachLayer, NoRefinement

__all__ = [
    "DeformableDecoder",
    "DeformableEncoder",
    "DeformableTransformer",
    "EachLayer",
    "LearnedPosition",
    "LearnedQueries",
    "NoRefinement",
]
