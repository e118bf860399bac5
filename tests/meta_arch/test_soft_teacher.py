"""Student and teacher: who learns, who follows, and by which formula."""

import pytest
import torch
from detectron2.structures import Instances
from torch import nn

from repro.errors import RecipeError
from repro.layers.ema import Constant, Rising
from repro.meta_arch.semi.two_stage import TwoStage
from repro.meta_arch.soft_teacher import LinearDecay, SoftTeacher, example
from repro.modeling.pseudo_boxes import ByVariance


class Toy(nn.Module):
    """A detector of one weight, with batch norm and dropout to see the modes by."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        self.norm = nn.BatchNorm1d(1)
        self.parts = nn.Sequential(nn.Dropout(0.5))

    def forward(self, inputs):
        if self.training:
            return {"loss": self.layer.weight.sum() * len(inputs)}
        return [{"instances": Instances((1, 1), scores=self.layer.weight.detach().flatten())}]


def toy_method(student, teacher, samples):
    return {"loss": (student.layer.weight - teacher.layer.weight.detach() - 1).square().sum() * len(samples)}


def toy(**settings):
    return SoftTeacher(Toy(), toy_method, **settings).train()


@pytest.fixture
def model():
    """The example, with thresholds that an untrained teacher reaches."""
    torch.manual_seed(0)
    model = example()
    model.method = TwoStage(0.2, 0.25, 0.25, ByVariance(0.5))
    nn.init.normal_(model.student.roi_heads.box_predictor.cls_score.weight, std=0.3)
    nn.init.normal_(model.student.roi_heads.box_predictor.bbox_pred.weight, std=0.05)
    model.before_step(0)
    return model.train()


def test_the_teacher_follows_the_formula():
    model = toy(momentum=Rising(0.8))
    expected = None
    for step, value in enumerate([4.0, -2.0, 3.0, 1.0, 10.0, 7.0, 5.0]):
        nn.init.constant_(model.student.layer.weight, value)
        model.before_step(step)
        momentum = min(0.8, 1 - 1 / (step + 1))  # 0, 1/2, 2/3, 3/4, 0.8, 0.8, 0.8
        expected = value if expected is None else momentum * expected + (1 - momentum) * value
        assert model.teacher.layer.weight.item() == pytest.approx(expected)
    assert momentum == 0.8


def test_the_weight_falls_over_the_last_steps_to_nearly_nothing():
    decay = LinearDecay(iterations=100, last=4)
    assert [decay(step) for step in (0, 95, 96, 97, 98, 99, 100, 101)] == [1, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    model, plain = toy(decay=decay, unsupervised_weight=8.0), toy(unsupervised_weight=8.0)
    for step, factor in ((3, 1.0), (98, 0.5), (99, 0.25)):
        for one in (model, plain):
            one.before_step(0)
            one.iteration = step
        found, whole = (one([{"image": 0}, {"weak": 0}]) for one in (model, plain))
        assert found["loss_unsup"].item() == pytest.approx(factor * whole["loss_unsup"].item()) == 8 * factor
        assert found["loss"] != 0


def test_without_momentum_the_teacher_is_the_student():
    model = toy(momentum=Constant(0.0))
    for step in range(3):
        nn.init.constant_(model.student.layer.weight, step)
        model.before_step(step)
        assert model.teacher.layer.weight.item() == step


@pytest.mark.parametrize(("buffers", "mean"), [("keep", 0), ("copy", 8), ("average", 4)])
def test_buffers(buffers, mean):
    model = toy(momentum=Constant(0.5), buffers=buffers)
    model.student.norm.running_mean.fill_(8)
    model.before_step(1)
    assert model.teacher.norm.running_mean.item() == mean
    model.before_step(0)
    assert model.teacher.norm.running_mean.item() == 8  # at the start all is copied


def test_modes():
    model = toy()
    assert model.student.training and not any(module.training for module in model.teacher.modules())
    model = toy(teacher_mode="train")
    assert model.teacher.norm.training and model.teacher.parts[0].training
    assert not model.teacher.training and not model.teacher.parts.training  # its task is still to answer
    assert not any(module.training for module in model.eval().modules())


def test_who_answers():
    for part, value in (("student", 1.0), ("teacher", 2.0)):
        model = toy(inference_on=part).eval()
        nn.init.constant_(model.student.layer.weight, 1)
        nn.init.constant_(model.teacher.layer.weight, 2)
        assert model([{"image": None}])[0]["instances"].scores.item() == value


def test_what_cannot_be_is_refused():
    with pytest.raises(RecipeError, match="inference_on of a SoftTeacher is 'both'; expected student or teacher"):
        toy(inference_on="both")
    with pytest.raises(RecipeError, match="teacher_mode"):
        toy(teacher_mode="released")
    with pytest.raises(RecipeError, match="buffers is 'drop'"):
        toy(buffers="drop").before_step(1)


def test_losses_are_weighted_and_named_by_where_they_come_from():
    model = toy(unsupervised_weight=3.0)
    nn.init.constant_(model.student.layer.weight, 5)
    model.before_step(0)
    losses = model([{"weak": 0}, {"image": 0}, {"weak": 0}])
    assert {name: value.item() for name, value in losses.items()} == {"loss": 5, "loss_unsup": 3 * 2 * 1}
    assert set(model([{"image": 0}])) == {"loss"} and set(model([{"weak": 0}])) == {"loss_unsup"}
    late = toy(burn_in=2)
    for step, names in enumerate([{"loss"}, {"loss"}, {"loss", "loss_unsup"}]):
        late.before_step(step)
        assert set(late([{"weak": 0}, {"image": 0}])) == names
    falling = toy(unsupervised_weight=lambda step: 10.0 - step)
    falling.before_step(4)
    assert falling([{"weak": 0}])["loss_unsup"].item() == pytest.approx(6)


def test_gradient_reaches_all_of_the_student_and_nothing_of_the_teacher(model, labelled, unlabelled):
    losses = model([unlabelled(0), labelled(1), unlabelled(2)])
    assert set(losses) == {
        f"{name}{suffix}"
        for name in ("loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc")
        for suffix in ("", "_unsup")
    }
    assert all(value > 0 for value in losses.values())
    sum(value for name, value in losses.items() if name.endswith("_unsup")).backward()
    grads = {name: parameter.grad for name, parameter in model.student.named_parameters() if parameter.requires_grad}
    assert [name for name, grad in grads.items() if grad is None] == []
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.teacher.parameters())


def test_a_step_changes_the_student_only_and_the_next_one_the_teacher(model, labelled, unlabelled):
    before = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    sum(model([unlabelled(0), labelled(1)]).values()).backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.teacher.state_dict().items())
    model.before_step(1)
    name, moved = next(iter(model.teacher.named_parameters()))
    student = model.student.get_parameter(name)
    torch.testing.assert_close(moved, (before[name] + student) / 2)
    assert not torch.equal(moved, before[name])


def test_state_dictionaries_have_the_released_names(model):
    names = set(model.state_dict())
    assert names == {f"{part}.{name}" for part in ("student", "teacher") for name in model.student.state_dict()}


def test_a_batch_without_pseudo_boxes(model, unlabelled, labelled):
    model.method = TwoStage(score_threshold=1.0)
    losses = model([unlabelled(0), labelled(1)])
    assert losses["loss_box_reg_unsup"] == 0 and losses["loss_rpn_loc_unsup"] == 0
    assert losses["loss_cls_unsup"] > 0 and losses["loss_rpn_cls_unsup"] > 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
