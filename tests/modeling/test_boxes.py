import pytest
import torch
from torchvision.ops import box_iou as torchvision_iou
from torchvision.ops import generalized_box_iou

from repro.modeling.boxes import box_iou, cxcywh_to_xyxy, generalized_iou, xyxy_to_cxcywh


def test_formats_by_hand():
    xyxy, cxcywh = torch.tensor([[1.0, 2, 5, 10]]), torch.tensor([[3.0, 6, 4, 8]])
    assert torch.equal(cxcywh_to_xyxy(cxcywh), xyxy)
    assert torch.equal(xyxy_to_cxcywh(xyxy), cxcywh)


def test_giou_by_hand():
    """Overlap 1, union 4 + 4 - 1 = 7, hull 3 × 3 = 9: 1/7 - 2/9."""
    a, b = torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 1, 3, 3])
    assert generalized_iou(a, b).item() == pytest.approx(1 / 7 - 2 / 9)


def test_iou_and_giou_of_pairs_are_torchvisions():
    torch.manual_seed(0)
    corner, size = torch.rand(12, 2), torch.rand(12, 2) + 0.01
    boxes = torch.cat([corner, corner + size], dim=1).double()
    pairs = generalized_iou(boxes[:5, None], boxes[None, 5:])
    torch.testing.assert_close(pairs, generalized_box_iou(boxes[:5], boxes[5:]))
    torch.testing.assert_close(box_iou(boxes[:5, None], boxes[None, 5:]), torchvision_iou(boxes[:5], boxes[5:]))


def test_giou_of_boxes_without_area_is_finite():
    point = torch.tensor([[1.0, 1, 1, 1]])
    assert generalized_iou(point, point).isfinite().all()
    assert generalized_iou(point, point + 1).isfinite().all()
