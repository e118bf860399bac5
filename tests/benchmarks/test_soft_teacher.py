"""The numbers of Soft Teacher's tables, among themselves; trainings that several tables speak of are one."""

from __future__ import annotations

import re

import pytest

from repro.harness.table import SCALES, Claim, Table

from .conftest import load, plan


def soft_teacher(number: int) -> Table:
    return load(f"soft_teacher/table{number}")


def test_soft_teacher_drops_no_number() -> None:
    """Its tables hold 177 numbers: 144 are results, and the rest name rows and columns."""
    made = {number: soft_teacher(number) for number in range(1, 11)}
    printed = [number for one in made.values() for row in one.rows for number in row.paper.values()]
    values = [sum(len(row.paper) for row in one.rows) for one in made.values()]
    assert values == [18, 12, 8, 12, 12, 9, 18, 12, 12, 9]
    spreads = sum(number.spread is not None for number in printed)
    gains = [claim.source for claim in made[4].claims] + [
        row.note for row in made[3].rows if "is printed as" in row.note
    ]
    assert len(gains) == 6 + 4
    assert sum(values) + spreads + len(gains) == 144
    shares, overlaps = len(made[2].columns), 2 * 6  # mAP@0.5 and mAP@0.75 of Tables 5 to 10
    settings = sum(len(made[number].rows) for number in (8, 9, 10))
    references, depths = 5, 2  # [27] twice in Table 2, [27], [28] and [36] in Table 3; ResNet-50 and ResNet-101
    assert 144 + shares + overlaps + settings + references + depths == 177


SOFT_TEACHER_CLAIMS = [(number, claim) for number in range(1, 11) for claim in soft_teacher(number).claims]


@pytest.mark.parametrize(
    ("number", "claim"), SOFT_TEACHER_CLAIMS, ids=[f"table{number}/{one.id}" for number, one in SOFT_TEACHER_CLAIMS]
)
def test_soft_teachers_differences_are_those_of_its_numbers(number: int, claim: Claim) -> None:
    """To the digit that the text gives of them."""
    said = re.search(r"\bby (\d+(?:\.\d+)?)", claim.source)
    assert said is not None or "the bound is ours" in claim.source or "beside" in claim.source or claim.minus is None
    if said is not None and claim.minus is not None:
        rows = [soft_teacher(number).row(row).paper[claim.column].value for row in (claim.row, claim.minus)]
        digits = len(said[1].partition(".")[2])
        assert abs(rows[0] - rows[1]) == pytest.approx(float(said[1]), abs=0.5001 * 10**-digits)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("number", [8, 9, 10])
def test_what_a_table_varies_differs_at_every_scale(number: int, scale: str) -> None:
    """Scales have thresholds of their own, which must not go over those of the rows."""
    stages = plan(f"soft_teacher/table{number}", scale).stages.values()
    assert sum(stage.kind == "train" for stage in stages) == len(soft_teacher(number).rows)


# Trainings that several tables speak of, as (table, row).
SAME = [
    [(5, "e2e-ema"), (6, "e2e-ema"), (7, "without")],
    [(6, "soft"), (7, "bg-t"), (8, "0.90")],
    [(6, "soft-jitter"), (9, "0.02"), (10, "10")],
    [(3, "supervised"), (4, "r50-supervised")],
    [(3, "ours"), (4, "r50-ours")],
    [(1, "supervised"), (4, "htc-supervised")],
    [(1, "ours"), (4, "htc-ours")],
    [(1, "multi-scale-supervised"), (4, "htc-multi-scale-supervised")],
    [(1, "multi-scale-ours"), (4, "htc-multi-scale-ours")],
]


@pytest.mark.parametrize("same", SAME, ids=lambda same: f"table{same[0][0]}/{same[0][1]}")
def test_soft_teachers_tables_print_the_same_of_the_same_training_and_run_it_once(same: list[tuple[int, str]]) -> None:
    printed = [[number.text for number in soft_teacher(table).row(row).paper.values()] for table, row in same]
    shortest = min(map(len, printed))  # Table 1 has test-dev2017 too
    assert all(one[:shortest] == printed[0][:shortest] for one in printed)
    runnable = {any(row == one for one, _ in soft_teacher(table).runnable_cells()) for table, row in same}
    assert len(runnable) == 1
    for scale in SCALES if runnable == {True} else ():
        alike = [one for one in same if scale != "small" or one[0] not in (8, 9)]  # whose thresholds are the paper's
        assert len({ends(f"soft_teacher/table{table}", row, scale) for table, row in alike}) == 1


def ends(name: str, row: str, scale: str, column: str | None = None, seed: int | None = None) -> str:
    """Signature of the evaluation that a row ends with, in its first column and with its first seed unless named."""
    cells = [cell for cell in plan(name, scale).cells if cell.row == row and column in (None, cell.column)]
    return next(cell.stages[-1] for cell in cells if seed in (None, cell.seed))


@pytest.mark.parametrize("scale", SCALES)
def test_the_ablations_of_soft_teacher_are_on_the_first_fold_of_table_2(scale: str) -> None:
    for row, (number, other) in {"supervised": (5, "supervised"), "ours": (6, "soft-jitter")}.items():
        assert ends("soft_teacher/table2", row, scale, "10%", 1) == ends(f"soft_teacher/table{number}", other, scale)


@pytest.mark.parametrize("scale", SCALES)
def test_student_and_teacher_of_every_training_are_scored_at_two_thresholds(scale: str) -> None:
    """Those of Table 2 in one table of ours, those of the full data in another, the ablations in a third."""
    ours: dict[str, set[str]] = {}
    for name in ("ours_student_teacher", "ours_full", "ours_variants"):
        stages = plan(f"soft_teacher/{name}", scale).stages
        for one in stages.values():
            if one.kind == "evaluate":
                ours.setdefault(one.parents["train"], set()).add(one.signature)
    of_small = {8, 9} if scale == "small" else set()  # whose thresholds are the paper's, and there not the method's
    for number in {*range(2, 11)} - of_small:
        for one in plan(f"soft_teacher/table{number}", scale).stages.values():
            if one.kind == "evaluate" and one.config == "soft_teacher/evaluate_coco_val2017.py":
                assert one.signature in ours[one.parents["train"]]
                assert len(ours[one.parents["train"]]) == 4, one.label


def test_what_a_column_of_soft_teachers_shares_sets_is_set_in_every_stage_that_reads_labels() -> None:
    """So that pseudo boxes are made by a detector of the same share, of the images that it has not seen."""
    for cell in plan("soft_teacher/table2", "paper").cells:
        stages = [plan("soft_teacher/table2", "paper").stages[signature] for signature in cell.stages]
        shares = {one.recipe["data"]["percent"] for one in stages if one.kind in ("train", "label")}
        assert shares == {int(cell.column.rstrip("%"))}
        assert {one.seed for one in stages if one.kind != "encoder"} == {cell.seed}


@pytest.mark.parametrize("scale", SCALES)
def test_only_the_rows_with_a_star_start_from_objects365(scale: str) -> None:
    stages = plan("soft_teacher/table1", scale).stages
    for cell in plan("soft_teacher/table1", scale).cells:
        own = [stages[signature] for signature in cell.stages]
        names = [one.name for one in own]
        starred = cell.row.endswith("objects365")
        assert names == ["encoder", *(["objects365"] if starred else []), "train", "evaluate"]
        assert set(own[-2].parents) == ({"objects365"} if starred else {"encoder"})
