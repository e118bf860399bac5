"""Frames a second as a metric: what is measured of a model without images, and by which library."""

import pytest
import torch

from repro.errors import ExportError
from repro.evaluation.latency import Evaluator
from repro.meta_arch import rtdetr

CPU = torch.device("cpu")


def test_numbers_agree_and_say_what_they_are_of():
    found = Evaluator(["eager"], "fp32", [64, 96], warmup=1, repeats=5).measure(rtdetr.example(), CPU)
    assert found.metrics["fps"] == pytest.approx(1000 / found.metrics["median"])
    assert 0 < found.metrics["p10"] <= found.metrics["median"] <= found.metrics["p90"]
    assert found.metrics["repeats"] == 5
    assert (found.implementation, found.machine) == ("eager fp32", {"threads": torch.get_num_threads()})


def test_the_first_library_that_is_here_serves_in_single_precision_where_it_must(monkeypatch):
    known = ("eager", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "fp16")
    monkeypatch.setattr(
        "repro.deploy.backends.missing", lambda name, device, precision: "" if (name, precision) in known else "absent"
    )
    assert Evaluator(["tensorrt", "eager"], "fp16", [64, 64])._chosen(CPU) == ("eager", "fp32")
    assert Evaluator(["tensorrt", "onnxruntime", "eager"], "fp16", [64, 64])._chosen(CPU) == ("onnxruntime", "fp16")


def test_without_any_library_all_reasons_are_told():
    with pytest.raises(ExportError, match=r"none of the backends.*tensorrt: "):
        Evaluator(["tensorrt"], "fp16", [64, 64]).measure(rtdetr.example(), CPU)
