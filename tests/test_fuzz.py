"""A short run of the fuzzers: files of wrong contents are refused in one line, or do what good ones do."""

import pytest
from fuzzing import TARGETS, run

N_FILES = {"model": 120, "checkpoint": 60, "data": 150}


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_end_in_errors_of_the_package(name, tmp_path):
    outcomes = [(number, outcome) for number, _, outcome in run(name, N_FILES.get(name, 100), 0, tmp_path)]
    faults = [
        f"{name} {number}: {o.verdict}\n{o.detail}" for number, o in outcomes if o.verdict not in {"used", "refused"}
    ]
    assert not faults, "\n".join(faults)
    assert {outcome.verdict for _, outcome in outcomes} == {"used", "refused"}
