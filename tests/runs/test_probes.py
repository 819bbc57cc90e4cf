"""probe.npz: what is written is read again, and anything else is refused in one line."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from polymode.errors import DataNotFoundError, PolymodeError, RecordError
from polymode.probe import Probe, fit_probe
from polymode.runs import PROBE, read_probe, write_probe

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def probe() -> Probe:
    y_N, slot_N = RNG.integers(0, 2, 40), np.arange(40) % 4 // 2 * 2
    questions = [f"Frage {i // 4} für €?" for i in range(40)]
    return fit_probe(RNG.standard_normal((40, 2, 6)), [3, 5], y_N, questions, slot_N, model="m").probe


def test_a_probe_is_read_as_it_was_written(probe: Probe, tmp_path: Path) -> None:
    write_probe(tmp_path / "new" / PROBE, probe)
    again = read_probe(tmp_path / "new" / PROBE)
    for field in fields(Probe):
        own, other = getattr(probe, field.name), getattr(again, field.name)
        if isinstance(own, np.ndarray):
            np.testing.assert_array_equal(own, other)  # NaN, of slots without answers, too
        elif field.name != "levels_J":
            assert own == other
    for own, other in zip(probe.levels_J, again.levels_J, strict=True):
        assert own.slope == other.slope
        np.testing.assert_array_equal(own.intercept_K, other.intercept_K)
    x_NF, slot_N = RNG.standard_normal((5, 6)), np.array([0, 2, 0, 2, 0])
    assert (again(x_NF, slot_N) == probe(x_NF, slot_N)).all()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [PROBE]
    assert (tmp_path / "new" / PROBE).stat().st_size < 10_000


def test_what_is_no_probe_is_refused(probe: Probe, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"none.npz does not exist: check the path"):
        read_probe(tmp_path / "none.npz")
    path = tmp_path / PROBE
    write_probe(path, probe)
    whole = path.read_bytes()
    with np.load(path) as content:
        arrays = dict(content)
    words = json.loads(str(arrays["words"]))

    def save(**changes: object) -> None:
        np.savez(path, **{**arrays, **{name: np.asarray(value) for name, value in changes.items()}})  # type: ignore[arg-type]

    damages = [
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(b"{}"),
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: save(words="[]"),
        lambda: save(slope_J=["steep"] * 6),
        lambda: save(slope_J=np.ones(5), intercept_J_K=np.zeros((5, 3))),
        lambda: save(words=json.dumps({name: value for name, value in words.items() if name != "layer"})),
        lambda: save(mean_F=np.zeros(5)),
        lambda: save(weights_FJ=np.full((6, 6), np.nan)),
        lambda: save(weights_FJ=np.zeros((6, 2))),
        lambda: save(mean_F=np.array([None] * 6)),  # pickled: never loaded
    ]
    for damage in damages:
        damage()
        with pytest.raises(RecordError, match=r"probe.npz is no probe that can be read .*: fit it again$"):
            read_probe(path)
    save(words=json.dumps({**words, "schema": 99}))
    with pytest.raises(RecordError, match="schema 99 is newer"):
        read_probe(path)


def test_a_folder_that_cannot_be_written_is_named(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PolymodeError, match="cannot write .*file/probe.npz"):
        write_probe(tmp_path / "file" / PROBE, replace(probe, model="x"))
