"""`repro doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from repro.cli import checks
from repro.cli.checks import Check


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the processes that are asked would answer, by what they are asked."""
    answers: dict[str, Any] = {
        checks.TORCH_PROBE: {"torch": "2.14.1", "torchvision": "0.29.1", "built_for": "13.0", "gpus": []},
        checks.DETECTRON_PROBE: {"version": "0.5+pure", "path": "x"},
        checks.OPENCV_PROBE: {"version": "5.0.0"},
        checks.OPS_PROBE: {
            "ok": True,
            "reasons": {"ms_deform_attn": ""},
            "built": {"ms_deform_attn": "cpu.so"},
            "gpu": False,
        },
    }
    monkeypatch.setattr(checks, "probe", answers.__getitem__)
    return answers


def by_subject() -> dict[str, Check]:
    return {one.subject: one for one in checks.all_checks()}


def test_a_healthy_installation(bench: Any, probes: dict[str, Any]) -> None:
    done = bench.call("doctor")
    assert done.code == 0, done.all
    assert "Nothing is broken." in done.out
    for told in ("2.14.1", "0.5+pure", "ximgproc", "SLURM", "data: coco", "repro data prepare coco --from DIR"):
        assert told in done.out


def test_everything_broken_comes_with_its_repair_and_ends_with_1(bench: Any, probes: dict[str, Any]) -> None:
    probes[checks.OPENCV_PROBE] = "AttributeError: module 'cv2' has no attribute 'ximgproc'"
    probes[checks.DETECTRON_PROBE] = "ModuleNotFoundError: No module named 'detectron2'"
    done = bench.call("doctor")
    assert done.code == 1
    assert "2 broken: Detectron2, cv2.ximgproc." in done.out
    assert "opencv-contrib-python" in done.out and "python repro/install/detectron2.py" in done.out
    found = bench.call("doctor", "--json").json
    assert found["healthy"] is False
    assert {one["subject"] for one in found["checks"] if one["state"] == "broken"} == {"Detectron2", "cv2.ximgproc"}


def test_detectron2s_source_is_named(bench: Any, probes: dict[str, Any]) -> None:
    assert "--source upstream" in by_subject()["Detectron2"].repair
    probes[checks.DETECTRON_PROBE] = {"version": "0.6", "path": "x"}
    assert by_subject()["Detectron2"].found == "0.6: upstream"
    assert by_subject()["Detectron2"].repair == ""


def test_gpus_are_named(bench: Any, probes: dict[str, Any]) -> None:
    probes[checks.TORCH_PROBE]["gpus"] = ["H200", "H200"]
    assert by_subject()["CUDA"].found == "2 × H200, torch is built for 13.0"


def test_tools_that_are_missing_are_named_with_their_package(
    bench: Any, probes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.shutil, "which", lambda name, path=None: None)
    found = by_subject()
    assert found["git"].state == "broken" and found["git"].repair == "apt-get install git"
    assert found["SLURM"].state == "absent" and "slurm-wlm" in found["SLURM"].repair
    assert found["C++ compiler"].repair == "apt-get install g++"


def test_no_evaluator_is_broken(bench: Any, probes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_version", lambda name: None)
    found = by_subject()
    assert found["COCO evaluation"].state == "broken"
    assert found["libraries"].state == "broken" and "pandas" in found["libraries"].found


def test_a_probe_answers_or_says_what_went_wrong() -> None:
    assert checks.probe("print('noise'); print('{\"a\": 1}')") == {"a": 1}
    assert checks.probe("import no_such_module") == "ModuleNotFoundError: No module named 'no_such_module'"
    assert "signal 6" in str(checks.probe("import os; os.abort()"))


def test_probes_find_what_is_installed() -> None:
    """Those of OpenCV and the operators; the others are alike, and slow."""
    found = checks.probe(checks.OPENCV_PROBE)
    assert isinstance(found, dict) and found["version"]


def test_checks_never_stop_at_a_surprise(bench: Any, probes: dict[str, Any]) -> None:
    found: Iterator[Check] = checks.all_checks()
    assert len({one.subject for one in found}) >= 14


def test_an_operator_that_is_not_built_is_absent_not_broken(bench: Any, probes: dict[str, Any]) -> None:
    assert by_subject()["operator ms_deform_attn"].state == "ok"
    probes[checks.OPS_PROBE] = {"ok": True, "reasons": {"ms_deform_attn": "not built"}, "built": {}, "gpu": False}
    found = by_subject()["operator ms_deform_attn"]
    assert (found.state, found.repair) == ("absent", "repro ops build")
    assert "not built" in found.found
