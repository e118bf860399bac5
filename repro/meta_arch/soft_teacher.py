"""Soft Teacher (Xu et al., ICCV 2021, arXiv 2106.09018): a student and its averaged teacher around any detector.

A batch holds labelled and unlabelled images. The student learns from the former as it does alone, and from the latter
by what the teacher finds in their weak views; how, is the business of a method (`repro.meta_arch.semi`) that fits the
kind of detector. Neither knows of the averaging, and this module nothing of boxes.

As in the released code, the teacher is moved towards the student before each step, by the weights that the last step
left; after the last one it stays where it is. State dictionaries have its names, ``student.`` and ``teacher.``. Unlike
there the teacher is in evaluation mode by default: there it runs in training mode by oversight, which changes nothing
with frozen batch norm, but would drop paths of a Swin.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from repro.errors import RecipeError
from repro.layers.ema import Constant, Momentum, Rising, move
from repro.modeling.contract import event_storage

from . import faster_rcnn
from .semi.samples import is_unlabelled
from .semi.two_stage import TwoStage

Method = Callable[[nn.Module, nn.Module, Sequence[dict[str, Any]]], dict[str, Tensor]]
"""(student, teacher, unlabelled samples) to unweighted losses; see `repro.meta_arch.semi`."""


class LinearDecay:
    """1, and over the last steps of a training down to nearly 0: (iterations - step) / last.

    Args:
        iterations: steps of the training.
        last: how many of them it falls over; the last step has 1 / last.
    """

    def __init__(self, iterations: int, last: int) -> None:
        self.iterations, self.last = iterations, last

    def __call__(self, step: int) -> float:
        """Factor of a step."""
        return min(max((self.iterations - step) / self.last, 0.0), 1.0)


@META_ARCH_REGISTRY.register()
class SoftTeacher(nn.Module):
    """Two instances of one detector, of which the one learns and the other follows.

    Args:
        detector: becomes the student; the teacher is a copy of it.
        method: losses of unlabelled images.
        momentum: share of the teacher that is kept before step t = 0, 1, …; 0 at the first.
        unsupervised_weight: of the method's losses, alpha of Eq. 1; a number, or a function of the step.
        burn_in: steps at the start that leave unlabelled images out. Ours, 0 in the paper: a short run cannot afford
            a teacher that calls everything background until it is sure of something.
        buffers: what becomes of the teacher's buffers, see `repro.layers.ema.move`. Released: ``keep``.
        inference_on: who answers in inference, ``student`` or ``teacher``.
        teacher_mode: ``eval``, or ``train``: then the layers within the teacher, such as batch norm and stochastic
            depth, behave as in training, as in the released code.
        decay: factor on the weight of the method's losses, as a function of the step, or None for 1. Released numbers
            are without; the supplement is said to lower the influence of unlabelled images in the end.

    Raises:
        RecipeError: ``inference_on`` or ``teacher_mode`` is something else.
    """

    def __init__(
        self,
        detector: nn.Module,
        method: Method,
        momentum: Momentum | None = None,
        unsupervised_weight: float | Callable[[int], float] = 4.0,
        burn_in: int = 0,
        buffers: str = "copy",
        inference_on: str = "student",
        teacher_mode: str = "eval",
        decay: Callable[[int], float] | None = None,
    ) -> None:
        super().__init__()
        _one_of("inference_on", inference_on, "student", "teacher")
        _one_of("teacher_mode", teacher_mode, "eval", "train")
        self.student, self.teacher = detector, copy.deepcopy(detector).requires_grad_(False)
        self.method, self.momentum, self.buffers = method, momentum or Rising(0.999), buffers
        weight = unsupervised_weight
        self.unsupervised_weight = weight if callable(weight) else Constant(weight)
        self.decay = decay or Constant(1.0)
        self.inference_on, self.teacher_mode = inference_on, teacher_mode
        self.burn_in, self.iteration = burn_in, 0
        self.train(self.training)

    def train(self, mode: bool = True) -> SoftTeacher:
        """Switch the student; the teacher stays in its own mode."""
        super().train(mode)
        self.teacher.eval()
        if mode and self.teacher_mode == "train":
            for module in self.teacher.modules():
                is_layer = next(module.children(), None) is None
                module.training = is_layer  # what contains layers would do another task in training
        return self

    def before_step(self, iteration: int) -> None:
        """Move the teacher; the trainer calls it once before each step, whatever the number of batches in it.

        Before the first step the teacher becomes the student in all that it is, buffers too: weights that a stage
        starts from are loaded into the student only.
        """
        self.iteration = iteration
        if iteration == 0:
            self.teacher.load_state_dict(self.student.state_dict())
        else:
            move(self.teacher, self.student, self.momentum(iteration), self.buffers)

    @property
    def answering(self) -> nn.Module:
        """The detector that answers in inference."""
        return self.teacher if self.inference_on == "teacher" else self.student

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference what the student, or the teacher, answers.

        Args:
            inputs: as the detector takes them; in training also unlabelled ones (`repro.meta_arch.semi`), in any order.
                On several processes, either kind is in every batch or in none of them: all must have the same losses.

        Returns:
            In training the detector's losses of labelled images under their own names, and those of unlabelled ones
            with ``_unsup`` behind them.
        """
        if not self.training:
            return self.answering(inputs)
        labelled = [sample for sample in inputs if not is_unlabelled(sample)]
        unlabelled = [sample for sample in inputs if is_unlabelled(sample)]
        with event_storage():
            losses = dict(self.student(labelled)) if labelled else {}
            if unlabelled and self.iteration >= self.burn_in:
                weight = self.unsupervised_weight(self.iteration) * self.decay(self.iteration)
                found = self.method(self.student, self.teacher, unlabelled)
                losses |= {f"{name}_unsup": weight * value for name, value in found.items()}
        return losses


def _one_of(name: str, value: str, *known: str) -> None:
    if value not in known:
        raise RecipeError(f"{name} of a SoftTeacher is {value!r}; expected {' or '.join(known)}")


def example(num_classes: int = 3) -> SoftTeacher:
    """The real thing, small: built in a second on a CPU."""
    return SoftTeacher(faster_rcnn.example(num_classes), TwoStage())
