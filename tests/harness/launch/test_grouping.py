"""Arrays and dependencies, without SLURM: every stage waits for its own parents, and for nothing else."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.harness.launch.grouping import Group, dependency, groups, indices, levels


def waits(group: Group) -> dict[str, set[str]]:
    """Read SLURM's dependency string: which jobs each element of the group waits for."""
    fixed = set(re.findall(r"\d+(?:_\d+)?", "".join(re.findall(r"afterok:([\d_:]+)", group.after))))
    arrays = re.findall(r"aftercorr:(\d+)", group.after)
    return {signature: fixed | {f"{array}_{index}" for array in arrays} for index, signature in group.elements.items()}


def test_levels_put_parents_first_and_keep_the_order():
    parents = {"e2": ["t2"], "t2": ["p"], "p": ["elsewhere"], "t1": ["p"], "e1": ["t1"]}
    assert levels(list(parents), parents) == [["p"], ["t2", "t1"], ["e2", "e1"]]


def test_levels_refuse_a_circle():
    with pytest.raises(ValueError, match="a, b"):
        levels(["a", "b"], {"a": ["b"], "b": ["a"]})


def test_children_of_one_parent_are_one_array():
    found = list(groups(["a", "b", "c"], {s: ["p"] for s in "abc"}, {"p": "7"}, 100))
    assert found == [Group({0: "a", 1: "b", 2: "c"}, "afterok:7")]


def test_children_of_an_array_correspond_to_it_even_where_some_are_missing():
    jobs = {f"t{i}": f"9_{i}" for i in range(6)} | {"p": "4"}
    parents = {f"e{i}": [f"t{i}", "p"] for i in (1, 2, 5)}
    assert list(groups(list(parents), parents, jobs, 100)) == [
        Group({1: "e1", 2: "e2", 5: "e5"}, "afterok:4,aftercorr:9"),
    ]


def test_two_evaluations_of_each_fine_tuning_are_two_arrays_and_not_sixty():
    jobs = {f"t{i}": f"9_{i}" for i in range(60)}
    parents = {f"e{i}.{k}": [f"t{i}"] for i in range(60) for k in range(2)}
    found = list(groups(list(parents), parents, jobs, 1000))
    assert [(len(group.elements), group.after) for group in found] == [(60, "aftercorr:9")] * 2


def test_many_children_of_two_elements_are_two_arrays_and_not_thirty():
    jobs = {"p0": "9_0", "p1": "9_1"}
    parents = {f"t{i}": [f"p{i % 2}"] for i in range(60)}
    found = list(groups(list(parents), parents, jobs, 1000))
    assert [(len(group.elements), group.after) for group in found] == [(30, "afterok:9_0"), (30, "afterok:9_1")]


def test_a_single_child_of_an_element_is_a_plain_job():
    assert list(groups(["e"], {"e": ["t"]}, {"t": "9_3"}, 10)) == [Group({0: "e"}, "afterok:9_3")]


def test_parents_that_are_not_queued_are_not_named():
    # SLURM takes an unknown job for one that succeeded, so naming it would promise what is not so.
    assert list(groups(["e"], {"e": ["t"]}, {}, 10)) == [Group({0: "e"}, "")]


def test_chunks_respect_the_limit():
    found = list(groups([str(i) for i in range(7)], {str(i): [] for i in range(7)}, {}, 3))
    assert [len(group.elements) for group in found] == [3, 3, 1]
    assert all(list(group.elements) == list(range(len(group.elements))) for group in found)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_stage_waits_for_exactly_its_live_parents(data):
    jobs = data.draw(
        st.dictionaries(
            st.sampled_from([f"p{i}" for i in range(8)]),
            st.one_of(
                st.integers(1, 3).map(str),
                st.tuples(st.integers(4, 6), st.integers(0, 3)).map(lambda pair: f"{pair[0]}_{pair[1]}"),
            ),
        )
    )
    parent = st.lists(st.sampled_from([f"p{i}" for i in range(8)]), max_size=3)
    parents = data.draw(st.dictionaries(st.sampled_from([f"s{i}" for i in range(12)]), parent))
    limit = data.draw(st.integers(1, 5))
    found = list(groups(list(parents), parents, jobs, limit))
    assert sorted(s for group in found for s in group.elements.values()) == sorted(parents)
    for group in found:
        assert len(group.elements) <= limit
        for signature, jobs_waited_for in waits(group).items():
            assert jobs_waited_for == {jobs[p] for p in parents[signature] if p in jobs}


def test_dependency_strings():
    assert dependency([]) == ""
    assert dependency(["12_3", "7", "12_10"]) == "afterok:7:12_3:12_10"
    assert dependency(["7"], "9") == "afterok:7,aftercorr:9"


def test_indices():
    assert indices([5, 0, 1, 2, 7, 8]) == "0-2,5,7-8"
