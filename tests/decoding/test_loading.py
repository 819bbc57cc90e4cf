"""A model from a GGUF file is the model that was written into it, and can be saved."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from polymode.decoding import gguf_files
from polymode.decoding.loading import load_causal_lm, load_tokenizer
from polymode.errors import ConfigError, MissingExtraError
from polymode.generate.transformers import TransformersGenerator
from polymode.training.shapes import from_config, shape_of

HEADS, HIDDEN, MLP, VOCABULARY = 2, 64, 96, 300
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers.0": "blk.0",
    "lm_head": "output",
}
"""Parts of names in transformers and in llama.cpp."""


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=MLP,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    *,
    architecture: str = "llama",
    quantised: bool = False,
    without: str = "?",
    head: bool = False,
) -> Path:
    """The model as llama.cpp's converter writes it, with a byte-level tokenizer of its own."""
    import gguf
    from tokenizers.pre_tokenizers import ByteLevel

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCABULARY)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "ĠĠ", "ĠĠĠĠ"]
    tokens += [f"<extra{i}>" for i in range(VOCABULARY - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(["Ġ Ġ", "ĠĠ ĠĠ"])  # older transformers read a list of one as a text
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in model.state_dict().items():
        if (name == "lm_head.weight" and not head) or without in name:  # the head is tied to the embedding
            continue
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        array = tensor.float().numpy()
        if "attn_q" in name or "attn_k" in name:  # llama.cpp rotates neighbours, transformers halves
            array = array.reshape(HEADS, 2, HIDDEN // HEADS // 2, HIDDEN).swapaxes(1, 2).reshape(array.shape)
        if quantised and array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([[1, 40, 41, 42, 250]])).logits


@pytest.mark.parametrize(("quantised", "tolerance"), [(False, 1e-5), (True, 5e-2)])
def test_the_weights_are_those_that_were_written_and_can_be_saved(
    quantised: bool, tolerance: float, llama: LlamaForCausalLM, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", llama, quantised=quantised)
    model = load_causal_lm(file, dtype=torch.float32)
    assert torch.allclose(logits(model), logits(llama), atol=tolerance)
    assert not torch.equal(logits(model), logits(llama)) or not quantised  # eight bits are not the whole number
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(logits(again), logits(model))
    assert "quantization_config" not in again.config.to_dict()


def test_the_dtype_is_the_one_asked_for(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    model = load_causal_lm(write_gguf(tmp_path / "tiny.GGUF", llama), dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_the_tokenizer_comes_with_its_template_and_ends(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_gguf(tmp_path / "tiny.gguf", llama), padding_side="left")
    text = "Chișinău, 5 < 6"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert chat == "<|im_start|>Hi<|im_end|>"


def test_what_cannot_be_read_is_said_in_one_line(
    llama: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.gguf"
    page.write_text("<!DOCTYPE html>")
    cut = write_gguf(tmp_path / "cut.gguf", llama)
    whole = cut.read_bytes()
    cut.write_bytes(whole[:200])
    short = tmp_path / "short.gguf"
    short.write_bytes(whole[: len(whole) * 3 // 4])
    unknown = write_gguf(tmp_path / "unknown.gguf", llama, architecture="mammoth")
    for file, message in [
        (tmp_path / "none.gguf", "does not exist: give the path of a GGUF file"),
        (page, "is no GGUF file"),
        (cut, "is damaged or was not copied to its end"),
        (short, "is damaged or was not copied to its end"),
        (unknown, "architecture mammoth, cannot be read"),
    ]:
        for load in (load_tokenizer, lambda path: load_causal_lm(path, dtype=torch.float32)):
            with pytest.raises(ConfigError, match=message) as caught, warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # the reader of a cut file leaves it open
                load(file)
            assert "\n" not in str(caught.value)
    monkeypatch.setattr(gguf_files, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polymode\[gguf\]'"):
        load_tokenizer(unknown)


def test_the_shape_of_a_gguf_file_is_that_of_its_model(
    llama: LlamaForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", llama)
    found = shape_of(str(file))
    assert found == from_config(llama.config.to_dict(), str(file))
    matrices = sum(one.numel() for one in llama.parameters() if one.dim() == 2)
    assert found.parameters == matrices and found.is_tied
    untied = write_gguf(tmp_path / "untied.gguf", llama, head=True)
    assert shape_of(str(untied)).parameters == matrices + VOCABULARY * HIDDEN
    for name, content, message in [
        ("none.gguf", None, "does not exist"),
        ("page.gguf", b"<!DOCTYPE html>", "is no GGUF file"),
        ("cut.gguf", file.read_bytes()[:200], "is damaged or was not copied to its end .* download it again"),
    ]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=message), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the reader of a cut file leaves it open
            shape_of(str(tmp_path / name))
    monkeypatch.setattr(gguf_files, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polymode\[gguf\]'"):
        shape_of(str(file))


@pytest.mark.parametrize(
    ("leave_out", "message"),
    [("config.json", "no config.json"), ("tokenizer*", "no tokenizer"), ("model*", "no weights")],
)
def test_what_a_folder_lacks_is_named(leave_out: str, message: str, llama: LlamaForCausalLM, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_gguf(tmp_path / "tiny.gguf", llama))
    folder = tmp_path / "model"
    llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.glob(leave_out):
        file.unlink()
    with pytest.raises(ConfigError, match=f"model' has {message}.*: copy it there from the model"):
        TransformersGenerator(folder)


def test_a_tokenizer_of_another_model_is_refused(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_gguf(tmp_path / "tiny.gguf", llama))
    config = LlamaConfig.from_dict({**llama.config.to_dict(), "vocab_size": VOCABULARY - 1})
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match=f"tokenizer has {VOCABULARY} tokens and the model knows {VOCABULARY - 1}"):
        TransformersGenerator(tmp_path / "model")


def test_a_model_in_a_gguf_file_generates_as_from_its_folder(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", llama)
    load_causal_lm(file, dtype=torch.float32).save_pretrained(tmp_path / "saved")
    load_tokenizer(file).save_pretrained(tmp_path / "saved")
    texts = [
        TransformersGenerator(model, show_progress=False).generate(
            ["Hello", "How are you?"], n=2, max_tokens=8, temperature=1.0, seed=0
        )
        for model in (file, tmp_path / "saved")
    ]
    assert texts[0] == texts[1]
    with pytest.raises(ConfigError, match="does not exist: give the path of a GGUF file"):
        TransformersGenerator(tmp_path / "none.gguf")


def test_damaged_weights_are_said_to_be(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    llama.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ConfigError, match=r"the weights of model = .* are damaged .*: copy or download them again"):
        load_causal_lm(tmp_path, dtype=torch.float32)


def test_missing_weights_are_refused_and_not_drawn_at_random(llama: LlamaForCausalLM, tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in llama.state_dict().items() if "o_proj" not in name}
    llama.save_pretrained(tmp_path / "folder", state_dict=weights)
    with pytest.raises(ConfigError, match=r"1 of its weights are missing, model\.layers\.0\.self_attn\.o_proj\.weight"):
        load_causal_lm(tmp_path / "folder", dtype=torch.float32)
    part = write_gguf(tmp_path / "tiny-00001-of-00002.gguf", llama, without="mlp.")
    with pytest.raises(ConfigError, match=r"3 of its weights are missing.*it is part 1 of 2: join them"):
        load_causal_lm(part, dtype=torch.float32)
