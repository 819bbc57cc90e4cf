from collections.abc import Sequence
from pathlib import Path

from polymode.evaluation import read_completions
from polymode.generate import Generated, sample_completions
from polymode.generate.scripted import ScriptedGenerator
from polymode.prompts import build_prompt
from polymode.runs import write_completions
from polymode.types import Completion, Example, Reference

EXAMPLES = [
    Example("a", "Name a noble gas.", (Reference("neon"), Reference("argon", ("Ar",), 0.5))),
    Example("b", "Which one?", (Reference("this"),), {"this": 1.0}, {"this": 1.0}, exclusive=True, meta={"from": "me"}),
]


class Recorder(ScriptedGenerator):
    """Keeps what it was asked."""

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        self.asked = (list(prompts), n, max_tokens, temperature, seed)
        return super().generate(prompts, n=n, max_tokens=max_tokens, temperature=temperature, seed=seed)


def sample(generator: Recorder) -> list[Completion]:
    return sample_completions(
        EXAMPLES,
        generator,
        k=2,
        confidence=True,
        samples=2,
        max_tokens=4,
        temperature=0.7,
        seed=9,
        style="full",
    )


def test_prompts_and_settings_reach_the_generator() -> None:
    generator = Recorder(["text"])
    sample(generator)
    prompts = [
        build_prompt("Name a noble gas.", 2, confidence=True, style="full"),
        build_prompt("Which one?", 2, confidence=True, exclusive=True, style="full"),
    ]
    assert generator.asked == (prompts, 2, 4, 0.7, 9)


def test_every_completion_knows_its_question_and_number() -> None:
    made = sample(Recorder(["first", "second of more than four words"]))
    assert [(c.example.id, c.sample, c.n_tokens, c.is_finished) for c in made] == [
        ("a", 0, 1, True),
        ("a", 1, 4, False),
        ("b", 0, 1, True),
        ("b", 1, 4, False),
    ]
    assert made[1].text == "second of more than" and made[1].k == 2 and made[1].has_confidence


def test_what_is_written_is_read_back_unchanged(tmp_path: Path) -> None:
    made = sample(Recorder(["<answer1>neon</answer1>", "Zeile\nmit ü"]))
    path = write_completions(tmp_path / "run", made)
    assert path == tmp_path / "run" / "completions.jsonl"
    assert read_completions(path) == made
