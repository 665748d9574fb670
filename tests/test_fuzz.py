"""A short run of the fuzzers: files of wrong contents are refused in one line, or do what good ones do."""

import pytest
from fuzzing import TARGETS, run
from tables import case_by_case

N_FILES = {"model": 120, "checkpoint": 60, "data": 150}


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_end_in_errors_of_the_package(name, tmp_path):
    outcomes = [(number, outcome) for number, _, outcome in run(name, N_FILES.get(name, 100), 0, tmp_path)]
    faults = [
        f"{name} {number}: {o.verdict}\n{o.detail}" for number, o in outcomes if o.verdict not in {"used", "refused"}
    ]
    assert not faults, "\n".join(faults)
    assert {outcome.verdict for _, outcome in outcomes} == {"used", "refused"}


@case_by_case("number", [1002376, 1010325, 1011873, 1016591])
def test_data_files_that_once_hung_or_ended_the_process(number, tmp_path):
    """An endless heap, rows of a sparse matrix that end before they begin, and sizes that pyarrow does not survive."""
    assert [outcome.verdict for _, _, outcome in run("data", 1, number, tmp_path)] == ["refused"]
