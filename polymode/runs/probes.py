"""probe.npz: a linear probe of hidden states, as arrays and a few words (layer L3)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polymode.errors import DataNotFoundError, RecordError
from polymode.runs.files import SCHEMA, check_schema, replacing

if TYPE_CHECKING:  # scipy is slow to import, and few readers of run folders need a probe
    from polymode.probe import Probe

PROBE = "probe.npz"
_ARRAYS = ("mean_F", "scale_F", "weights_FJ", "slot_rate_K")
_WORDS = ("layer", "penalty", "n", "log_loss", "slot_log_loss", "model", "fold_of")


def write_probe(path: Path, probe: Probe) -> None:
    """Write a probe, whole or not at all; raises WriteError."""
    arrays = {name: getattr(probe, name) for name in _ARRAYS}
    arrays |= {"slope_J": [one.slope for one in probe.levels_J]}
    arrays |= {"intercept_J_K": [one.intercept_K for one in probe.levels_J]}
    words = {name: getattr(probe, name) for name in _WORDS}
    with replacing(path) as part, part.open("wb") as handle:
        np.savez(handle, allow_pickle=False, words=np.array(json.dumps({"schema": SCHEMA, **words})), **arrays)


def read_probe(path: Path) -> Probe:
    """Read what `write_probe` wrote; it can hold no code.

    Raises:
        DataNotFoundError: no such file.
        RecordError: it is no probe, damaged, or of a newer schema.
    """
    from polymode.probe.levels import Levels
    from polymode.probe.probe import Probe

    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as content:  # closes it if damaged
            words = json.loads(str(content["words"]))
            check_schema(words.get("schema"), str(path))
            arrays = {name: np.asarray(content[name], dtype=float) for name in _ARRAYS}
            slopes, intercepts = (np.asarray(content[name], dtype=float) for name in ("slope_J", "intercept_J_K"))
            levels = tuple(Levels(float(a), b_K) for a, b_K in zip(slopes, intercepts, strict=True))
            probe = Probe(**arrays, levels_J=levels, **{name: words[name] for name in _WORDS})
    except FileNotFoundError:
        raise DataNotFoundError(f"{path} does not exist: check the path, or fit a probe with --fit RUN") from None
    except RecordError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as exc:
        raise RecordError(f"{path} is no probe that can be read ({type(exc).__name__}): fit it again") from None
    width, columns = probe.weights_FJ.shape if probe.weights_FJ.ndim == 2 else (-1, 0)
    is_whole = probe.mean_F.shape == probe.scale_F.shape == (width,) and len(probe.levels_J) == columns
    is_whole = is_whole and columns > max(probe.fold_of.values(), default=0)
    if not is_whole or not np.isfinite([*probe.mean_F, *probe.scale_F, *probe.weights_FJ.ravel()]).all():
        raise RecordError(f"{path} is no probe that can be read (its arrays do not fit together): fit it again")
    return probe
