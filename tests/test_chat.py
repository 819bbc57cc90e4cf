"""From a prompt to what a model reads, with a thinking template, one that refuses system prompts, and none."""

from typing import Any

import pytest
from tokenizers import normalizers
from tokenizers.processors import TemplateProcessing

from polymode.chat import Chat, chat_from, shots_from
from polymode.decoding.texts import all_ends_of
from polymode.errors import ConfigError
from polymode.format_checks import check_reading, check_stops
from polymode.prompts import build_plain_prompt, build_prompt

from .chat_models import NO_SYSTEM_TEMPLATE, THINKING_TEMPLATE, byte_level_tokenizer, real_template

SHOT = ("Name a colour.", "Red")


def read(chat: Chat, tokenizer: Any, prompt: str) -> str:
    return tokenizer.decode(chat.encode(tokenizer, prompt), skip_special_tokens=False)


def test_what_a_thinking_model_reads_word_for_word() -> None:
    chat = Chat({"enable_thinking": False}, "Be brief.", (("Q1", "<think>hm</think>A1"),))
    assert read(chat, byte_level_tokenizer(), "Q2") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n"
        "<|im_start|>user\nQ2<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert read(Chat(), byte_level_tokenizer(), "Q") == "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"


def test_text_and_tokens_are_the_same() -> None:
    tokenizer, chat = byte_level_tokenizer(), Chat(system="Sys", shots=(SHOT,))
    assert tokenizer(chat.text(tokenizer, "Q"), add_special_tokens=False)["input_ids"] == chat.encode(tokenizer, "Q")


def test_without_a_template_examples_stand_in_front_as_text() -> None:
    tokenizer = byte_level_tokenizer(None)
    assert read(Chat(), tokenizer, "Q\n") == "Q\n"
    assert read(Chat(system="Sys\n", shots=(SHOT,)), tokenizer, "Q\n") == "Sys\n\nName a colour.\nRed\n\nQ\n"


@pytest.mark.parametrize(
    ("template", "chat", "message"),
    [
        (None, Chat({"enable_thinking": False}), "the model has no chat template; leave it out"),
        ("thinking", Chat({"enable_thinkin": False}), "does not read 'enable_thinkin': check the spelling"),
        ("no system", Chat(system="Sys"), r"refuses system or shots \(System role not supported\)"),
    ],
)
def test_what_a_template_would_ignore_or_reject_is_refused(template: str | None, chat: Chat, message: str) -> None:
    templates = {None: {"template": None}, "thinking": {}, "no system": {"template": NO_SYSTEM_TEMPLATE}}
    with pytest.raises(ConfigError, match=message):
        chat.check(byte_level_tokenizer(**templates[template]))


@pytest.mark.parametrize(
    ("template", "chat", "message"),
    [
        (
            "{% for t in tools %}{{ t }}{% endfor %}",
            Chat({"tools": 5}),
            r"'tools': 5.*fails with it \(TypeError: .*give",
        ),
        ("{{ messages[0].content + 1 }}", Chat(), "refuses the prompt .*: mend chat_template of its tokenizer"),
    ],
)
def test_a_template_that_fails_is_named(template: str, chat: Chat, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chat.check(byte_level_tokenizer(template))


def test_what_every_template_takes_passes() -> None:
    for options in ({}, {"template": None}, {"template": NO_SYSTEM_TEMPLATE}):
        Chat(shots=(SHOT,), stop=("\n\n",)).check(byte_level_tokenizer(**options))


REAL = ("qwen2_5", "qwen3", "qwen3_instruct_2507", "qwen3_8", "deepseek_r1_distill", "llama3_1", "phi3_5", "gemma3")


@pytest.mark.parametrize("name", [*REAL, "gptoss", "glm4moe", "lfm2", "cohere2", "nemotron_3_nano"])
def test_real_templates_read_system_prompts_and_examples(name: str) -> None:
    tokenizer = byte_level_tokenizer(real_template(name))
    chat = Chat(system="Be\n  brief. ", shots=(("Which?\n\nName one.", "<think>hm</think>\n<answer>Red</answer>\n"),))
    chat.check(tokenizer)
    text = chat.text(tokenizer, "Q2")
    assert text.index("brief.") < text.index("Name one.") < text.index("<answer>Red</answer>") < text.index("Q2")


IGNORES_SYSTEM = (
    "{% for m in messages %}{% if m.role != 'system' %}{{ m.role + ': ' + m.content }}{% endif %}{% endfor %}"
)
LAST_ONLY = "{{ messages[-1].content }}"
CAPITALS = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"


@pytest.mark.parametrize("name", ["smolvlm", "idefics3", "llava_next"])
def test_a_template_for_messages_with_images_would_lose_the_question(name: str) -> None:
    with pytest.raises(ConfigError, match="leaves out the prompt, so nobody would read it: use an instruction-tuned"):
        Chat().check(byte_level_tokenizer(real_template(name)))


@pytest.mark.parametrize(
    ("template", "chat", "lost"),
    [
        (IGNORES_SYSTEM, Chat(system="Be brief."), "system"),
        (LAST_ONLY, Chat(system="Be brief."), "system"),
        (LAST_ONLY, Chat(shots=(SHOT,)), "shots"),
        (CAPITALS, Chat(), "the prompt"),
    ],
)
def test_what_a_template_leaves_out_is_refused(template: str, chat: Chat, lost: str) -> None:
    with pytest.raises(ConfigError, match=f"chat template leaves out {lost}, so nobody would read it"):
        chat.check(byte_level_tokenizer(template))
    if lost != "the prompt":
        Chat().check(byte_level_tokenizer(template))


MESSAGES = "{%% for m in messages %%}<|im_start|>{{ m.role }}\n{{ m.content%s }}<|im_end|>\n{%% endfor %%}"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (" | striptags", r"behind .*, its first \d+ characters, stands .* in place of '<b>"),
        (" | e", "stands 'amp; isn&#39;t .* in place of ' isn"),
        (" | tojson", "stands .*n0. Is it rare .* in place of ' 0. Is it rare"),
        ("[:200]", "its first 200 characters, stands '<.im_end.>"),
        ("[:9000]", "its first [0-9]+ characters, stands '<.im_end.>"),
        (" | replace('answer', 'reply')", "stands 'reply.* in place of 'answer"),
        (" | upper", "leaves out the prompt"),
    ],
)
def test_a_template_that_changes_the_prompt_is_refused(change: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"chat template .*{problem}.*: use an instruction-tuned model") as caught:
        Chat().check(byte_level_tokenizer(MESSAGES % change))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 260


@pytest.mark.parametrize("change", ["", " | trim", "[0:]"])
def test_a_template_that_trims_the_prompt_passes(change: str) -> None:
    Chat(system="Be brief.", shots=(SHOT,)).check(byte_level_tokenizer(MESSAGES % change))


NEEDS = (
    "{% if not mode is defined %}{{ raise_exception('say how to think') }}{% endif %}{{ date_string }}" + MESSAGES % ""
)
ADDS = "{{ 'x' + enable_thinking }}{% generation %}{{ date_string }}{% endgeneration %}" + MESSAGES % ""


@pytest.mark.parametrize(
    ("template", "chat", "message"),
    [
        (NEEDS, Chat(), r"refuses the prompt \(say how to think\), and nobody sets date_string, mode, which it reads"),
        (
            NEEDS,
            Chat(system="Sys", shots=(SHOT,)),
            "nobody sets date_string, mode, .* --chat-template date_string=VALUE",
        ),
        (
            NEEDS,
            Chat({"date_string": "x"}, system="Sys"),
            "nobody sets mode, which it reads: .* --chat-template mode=VALUE",
        ),
        (ADDS, Chat(), "'enable_thinking' is undefined.*nobody sets enable_thinking, which it reads"),
        (ADDS, Chat({"enable_thinking": 3}), r"chat_template = \{'enable_thinking': 3\}: .*fails with it \(TypeError"),
        (ADDS, Chat({"enable_thinking": 3}, system="Sys"), "'enable_thinking': 3.*fails with it"),
        (NO_SYSTEM_TEMPLATE + "{{ other }}", Chat(system="Sys"), r"refuses system or shots \(System role"),
    ],
)
def test_a_template_that_needs_a_variable_names_it(template: str, chat: Chat, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chat.check(byte_level_tokenizer(template))


@pytest.mark.parametrize(
    ("stop", "how"),
    [
        ("|", {"style": "lines"}),
        ("\n", {"style": "lines"}),
        ("2.", {"style": "lines"}),
        (" | 0.7", {"style": "lines"}),
        ("<answer1>", {}),
        ("</confidence3>", {}),
        ("\n<answer2>", {}),
        ("0.85<", {}),
        ("<answer>", {"k": 1}),
        ("</answer", {"k": 1, "confidence": False}),
        ("</think>", {"style": "brief"}),
        ("><confidence2>", {"style": "brief"}),
        ("<why1>", {"style": "rationale"}),
        ("| why:", {"style": "rationale-lines"}),
    ],
)
def test_a_stop_string_that_cuts_the_answer_format_is_refused(stop: str, how: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="stands in the answer format .*: leave it out") as caught:
        check_stops(("Question:", stop), **{"k": 3, "confidence": True, "style": "full", **how})
    assert f"stop = {stop!r} stands" in str(caught.value)


@pytest.mark.parametrize(
    ("stop", "how"),
    [
        ("\n\n", {}),
        ("\n\n", {"style": "lines"}),
        ("\n4.", {"style": "lines"}),
        ("|", {"style": "lines", "confidence": False}),
        ("\n", {"k": 1}),
        ("<answer4>", {}),
        ("<answer1>", {"k": 1}),
        ("7", {"k": 1, "confidence": False}),
        ("<why1>", {}),
        ("...", {}),
        ("</confidence3>\n", {}),
    ],
)
def test_a_stop_string_that_cuts_behind_the_format_is_allowed(stop: str, how: dict[str, Any]) -> None:
    check_stops((stop,), **{"k": 3, "confidence": True, "style": "full", **how})


@pytest.mark.parametrize("values", [{"template": {"tokenize": False}}, {"stop": ("",)}, {"stop": ("x" * 201,)}])
def test_values_that_are_not_allowed(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="chat_template: 'tokenize'|stop = "):
        Chat(**values)


def test_the_first_stop_string_cuts() -> None:
    chat = Chat(stop=("\n\n", "Question:"))
    assert chat.cut("a\nQuestion: b\n\nc") == "a\n"
    assert chat.cut("a\n\nQuestion: b") == "a"
    assert chat.cut("nothing") == "nothing"


def test_a_chat_survives_its_file() -> None:
    chat = Chat({"enable_thinking": False}, "Sys", (SHOT, ("Q", "A")), ("\n\n",))
    assert chat_from(chat.to_json()) == chat
    assert chat_from({}) == Chat()


TWO = "<answer1>Peru</answer1><confidence1>0.7</confidence1>\n<answer2>Chile</answer2><confidence2>0.6</confidence2>"


@pytest.mark.parametrize(
    ("completion", "style", "prompt"),
    [
        (TWO, "full", build_prompt("Q", 2, confidence=True, ask="Give {k}.")),
        ("<answer>Peru</answer>", "brief", build_prompt("Q", 1, confidence=False, style="brief")),
        (
            "1. Peru | 0.7\n2. Chile | 0.6",
            "lines",
            build_prompt("Q", 2, confidence=True, style="lines", ask="Give {k}."),
        ),
        ("Peru", "full", build_plain_prompt("Q")),
    ],
)
def test_an_example_is_asked_as_its_completion_answers(completion: str, style: Any, prompt: str) -> None:
    assert shots_from([{"question": "Q", "completion": completion}], style, ask="Give {k}.") == ((prompt, completion),)


def test_an_example_that_breaks_the_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="shots, number 1: the completion does not keep the answer format"):
        shots_from([{"question": "Q", "completion": "<answer1>Peru</answer1><answer3>Chile</answer3>"}], "full")


CHECK: dict[str, Any] = {"k": 3, "confidence": True, "style": "full", "max_tokens": 200}


def test_room_is_what_the_context_leaves() -> None:
    tokenizer = byte_level_tokenizer()
    assert check_reading(tokenizer, None, 5000, **CHECK) == 200
    assert check_reading(tokenizer, 400, 100, **CHECK) == 200
    assert check_reading(tokenizer, 400, 250, **CHECK) == 150


def test_a_context_or_limit_without_room_for_the_format(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = byte_level_tokenizer()
    with pytest.raises(ConfigError, match="the longest prompt has 390 tokens .* model reads 400: shorten"):
        check_reading(tokenizer, 400, 390, **CHECK)
    assert check_reading(tokenizer, 4000, 10, **{**CHECK, "k": 20, "max_tokens": 60}) == 60
    assert "k = 20 needs " in caplog.text and "cut off at 60, so none can keep it: raise that limit" in caplog.text


@pytest.mark.parametrize(
    ("template", "changes", "is_told"),
    [
        (None, {}, True),
        (None, {"has_shots": True}, False),
        (None, {"style": "brief"}, False),  # only models that are trained on it are asked so
        (THINKING_TEMPLATE, {}, False),
    ],
)
def test_a_model_without_a_template_goes_on_from_the_plain_prompt(
    template: str | None, changes: dict[str, Any], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert check_reading(byte_level_tokenizer(template), None, 10, **{**CHECK, **changes}) == 200
    assert ("has no chat template, so it goes on from the plain prompt" in caplog.text) == is_told


@pytest.mark.parametrize("style", ["full", "lines"])
def test_a_tokenizer_that_loses_the_format(style: str) -> None:
    """One drops angle brackets, as SentencePiece models with an own normaliser do; another joins lines."""
    lossy = {"full": normalizers.Replace("<", ""), "lines": normalizers.Replace("\n", " ")}
    tokenizer = byte_level_tokenizer()
    tokenizer.backend_tokenizer.normalizer = lossy[style]
    with pytest.raises(ConfigError, match="tokenizer does not keep the answer format: .* comes back as"):
        check_reading(tokenizer, None, 10, **{**CHECK, "style": style})


class Model:
    def __init__(self, ends: Any) -> None:
        self.generation_config = type("Config", (), {"eos_token_id": ends})


@pytest.mark.parametrize(
    ("template", "ends", "names"),
    [
        ("thinking", None, {"<|endoftext|>", "<|im_end|>"}),
        ("no system", None, {"<|endoftext|>", "<end_of_turn>"}),
        (None, [1, 0], {"<|endoftext|>", "<|im_start|>"}),
        (None, 2, {"<|endoftext|>", "<|im_end|>"}),
        (None, None, {"<|endoftext|>"}),
    ],
)
def test_every_token_that_ends_a_turn(template: str | None, ends: Any, names: set[str]) -> None:
    templates = {None: {"template": None}, "thinking": {}, "no system": {"template": NO_SYSTEM_TEMPLATE}}
    tokenizer = byte_level_tokenizer(**templates[template])
    assert set(tokenizer.convert_ids_to_tokens(list(all_ends_of(Model(ends), tokenizer)))) == names


# --- tokens that the model does not have -----------------------------------------------------------------------------


def test_a_template_with_a_token_that_has_no_embedding_is_refused() -> None:
    tokenizer = byte_level_tokenizer()
    first: Any = tokenizer.convert_tokens_to_ids("<think>")  # added behind the vocabulary
    quiet = Chat({"enable_thinking": False})
    quiet.check(tokenizer, first + 2)
    with pytest.raises(
        ConfigError, match=f"template writes '</think>', token {first + 1}, and the model knows {first}:"
    ):
        quiet.check(tokenizer, first)
    Chat().check(tokenizer, first + 2)


def test_a_tokenizer_that_ends_each_prompt_is_refused() -> None:
    tokenizer = byte_level_tokenizer(template=None)
    end, number = tokenizer.eos_token, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"$A {end}", special_tokens=[(end, number)])
    with pytest.raises(ConfigError, match="behind every prompt, so that the model would go on from the end of a text"):
        Chat().check(tokenizer)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{end} $A", special_tokens=[(end, number)])
    Chat().check(tokenizer)  # in front of it is as it should be
