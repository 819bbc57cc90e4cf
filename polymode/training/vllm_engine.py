"""Options of the vLLM engine that samples during training (layer L4).

TRL builds the engine itself and hands a fixed set of ``vllm.LLM``'s arguments through. The others are added, or put in
the place of TRL's, while it does; what TRL relies on is refused, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from polymode.errors import ConfigError

_REASONS: Mapping[str, str] = {
    "model tokenizer": "it is the recipe's model",
    "gpu_memory_utilization": "write vllm_gpu_memory_utilization at the top level",
    "max_model_len": "write trl: {vllm_max_model_length: ...}",
    "tensor_parallel_size": "write trl: {vllm_tensor_parallel_size: ...}, by which TRL groups the processes",
    "enable_sleep_mode": "write trl: {vllm_enable_sleep_mode: ...}, so that TRL wakes the engine",
    "model_impl": "write trl: {vllm_model_impl: ...}",
    "trust_remote_code": "write trl: {trust_remote_code: ...}",
    "pipeline_parallel_size data_parallel_size distributed_executor_backend": (
        "each training process holds an engine of its own, started by TRL"
    ),
    "seed": "processes of one group must sample alike, so TRL seeds them",
    "logprobs_mode": "the importance sampling correction needs the log-probabilities that were sampled from",
    "quantization": "TRL sends the trained weights in each step, which are not quantised",
    "enable_lora max_loras max_lora_rank": "TRL merges the adapters into the weights that it sends in each step",
    "skip_tokenizer_init": "TRL reads the engine's tokenizer",
}
REFUSED: Mapping[str, str] = {name: reason for names, reason in _REASONS.items() for name in names.split()}
"""Arguments of ``vllm.LLM`` that are refused in training, and why or where they belong."""


def check_engine_options(options: Mapping[str, Any], *, use_vllm: bool, mode: str) -> None:
    """Refuse what the section ``vllm`` must not hold; needs no vLLM.

    Raises:
        ConfigError: with the field, the reason and what to write instead.
    """
    if options and not use_vllm:
        raise ConfigError(f"vllm: {next(iter(options))} is given without use_vllm: add use_vllm: true")
    if options and mode == "server":
        raise ConfigError(
            f"vllm: {next(iter(options))} with vllm_mode = 'server': give the server's options to trl vllm-serve"
        )
    for name in options.keys() & REFUSED.keys():
        raise ConfigError(f"vllm: {name} is refused: {REFUSED[name]}")


@contextmanager
def engine_options(options: Mapping[str, Any]) -> Iterator[None]:
    """Let engines that TRL builds inside have the options too."""
    from trl.generation import vllm_generation

    engine = getattr(vllm_generation, "LLM", None)
    if not options or engine is None:  # without vLLM, TRL says that it is missing
        yield
        return
    module: Any = vllm_generation
    module.LLM = lambda **own: engine(**{**own, **options})
    try:
        yield
    finally:
        module.LLM = engine
