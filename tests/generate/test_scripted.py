import pytest

from polymode.errors import ConfigError
from polymode.generate import Generator
from polymode.generate.scripted import ScriptedGenerator


def texts(generator: Generator, prompts: list[str], n: int, max_tokens: int = 100) -> list[list[str]]:
    made = generator.generate(prompts, n=n, max_tokens=max_tokens, temperature=1.0, seed=0)
    return [[generated.text for generated in group] for group in made]


def test_one_list_serves_every_prompt_and_starts_over() -> None:
    assert texts(ScriptedGenerator(["a", "b"]), ["p", "q"], 3) == [["a", "b", "a"], ["a", "b", "a"]]


def test_a_mapping_replies_to_each_prompt() -> None:
    assert texts(ScriptedGenerator({"p": ["a"], "q": ["b"]}), ["q", "p", "q"], 1) == [["b"], ["a"], ["b"]]


def test_long_texts_are_cut_off_at_the_limit() -> None:
    short, long = ScriptedGenerator(["one two three", "one two three four"]).generate(
        ["p"], n=2, max_tokens=3, temperature=0.0, seed=0
    )[0]
    assert (short.text, short.n_tokens, short.is_finished) == ("one two three", 3, True)
    assert (long.text, long.n_tokens, long.is_finished) == ("one two three", 3, False)


@pytest.mark.parametrize("script", [{}, {"p": []}, {"p": "text"}, [], "text"])
def test_a_prompt_without_texts_is_an_error(script: object) -> None:
    with pytest.raises(ConfigError, match=r"script has no texts for prompt 'p': give a non-empty list"):
        texts(ScriptedGenerator(script), ["p"], 1)  # type: ignore[arg-type]
