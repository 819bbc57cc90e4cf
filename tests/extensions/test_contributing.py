"""The example of CONTRIBUTING.md does what its comments say."""

import re
import sys
from pathlib import Path

import pytest

from polymode.evaluation import evaluate
from polymode.rewards import Reward
from polymode.tasks import open_task
from polymode.types import Completion
from polymode.verifiers.choice import open_verifier


def test_the_example_works(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [source] = re.findall(r"```python\n(# mypackage\.py\n.*?)```", (root / "CONTRIBUTING.md").read_text(), re.DOTALL)
    (tmp_path / "mypackage.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mypackage", raising=False)
    [example] = open_task("mypackage:Capitals").examples("test", 1)
    reward = Reward(confidence_score="mypackage:squared", terms={"mypackage:brevity": 0.5}, format_weight=2.0)
    text = "<answer>{}</answer><confidence>0.6</confidence>"
    evaluation = evaluate(
        [Completion(example, text.format(answer), 1, True, i) for i, answer in enumerate(("Paris", "paris"))],
        verifier=open_verifier("mypackage:Exact"),
        reward=reward,
        metrics=["mypackage:first_right"],
        n_boot=0,
    )
    assert evaluation.metrics["first_right"].value == 0.5  # Paris is right, paris is not
    assert evaluation.judged[0].terms == pytest.approx(
        {"brevity": 0.1, "coverage": 1.0, "confidence_score": -0.16, "format": 2.0}
    )
