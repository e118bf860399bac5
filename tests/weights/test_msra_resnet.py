"""MSRA's pickled ResNets: names as Detectron2 translates them, the same numbers, and no code run from a pickle."""

import os
import pickle

import numpy as np
import pytest
import torch
from detectron2.checkpoint.c2_model_loading import convert_basic_c2_names

from repro.errors import StageError
from repro.modeling.backbone import resnet
from repro.weights import msra_resnet, pickles

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def published(depth, network):
    """Caffe2's blobs of a network, as arrays."""
    own = network.state_dict()
    state = {"fc1000_w": np.zeros((1000, 8), np.float32), "fc1000_b": np.zeros(1000, np.float32)}
    state["conv1_b"] = np.zeros(64, np.float32)

    def put(blob, name, bn="{}_bn"):
        state[f"{blob}_w"] = own[f"{name}.weight"].numpy()
        state[f"{bn.format(blob)}_s"] = own[f"{name}.norm.weight"].numpy()
        state[f"{bn.format(blob)}_b"] = own[f"{name}.norm.bias"].numpy()

    put("conv1", "stem.conv1", "res_{}_bn")
    for stage, count in enumerate(BLOCKS[depth], 2):
        for block in range(count):
            for index, letter in enumerate("abc", 1):
                put(f"res{stage}_{block}_branch2{letter}", f"res{stage}.{block}.conv{index}")
        put(f"res{stage}_0_branch1", f"res{stage}.0.shortcut")
    return state


@pytest.mark.parametrize("depth", BLOCKS)
def test_converted_weights_fit_exactly(depth, tmp_path):
    network = resnet(depth, width=8, stride_in_1x1=True)
    for name, value in network.state_dict().items():
        if name.endswith(("norm.weight", "norm.bias")):
            value.normal_()
    blobs = published(depth, network)
    (tmp_path / "R.pkl").write_bytes(pickle.dumps({"model": blobs, "__author__": "Caffe2"}, protocol=2))
    found = msra_resnet.convert(pickles.read(tmp_path / "R.pkl")["model"])
    own = network.state_dict()  # statistics as Detectron2 initialises them, which makes scale and shift all there is
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], own[name]) for name in own)


def test_names_are_those_that_detectron2_gives():
    names = [name for name in published(50, resnet(50, width=8)) if not msra_resnet.DROPPED.search(name)]
    assert [msra_resnet.rename(name) for name in names] == convert_basic_c2_names(names)


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("content", [pickle.dumps({"model": Evil()}), b"not a pickle", b""])
def test_what_is_no_file_of_weights_is_refused(tmp_path, content):
    (tmp_path / "R.pkl").write_bytes(content)
    with pytest.raises(StageError, match=r"R.pkl is not a file of weights"):
        pickles.read(tmp_path / "R.pkl")
