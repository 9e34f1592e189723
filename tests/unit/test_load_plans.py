"""loadtests.shapes.plan: the stages of a load test."""

import pytest

from loadtests.shapes.plan import PACE, Plan, spike, sustained


def test_a_spike_rises_and_falls():
    made = spike(600, 1)

    assert [stage.rate for stage in made.stages] == [600, 6000, 600]
    assert made.seconds == 60
    assert [made.stage_at(second).name for second in (0, 23.9, 24, 35.9, 36, 59.9)] == [
        "normal",
        "normal",
        "spike",
        "spike",
        "normal",
        "normal",
    ]
    assert made.stage_at(60) is None


@pytest.mark.parametrize("rate", [1, 59, 1000, 30000])
def test_the_clients_of_a_stage_make_its_rate(rate: float):
    (stage,) = sustained(rate, 1).stages

    assert rate <= stage.users * PACE * 60 < rate + PACE * 60


def test_a_plan_comes_back_from_its_text():
    made = spike(1000, 3)

    assert Plan.from_json(made.to_json()) == made
