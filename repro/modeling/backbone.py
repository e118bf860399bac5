"""ResNets of any width and depth from Detectron2's blocks, with the parameter names of its checkpoints.

With ``presnet.py``, ``timm_backbone.py`` and ``contract.py``, all of ``modeling`` that imports Detectron2. Detectron2's
own builder takes a configuration node and knows the published sizes only; small models for tests and small scales need
narrow and shallow ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, BottleneckBlock, ResNet

# Blocks in res2 … res5. Depth 10 has one basic block a stage: the least that has all strides.
BASIC = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(
    depth: int,
    width: int = 64,
    norm: str = "FrozenBN",
    freeze_at: int = 2,
    out_features: Sequence[str] = ("res3", "res4", "res5"),
    stride_in_1x1: bool = False,
    dilate_res5: bool = False,
) -> ResNet:
    """A residual network; stages beyond the last of ``out_features`` are not built.

    Args:
        depth: 10, 18 or 34 (basic blocks); 14, 26, 50, 101 or 152 (bottlenecks, four times the channels).
        width: channels of the stem and of res2's 3×3 convolutions, doubled in each further stage; published: 64.
        norm: ``FrozenBN`` (constant statistics, as detectors fine-tune) or ``BN`` (to train the network itself).
        freeze_at: 0 trains everything, 1 freezes the stem, 2 also res2, up to 5.
        out_features: which of ``stem``, ``res2`` … ``res5`` to return.
        stride_in_1x1: where bottlenecks stride; false as in torchvision, true as in the first published Caffe weights.
        dilate_res5: keep res4's resolution in res5 and dilate its 3×3 convolutions by two instead ("DC5"), all but the
            first one, as torchvision does and DETR was published with. Bottlenecks only.

    Raises:
        ValueError: there is no network of that depth, no stage of such a name, or no dilation of such blocks.
    """
    if depth not in BASIC and depth not in BOTTLENECK:
        raise ValueError(f"depth is {depth}; expected one of {sorted({*BASIC, *BOTTLENECK})}")
    names = ["stem", "res2", "res3", "res4", "res5"]
    if unknown := [name for name in out_features if name not in names]:
        raise ValueError(f"out_features has {unknown}; expected some of {names}")
    if dilate_res5 and depth not in BOTTLENECK:
        raise ValueError(f"dilate_res5 needs bottlenecks, depth one of {sorted(BOTTLENECK)}, not {depth}")
    blocks = {**BASIC, **BOTTLENECK}[depth]
    num_stages = max(names.index(name) for name in out_features)
    stem = BasicStem(in_channels=3, out_channels=width, norm=norm)
    stages, in_channels = [], width
    for index in range(num_stages):
        channels = width * 2**index
        settings = {"norm": norm, "in_channels": in_channels, "out_channels": channels}
        block_class = BasicBlock
        if depth in BOTTLENECK:
            block_class = BottleneckBlock
            settings |= {"out_channels": 4 * channels, "bottleneck_channels": channels, "stride_in_1x1": stride_in_1x1}
        dilated = dilate_res5 and index == 3
        if dilated:
            settings["dilation_per_block"] = [1, *[2] * (blocks[index] - 1)]
        strides = [1 if index == 0 or dilated else 2, *[1] * (blocks[index] - 1)]
        stages.append(ResNet.make_stage(block_class, blocks[index], stride_per_block=strides, **settings))
        in_channels = settings["out_channels"]
    return ResNet(stem, stages, out_features=list(out_features)).freeze(freeze_at)
