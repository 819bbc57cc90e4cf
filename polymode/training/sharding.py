"""Weights that are spread over processes: who holds all of them, and how a whole model gets onto disk (layer L4).

The engines are accelerate's, chosen by `accelerate launch`. Where every process holds all weights (DDP, ZeRO-1 and 2),
each may call the model as often as it likes; under ZeRO-3 and FSDP all processes must call it equally often, because
every call collects the weights of a layer from all of them.

TRL's and transformers' ``save_model`` writes no weights under FSDP with sharded checkpoints, nor under ZeRO-3 unless
DeepSpeed was told to collect them, and raises nothing. So both are told here, and what was written is looked at.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedType, PartialState
from accelerate.utils import gather_object

from polymode.decoding.settings import base_of
from polymode.errors import ConfigError, RunIncompleteError, UserError, WriteError
from polymode.runs import alone, holds_model

_WHOLE = {DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}
SHARED_SECONDS = 10.0
"""How long a file that one node has written may take to appear on another."""


def has_whole_weights(accelerator: Accelerator) -> bool:
    """Whether every process holds all weights, and gradients are summed by hooks on them (DDP, ZeRO-1, ZeRO-2)."""
    plugin = accelerator.state.deepspeed_plugin
    return accelerator.distributed_type in _WHOLE or (plugin is not None and plugin.zero_stage < 3)


def name_of(accelerator: Accelerator) -> str:
    """The engine in the words of its makers, such as ``DeepSpeed ZeRO-3``."""
    if (plugin := accelerator.state.deepspeed_plugin) is not None:
        return f"DeepSpeed ZeRO-{plugin.zero_stage}"
    if (plugin := getattr(accelerator.state, "fsdp_plugin", None)) is not None:
        return f"FSDP{plugin.fsdp_version}"
    return str(accelerator.distributed_type.value)


def prepare_engine(trainer: Any) -> None:
    """Tell the engine what a run needs of it; before training, when DeepSpeed reads its configuration."""
    state = trainer.accelerator.state
    if (plugin := state.deepspeed_plugin) is not None:
        plugin.deepspeed_config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    if getattr(getattr(state, "fsdp_plugin", None), "fsdp_version", 1) == 2:
        # By this mark `generate` knows that all processes must take equally many steps. transformers sets it on models
        # that it spreads itself, not on accelerate's, where the first process to finish would leave the others waiting.
        base_of(trainer.accelerator.unwrap_model(trainer.model))._is_fsdp_managed_module = True


@contextmanager
def _whole_when_saved(accelerator: Accelerator) -> Iterator[None]:
    """FSDP's weights are collected when the model is saved; its checkpoints keep the type that the user chose."""
    plugin: Any = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        yield
        return
    chosen = plugin.state_dict_type
    plugin.set_state_dict_type("FULL_STATE_DICT")
    try:
        yield
    finally:
        plugin.set_state_dict_type(chosen)


def save_whole(trainer: Any, folder: Path) -> None:
    """Save the model with all its weights (or its adapters); every process calls this, the first one writes.

    Raises:
        RunIncompleteError: nothing that holds weights was written; the checkpoints are untouched.
    """
    accelerator: Accelerator = trainer.accelerator
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier attempt has left
    accelerator.wait_for_everyone()
    with _whole_when_saved(accelerator):
        trainer.save_model(str(folder))
    # Said by the first process to all, so that none waits for one that has raised.
    [is_saved, *_] = gather_object([holds_model(folder)])
    if not is_saved:
        raise RunIncompleteError(
            f"no weights were saved with {name_of(accelerator)}: the last checkpoint is whole, so go on with --resume "
            "and the same engine, or train with DDP (accelerate launch --multi_gpu)"
        )


@contextmanager
def only_run(target: Path) -> Iterator[None]:
    """The processes of this run are the only ones that write ``target`` meanwhile; the first of them has the lock.

    Raises:
        RunExistsError, WriteError: as `polymode.runs.alone`, in every process, so that none waits for one that raised.
    """
    with ExitStack() as locks:
        refusal: UserError | WriteError | None = None
        if PartialState().is_main_process:
            try:
                locks.enter_context(alone(target))
            except (UserError, WriteError) as exc:
                refusal = exc
        [refusal, *_] = gather_object([refusal])
        if refusal is not None:
            raise refusal
        yield


def check_shared(path: Path) -> None:
    """Refuse processes that do not see a file of the run folder, as on nodes that share no file system.

    Raises:
        ConfigError: in every process, so that none waits for one that has raised.
    """
    end = time.monotonic() + SHARED_SECONDS
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
    sees_P = gather_object([path.exists()])
    if not all(sees_P):
        raise ConfigError(
            f"--out {path.parent} is not seen by process {sees_P.index(False)} of {len(sees_P)}: all nodes need one "
            "file system; name a folder that they share"
        )


def leave_together() -> None:
    """End what connects the processes, once all are done; the last call of a process that trains.

    One whose neighbours have ended already may abort in gloo, after all its work is done, and the launcher then calls
    the whole run failed.
    """
    state = PartialState()
    state.wait_for_everyone()
    state.destroy_process_group()
