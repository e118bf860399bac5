"""Any network of `timm <https://huggingface.co/docs/timm>`_ that has feature maps, as one of Detectron2's backbones.

Maps are named by their stride, as ResNet's are in Detectron2: ``res2`` for 4 pixels, up to ``res5`` for 32. Of several
maps of one stride (all blocks of a plain vision transformer have the same) the deepest one counts. Stages beyond the
last map asked for are not built, where timm can leave them out.

timm is optional: ``pip install timm``, or ``pip install -e '.[timm]'`` here. It is imported when a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from jaxtyping import Float
from torch import Tensor

from repro.errors import InstallError, did_you_mean

NORMS = ("FrozenBN", "BN")
FILE = "model.safetensors"  # what timm's repositories on the hub call their weights


class TimmBackbone(Backbone):
    """Images [B, 3, H, W] to a dictionary of maps [B, C, H / stride, W / stride].

    Args:
        name: timm's, such as ``resnet50`` or ``swin_tiny_patch4_window7_224``; a tag of weights (``.ms_in1k``) may
            follow, and says which settings the network is built with.
        out_features: which of ``res1`` … ``res5`` to return.
        norm: ``FrozenBN`` (constant statistics, as detectors fine-tune) or ``BN`` (to train the network itself).
            Networks without batch normalisation do not mind.
        freeze: beginnings of parameter names that are not trained, such as ``["conv1.", "layer1."]``.
        options: what else the network takes: ``{"strict_img_size": False}`` lets Swin have images of any size,
            ``{"dynamic_img_size": True, "dynamic_img_pad": True}`` a plain vision transformer, ``drop_path_rate``.
        weights: of the whole network, as `read_weights` gives them, or None for random ones.

    Raises:
        InstallError: timm is not installed.
        ValueError: there is no network, map, normalisation or parameter of such a name.
    """

    def __init__(
        self,
        name: str,
        out_features: Sequence[str] = ("res3", "res4", "res5"),
        norm: str = "FrozenBN",
        freeze: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        timm = _timm()
        if norm not in NORMS:
            raise ValueError(f"norm is {norm!r}; expected one of {NORMS}")
        settings = {"features_only": True, **(options or {})}
        indices = _indices(_create(name, settings), out_features)
        self._out_features = sorted(out_features, key=indices.__getitem__)  # timm's order
        settings["out_indices"] = [indices[feature] for feature in self._out_features]
        if weights is not None:
            settings |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(weights)}}
        net = _create(name, settings)
        self._shapes = {
            feature: ShapeSpec(channels=channels, stride=stride)
            for feature, channels, stride in zip(
                self._out_features, net.feature_info.channels(), net.feature_info.reduction(), strict=True
            )
        }
        self.channels_last = getattr(net, "output_fmt", None) == timm.layers.Format.NHWC
        self.net = timm.layers.freeze_batch_norm_2d(net) if norm == "FrozenBN" else net
        _freeze(self.net, freeze)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        """The maps named in ``out_features``."""
        maps = self.net(images)
        if self.channels_last:
            maps = [one.permute(0, 3, 1, 2).contiguous() for one in maps]
        return dict(zip(self._out_features, maps, strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and strides of the maps."""
        return dict(self._shapes)


def read_weights(name: str, file: Path, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """All weights of a network, out of a file that timm or the network's authors published, or of one's own.

    Loaded strictly into the whole network, since timm fits them to one without a classifier by passing over whatever
    does not fit.

    Args:
        name: see `TimmBackbone`.
        file: ``.safetensors`` or PyTorch's; with or without the classifier, of any number of classes.
        options: as for the backbone: a network for other images has other position embeddings, to which timm's are
            resampled.

    Raises:
        InstallError: timm is not installed.
        ValueError: the weights are not those of the network, or the file cannot be read.
    """
    timm = _timm()
    try:
        state = timm.models.load_state_dict(str(file))
    except Exception as error:  # whatever torch, pickle or safetensors raise for a broken file
        raise ValueError(f"{file} is not a checkpoint that timm can read: {error}") from error
    classes = _classes(timm, name, state)
    overlay = {"state_dict": state, "num_classes": classes}
    settings = {**(options or {}), "pretrained": True, "num_classes": classes, "pretrained_cfg_overlay": overlay}
    try:
        whole = _create(name, settings)
    except RuntimeError as error:  # torch's, with the names that are missing or left over
        raise ValueError(f"{file} does not hold the weights of timm's {name}: {error}") from error
    return dict(whole.state_dict())


def address(name: str) -> str:
    """Where timm's weights of that name are: the URL of a file.

    Raises:
        InstallError: timm is not installed.
        ValueError: there is no such network, or nobody published its weights.
    """
    timm = _timm()
    _check(timm, name)
    published = timm.models.get_pretrained_cfg(name)
    if published is None or not published.has_weights:
        raise ValueError(f"timm knows of no published weights of {name}")
    if published.hf_hub_id:
        return f"https://huggingface.co/{published.hf_hub_id}/resolve/main/{published.hf_hub_filename or FILE}"
    return str(published.url)


def _timm() -> ModuleType:
    try:
        import timm
        import timm.layers
        import timm.models
    except ImportError as error:
        raise InstallError(
            f"A timm backbone needs timm, which cannot be imported ({error}): pip install timm"
        ) from error
    return timm


def _check(timm: ModuleType, name: str) -> None:
    if not timm.is_model(name):
        raise ValueError(f"timm has no network {name!r}. {did_you_mean(name, timm.list_models()):.300}")


def _create(name: str, settings: Mapping[str, Any]) -> Any:
    timm = _timm()
    _check(timm, name)
    return timm.create_model(name, **settings)


def _indices(net: Any, wanted: Sequence[str]) -> dict[str, int]:
    """Which of timm's maps each name means."""
    found = {
        f"res{stride.bit_length() - 1}": index
        for index, stride in zip(net.feature_info.out_indices, net.feature_info.reduction(), strict=True)
    }
    if unknown := [feature for feature in wanted if feature not in found]:
        raise ValueError(f"out_features has {unknown}; this network has {sorted(found)}")
    return found


def _classes(timm: ModuleType, name: str, state: Mapping[str, Tensor]) -> int:
    """Classes of the classifier in a state dictionary; 0 where it has none."""
    _check(timm, name)
    published = timm.models.get_pretrained_cfg(name)
    head = (published and published.classifier) or ()
    for part in [head] if isinstance(head, str) else head:
        if f"{part}.weight" in state:
            return len(state[f"{part}.weight"])
        if any(entry.split(".")[0] == part.split(".")[0] for entry in state):
            return int(published.num_classes)  # under the names of its authors, which timm will change
    return 0


def _freeze(net: Any, beginnings: Sequence[str]) -> None:
    for beginning in beginnings:
        chosen = [parameter for name, parameter in net.named_parameters() if name.startswith(beginning)]
        if not chosen:
            known = sorted({name.split(".")[0] + "." for name, _ in net.named_parameters()})
            raise ValueError(f"freeze has {beginning!r}, but parameters begin with {known}")
        for parameter in chosen:
            parameter.requires_grad_(False)
