"""tests.faults: a list of faults that rots would say that all are noticed."""

import pytest

from tests.faults.catalogue import ROOT, Fault, read_faults
from tests.integration.backends import BACKENDS

FAULTS = read_faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_changes_one_place_and_names_tests_that_are_there(fault: Fault):
    text = (ROOT / fault.file).read_text()

    assert fault.applied_to(text) != text
    assert fault.harm
    assert fault.backend in BACKENDS
    assert fault.tests
    for each in fault.tests:
        file, _, name = each.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).exists()


def test_each_fault_has_a_name_of_its_own():
    assert len({fault.id for fault in FAULTS}) == len(FAULTS) >= 50


def test_most_faults_do_harm():
    assert sum(bool(fault.harmless) for fault in FAULTS) < len(FAULTS) / 10
