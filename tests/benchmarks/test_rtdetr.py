"""The numbers of RT-DETR's tables, among themselves and beside its recipes."""

from __future__ import annotations

from .conftest import load, plan, printed, resolve


def test_rt_detr_drops_no_number() -> None:
    """85 are printed; 17 of them, differences to other rows, are claims or stand in notes."""
    made = [load(f"rtdetr/table{n}") for n in range(1, 5)]
    assert [printed(one.name) for one in made] == [8, 40, 12, 8]
    more = len(made[1].claims) + 1 + len(made[2].claims) + sum("is printed as" in row.note for row in made[3].rows)
    assert 8 + 40 + 12 + 8 + more == 85  # of one difference, 0.0, there is no claim


def test_rt_detrs_differences_are_those_of_its_numbers() -> None:
    two, four = load("rtdetr/table2"), load("rtdetr/table4")
    for name in ("table2", "table3"):
        made = load(f"rtdetr/{name}")
        for claim in made.claims:
            assert claim.minus is not None
            difference = made.row(claim.row).paper[claim.column].value - made.row(claim.minus).paper[claim.column].value
            assert f"by {difference:.1f}" in claim.source
    for row in four.rows:
        difference = two.row(row.id).paper["ap50"].value - row.paper["ap50"].value
        assert f"printed as {difference:.1f} below" in row.note


def test_rt_detrs_counts_follow_from_its_recipes() -> None:
    """Points are heads · points · queries · layers; millions of parameters are cut off, not rounded."""
    for cell in plan("rtdetr/table3", "paper").cells:
        stages = plan("rtdetr/table3", "paper").stages
        recipe = next(stages[one].recipe for one in cell.stages if stages[one].kind in ("train", "build"))
        transformer = recipe["model"]["transformer"]
        decoder = transformer["decoder"]
        per_query = decoder["num_heads"] * sum(decoder["num_points"]) * decoder["num_layers"]
        printed = load("rtdetr/table3").row(cell.row).paper.get("points")
        assert per_query * transformer["queries"]["num_queries"] == (86400 if printed is None else printed.value)


def test_rt_detrs_rates_are_those_of_its_recipes() -> None:
    made = load("rtdetr/table1")
    for row in made.rows:
        specs = {spec.name: spec for spec in made.cell_stages(row.id, "lr_det")}
        optimizer = resolve(specs["train"].config, "{}", "paper").recipe["optimizer"]
        rates = {name: group["lr"] for name, group in optimizer["groups"].items()}
        assert row.paper["lr_det"].value == optimizer["lr"] == rates.get("norm", 1e-4)
        assert row.paper["lr_backbone"].value == rates.get("backbone", optimizer["lr"])


def test_discrete_fine_tuning_starts_from_the_training_of_table_2() -> None:
    """Two stages of one plan, of which the first is shared between the tables."""
    two, four = plan("rtdetr/table2", "paper"), plan("rtdetr/table4", "paper")
    trained = {signature for signature, one in four.stages.items() if one.kind == "train"}
    assert trained < set(two.stages) and len(trained) == 4
    for one in four.stages.values():
        if one.kind == "finetune":
            assert set(one.parents) == {"train"} and set(one.parents.values()) <= trained
