"""Maps of confidences: values, limits, what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError
from polymode.policy import Recalibration
from polymode.policy.recalibration import logit

UNIT = st.floats(0, 1)


def test_temperature_divides_the_logit() -> None:
    # logit(0.8) = log 4, halved log 2, back 2 / 3.
    assert Recalibration("temperature", 9, slope=0.5)(0.8) == pytest.approx(2 / 3)
    assert Recalibration("temperature", 9, slope=0.5)(0.5) == 0.5


def test_platt_scales_and_shifts_the_logit() -> None:
    # logit(0.5) = 0, shifted by log 3, back 3 / 4.
    assert Recalibration("platt", 9, slope=2.0, intercept=math.log(3))(0.5) == pytest.approx(0.75)


def test_certain_confidences_stay_finite() -> None:
    assert logit(1.0) == pytest.approx(math.log(999)) and logit(0.0) == pytest.approx(-math.log(999))
    assert Recalibration("platt", 9, slope=0.5)(1.0) < 1


def test_a_steep_map_has_limits_instead_of_an_overflow() -> None:
    steep = Recalibration("platt", 400, slope=1000.0, intercept=-3.0)
    assert (steep(0.0), steep(1.0)) == (0.0, 1.0) and steep(0.5) == pytest.approx(1 / (1 + math.exp(3)))


def test_isotonic_is_linear_between_points_and_constant_beyond() -> None:
    map_ = Recalibration("isotonic", 9, points=((0.2, 0.1), (0.6, 0.5), (0.8, 0.5)))
    assert [map_(q) for q in (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 1.0)] == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5, 0.5, 0.5])


@given(
    a=UNIT,
    b=UNIT,
    slope=st.floats(0.01, 50),
    intercept=st.floats(-5, 5),
    stated=st.lists(UNIT, min_size=1, max_size=6, unique=True),
    level=st.lists(UNIT, min_size=6, max_size=6),
)
def test_maps_stay_in_the_unit_interval_and_never_swap_two_answers(
    a: float, b: float, slope: float, intercept: float, stated: list[float], level: list[float]
) -> None:
    points = tuple(zip(sorted(stated), sorted(level), strict=False))
    for map_ in (Recalibration("platt", 1, slope, intercept), Recalibration("isotonic", 1, points=points)):
        low, high = map_(min(a, b)), map_(max(a, b))
        assert 0 <= low <= high <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"method": "beta"}, "recalibration.method = 'beta' is not known: use one of isotonic, platt, temperature"),
        ({"slope": 0.0}, "recalibration.slope = 0.0 is not allowed: give a number above 0"),
        ({"slope": -1.0}, "slope = -1.0 is not allowed"),
        ({"slope": math.nan}, "slope = nan is not allowed"),
        ({"slope": "1"}, "slope = '1' is not allowed"),
        ({"intercept": math.inf}, "intercept = inf is not allowed"),
        ({"n": -1}, "recalibration.n = -1 is not allowed"),
        ({"n": True}, "recalibration.n = True is not allowed"),
        ({"points": ((0.0, 0.0),)}, "isotonic needs at least one, the other methods have none"),
        ({"method": "isotonic"}, "isotonic needs at least one"),
        ({"method": "isotonic", "points": ((0.0, 1.2),)}, "must lie between 0 and 1"),
        ({"method": "isotonic", "points": ((0.5, 0.0), (0.5, 1.0))}, "stated values must rise"),
        ({"method": "isotonic", "points": ((0.1, 0.5), (0.5, 0.4))}, "recalibrated ones must not fall"),
    ],
)
def test_a_map_that_is_none_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Recalibration(**{"method": "platt", "n": 1, **arguments})
