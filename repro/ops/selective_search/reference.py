"""Selective Search in NumPy: what the operator is held to, number for number. Slow, for tiny images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import COLOUR, FILL, MIN_SIZE, PRESETS, SIZE, TEXTURE
from .views import View, view

WEIGHTS = {1: 1.0, 2: 0.5, 3: 0.3333, 4: 0.25}  # of similarities in a strategy of so many, as OpenCV has them
Pair = tuple[np.float32, int, int]


def selective_search(image: np.ndarray, preset: str) -> tuple[np.ndarray, np.ndarray]:
    """The same as `repro.ops.selective_search.selective_search`."""
    spaces, scales, strategies = PRESETS[preset]
    boxes, levels = [], []
    for space in spaces:
        seen = view(image, space)
        for scale in scales:
            labels = segment(seen.smoothed, scale, MIN_SIZE)
            for strategy in strategies:
                grouping = Grouping(labels, seen, strategy)
                grouping.run()
                boxes += grouping.boxes
                levels += grouping.levels
    return np.array(boxes, np.int32), np.array(levels, np.int32)


def segment(smoothed: np.ndarray, scale: float, min_size: int) -> np.ndarray:
    """Graph-based segmentation: labels [H, W] in the order in which a scan by rows meets them."""
    height, width = smoothed.shape[:2]
    index = np.arange(height * width).reshape(height, width)
    weights = np.full((height, width, 2), np.nan, np.float32)
    weights[:, :-1, 0], weights[:-1, :, 1] = (distance(np.diff(smoothed, axis=axis)) for axis in (1, 0))
    edges = [(w, p >> 1, (p >> 1) + (width if p & 1 else 1)) for p, w in enumerate(weights.ravel()) if w == w]
    edges.sort(key=lambda edge: edge[0])
    root = {pixel: pixel for pixel in index.ravel().tolist()}
    members = {pixel: [pixel] for pixel in root}
    limit = dict.fromkeys(root, np.float32(scale))

    def join(a: int, b: int) -> None:
        members[a] += members[b]
        root.update(dict.fromkeys(members.pop(b), a))

    for weight, p, q in edges:
        a, b = root[p], root[q]
        if a != b and weight <= limit[a] and weight <= limit[b]:
            join(a, b)
            limit[a] = weight + np.float32(scale) / np.float32(len(members[a]))
    for _, p, q in edges:
        a, b = root[p], root[q]
        if a != b and min(len(members[a]), len(members[b])) < min_size:
            join(a, b)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root[pixel], len(numbers)) for pixel in root]).reshape(height, width)


def distance(difference: np.ndarray) -> np.ndarray:
    """Length of vectors [..., C], their squares added from the first channel to the last."""
    total = np.zeros(difference.shape[:-1], np.float32)
    for channel in range(difference.shape[-1]):
        total += difference[..., channel] ** 2
    return np.sqrt(total)


def shares(bins: list[np.ndarray], count: int, labels: np.ndarray) -> list[np.ndarray]:
    """Histogram of each segment over several maps of bins, summing to 1."""
    found = []
    for label in range(labels.max() + 1):
        counts = [np.bincount(values[labels == label], minlength=count) for values in bins]
        joined = np.concatenate(counts).astype(np.float32)
        found.append(joined / np.float32(joined.sum()))
    return found


def texture_bins(gradients: np.ndarray) -> Iterator[np.ndarray]:
    """Bins 0…9 of the positive and the negative part of every map of [4, H, W, C], channel by channel."""
    for channel in range(gradients.shape[-1]):
        for axis in gradients[..., channel]:
            for part in (np.maximum(axis, 0), np.minimum(axis, 0)):
                low, high = float(part.min()), float(part.max())
                if high == low:
                    yield np.zeros(part.shape, int)
                    continue
                scale, shift = np.float32(255 / (high - low)), np.float32(-low * (255 / (high - low)))
                spread = (part.astype(np.float64) * np.float64(scale) + np.float64(shift)).astype(np.float32)
                yield np.rint(spread).astype(int) * 10 // 256


def intersection(a: np.ndarray, b: np.ndarray) -> np.float32:
    """Of two histograms, added from the first bin to the last."""
    return np.add.accumulate(np.minimum(a, b), dtype=np.float32)[-1]


class Grouping:
    """Merges segments until one region is left."""

    def __init__(self, labels: np.ndarray, seen: View, strategy: int) -> None:
        channels = range(seen.pixels.shape[-1])
        self.colour = shares([seen.pixels[..., c].astype(int) * 25 // 256 for c in channels], 25, labels)
        self.texture = shares(list(texture_bins(seen.gradients)), 10, labels)
        self.sizes = np.bincount(labels.ravel()).tolist()
        self.levels = [1] * len(self.sizes)
        self.boxes = []
        for label in range(len(self.sizes)):
            ys, xs = np.nonzero(labels == label)
            self.boxes.append((int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1))
        self.pixels, self.strategy = np.float32(labels.size), strategy
        met = ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1]), (labels[1:, 1:], labels[:-1, :-1]))
        pairs = {
            tuple(sorted(pair)) for a, b in met for pair in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
        }
        self.pairs: list[Pair] = [(self.similarity(a, b), a, b) for a, b in sorted(pairs) if a != b]

    def run(self) -> None:
        while self.pairs:
            best = max(range(len(self.pairs)), key=lambda i: (self.pairs[i][0], i))
            _, a, b = self.pairs[best]
            merged = len(self.boxes)
            self.boxes.append(self.united(a, b))
            self.levels.append(max(self.levels[a], self.levels[b]) + 1)
            self.sizes.append(self.sizes[a] + self.sizes[b])
            size_a, size_b = np.float32(self.sizes[a]), np.float32(self.sizes[b])
            for rows in (self.colour, self.texture):
                rows.append((rows[a] * size_a + rows[b] * size_b) / (size_a + size_b))
            involved = [pair for pair in self.pairs if {pair[1], pair[2]} & {a, b}]
            self.pairs = [pair for pair in self.pairs if not {pair[1], pair[2]} & {a, b}]
            others = dict.fromkeys(region for pair in involved for region in pair[1:] if region not in (a, b))
            self.pairs += [(self.similarity(merged, other), merged, other) for other in others]

    def united(self, a: int, b: int) -> tuple[int, int, int, int]:
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = self.boxes[a], self.boxes[b]
        return min(ax0, bx0), min(ay0, by0), max(ax1, bx1), max(ay1, by1)

    def similarity(self, a: int, b: int) -> np.float32:
        size = self.sizes[a] + self.sizes[b]
        x0, y0, x1, y1 = self.united(a, b)
        parts = {
            COLOUR: lambda: intersection(self.colour[a], self.colour[b]),
            FILL: lambda: self.rest((x1 - x0) * (y1 - y0) - size),
            TEXTURE: lambda: intersection(self.texture[a], self.texture[b]),
            SIZE: lambda: self.rest(size),
        }
        values = [part() for flag, part in parts.items() if self.strategy & flag]
        weight = np.float32(WEIGHTS[len(values)])
        total = weights = np.float32(0)
        for value in values:
            total, weights = total + value * weight, weights + weight
        return total / weights

    def rest(self, area: int) -> np.float32:
        return np.clip(np.float32(1) - np.float32(area) / self.pixels, np.float32(0), np.float32(1))
