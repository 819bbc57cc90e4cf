import dataclasses

from polymode.report.arms import ArmData, Cell, read_arm
from polymode.report.headline import known_best, pick_pair, write_headline, write_tiles


def with_metric(data: ArmData, name: str, *numbers: float) -> ArmData:
    return dataclasses.replace(data, metrics={**data.metrics, name: Cell(*numbers, n=10)})


def pair(make_arm) -> tuple[ArmData, ArmData]:
    multi = read_arm(make_arm("M", "multi-rlcr"))
    return multi, read_arm(make_arm("S", "single-rlvr", pooled=True, confidence=False))


def test_ratios_are_computed_and_a_clear_gain_is_stated_without_praise(make_arm):
    multi, single = pair(make_arm)
    multi, single = with_metric(multi, "coverage", 2.4, 2.3, 2.5), with_metric(single, "coverage", 1.6, 1.5, 1.7)
    multi = with_metric(multi, "best_coverage", 3.0, 3.0, 3.0)
    text = write_headline([multi, single], {})[1].replace("\N{NO-BREAK SPACE}", " ")
    # 2.4 / 1.6 = 1.5; 2.4 / 3 = 80%; 1.6 / 3 = 53%
    assert text == (
        "Distinct references found per set: 2.40 [2.30, 2.50] for multi and 1.60 [1.50, 1.70] for single, "
        "1.50 times as many; the best possible is 3.00, of which multi reaches 80% and single 53%."
    )
    assert write_tiles([multi, single])[0].value == "1.50×" and not write_tiles([multi, single])[0].is_worse


def test_a_worse_number_is_called_worse(make_arm):
    multi, single = pair(make_arm)
    multi = with_metric(multi, "tokens_per_reference", 50.0, 49.0, 51.0)
    single = with_metric(single, "tokens_per_reference", 25.0, 24.0, 26.0)
    sentence = next(s for s in write_headline([multi, single], {}) if s.startswith("Tokens"))
    assert sentence.endswith("2.00 times as many; multi is worse here.")
    assert [tile.is_worse for tile in write_tiles([multi, single])][2] is True


def test_overlapping_intervals_are_pointed_out(make_arm):
    multi, single = pair(make_arm)
    multi, single = with_metric(multi, "coverage", 2.0, 1.7, 2.3), with_metric(single, "coverage", 1.9, 1.6, 2.2)
    assert "multi is better, but the intervals overlap" in write_headline([multi, single], {})[1]


def test_confidences_that_add_nothing_are_called_so(make_arm):
    multi, single = pair(make_arm)
    multi = with_metric(multi, "brier", 0.25, 0.24, 0.26)
    assert "so these confidences add nothing" in write_headline([multi, single], {})[-1]


def test_an_arm_without_confidences_has_no_calibration_sentence_made_up(make_arm):
    multi, single = (read_arm(make_arm(m, m, confidence=False)) for m in ("multi-rlvr", "single-rlvr"))
    assert "states no confidences" in write_headline([multi, single], {})[-1]


def test_pair_prefers_confidences_then_equal_k_then_what_finds_most(make_arm):
    arms = [
        read_arm(make_arm("plain", "multi-rlvr", confidence=False)),
        read_arm(make_arm("sure", "multi-rlcr")),
        with_metric(read_arm(make_arm("other k", "single-rlvr", k=1)), "coverage", 2.9, 2.8, 3.0),
        with_metric(read_arm(make_arm("pooled", "single-rlvr", pooled=True)), "coverage", 1.5, 1.4, 1.6),
        with_metric(read_arm(make_arm("asked for three", "single-rlvr")), "coverage", 1.7, 1.6, 1.8),
        with_metric(read_arm(make_arm("unknown", "single-rlvr")), "coverage"),
    ]
    chosen = pick_pair(arms)
    assert chosen is not None and (chosen[0].arm.label, chosen[1].arm.label) == ("sure", "asked for three")
    text = write_headline(arms, {})[0]
    assert text.endswith("“sure” (multi) against “asked for three” (single, the strongest of K = 3).")
    other_k = write_headline([arms[1], arms[2]], {})[0]
    assert other_k.endswith("“other k” (single).")


def test_without_a_pair_arms_are_described(make_arm):
    alone = with_metric(read_arm(make_arm("only", "multi-rlcr")), "coverage", 2.0, 1.9, 2.1)
    assert write_headline([alone], {}) == ["only: coverage 2.00 [1.90,\N{NO-BREAK SPACE}2.10]."]
    assert write_tiles([alone]) == []


def test_a_given_best_coverage_wins_over_the_measured_one(make_arm):
    arms = list(pair(make_arm))
    assert known_best(arms, {"best_coverage": 2.9}) == 2.9
    assert known_best(arms, {}) == 2.6


def test_what_needs_no_reinforcement_is_told_with_its_strongest_arm(make_arm):
    multi, single = pair(make_arm)
    asked = with_metric(read_arm(make_arm("U", "untrained")), "coverage", 1.7, 1.6, 1.8)
    weaker = with_metric(read_arm(make_arm("V", "untrained")), "coverage", 1.5, 1.4, 1.6)
    asked = with_metric(asked, "brier_gap_closed", 0.49, 0.39, 0.58)
    multi, single = with_metric(multi, "coverage", 2.21, 2.1, 2.3), with_metric(single, "coverage", 1.3, 1.2, 1.4)
    text = write_headline([weaker, asked, multi, single], {})[2].replace("\N{NO-BREAK SPACE}", " ")
    # 2.21 / 1.7 = 1.3, while 2.21 / 1.3 = 1.7 flatters: the ratio to the stronger baseline stands first
    assert text == (
        "Without reinforcement learning “U” finds 1.70 [1.60, 1.80] references per set, multi 1.30 times "
        "as many; it closes 49% of the Brier gap of its own answers."
    )
    tiles = write_tiles([weaker, asked, multi, single])
    assert [tile.value for tile in tiles[:2]] == ["1.30×", "1.70×"] and "“U”" in tiles[0].label
    assert not any(one.startswith("Without") for one in write_headline([multi, single], {}))


def test_a_weaker_arm_without_reinforcement_has_no_tile(make_arm):
    multi, single = pair(make_arm)
    asked = with_metric(read_arm(make_arm("U", "untrained")), "coverage", 0.9, 0.8, 1.0)
    single = with_metric(single, "coverage", 1.3, 1.2, 1.4)
    assert "“U”" not in write_tiles([asked, multi, single])[0].label
    better = with_metric(asked, "coverage", 2.9, 2.8, 3.0)
    assert write_tiles([better, multi, single])[0].is_worse
