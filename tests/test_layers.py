"""The layering of docs/design.md, section 3: imports go down only. Read from the source, so lazy imports count too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = {
    0: ["types", "errors", "fingerprints", "cores", "progress"],
    1: [
        "plugins",
        "prompts",
        "chat",
        "format_checks",
        "parsing",
        "references",
        "distributions",
        "messages",
        "endpoint",
        "http_replies",
        "verifiers",
        "sandbox",
    ],
    2: [
        *("judging", "soft_labels", "rewards", "credit", "pass_at_k", "exploration", "metrics"),
        *("uncertainty", "policy", "probe"),
    ],
    3: ["tasks", "runs", "decoding"],
    4: ["generate", "training", "evaluation", "calibrate", "relabel", "report", "integrations"],
    5: ["compare", "doctor", "publish", "warmup"],
    6: ["reproduce", "web"],
    7: ["cli", "__main__"],
}
LAYER = {module: layer for layer, modules in LAYERS.items() for module in modules}

PURE = {"numpy", "scipy"}
"""Third-party packages that any layer may use at import time."""

EDGE = {
    "torch": {"decoding", "generate", "integrations", "training"},
    "transformers": {"decoding", "generate", "integrations", "training"},
    "accelerate": {"training"},
    "psutil": {"decoding"},
    "peft": {"decoding", "training"},
    "safetensors": {"decoding"},
    "trl": {"training", "integrations"},
    "inspect_ai": {"integrations"},
    "lm_eval": {"integrations"},
    "verifiers": {"integrations"},
    "openenv": {"integrations"},
    "verl": {"integrations"},
    "transfer_queue": {"integrations"},
    "ray": {"evaluation"},
    "skyrl": {"integrations"},
    "nemo_gym": {"integrations"},
    "vllm": {"generate"},
    "tokenizers": {"decoding", "training"},
    "gguf": {"decoding"},
    "datasets": {"training", "tasks", "integrations"},
    "huggingface_hub": {"tasks", "publish"},
    "zstandard": {"runs"},
    "pyarrow": {"training", "tasks", "runs", "report"},
    "matplotlib": {"report"},
    "jinja2": {"chat", "report", "web"},
    "markupsafe": {"report", "web"},
    "fastapi": {"integrations", "web"},
    "starlette": {"web"},
    "pydantic": {"integrations", "relabel", "runs", "training", "web"},
    "uvicorn": {"web"},
    "prometheus_client": {"web"},
    "sqlalchemy": {"web"},
    "alembic": {"web"},
    "yaml": {"training", "cli", "runs", "publish"},
    "cyclopts": {"cli"},
    "rich": {"cli"},
    "tqdm": {"progress", "generate", "training", "evaluation", "cli", "reproduce"},
    "rapidfuzz": {"metrics"},
    "httpx2": {"endpoint"},
    "anyio": {"endpoint", "integrations"},
    "math_verify": {"verifiers"},
    "sympy": {"verifiers"},
}
"""Where each other third-party package may be imported."""

CHEAP = {"yaml", "tqdm"}
"""Light core dependencies. The rest of EDGE is imported inside a function wherever `import polymode.NAME` would
otherwise load it: in the modules directly below polymode and in each package's ``__init__``; layer 7 is exempt."""


def imports_of(source: str, module: str) -> Iterator[tuple[str, int, bool]]:
    """Each absolute name imported by a module, its line, and whether it is imported when the module is.

    ``module`` is the dotted name, ending in ``.__init__`` for a package, so that relative imports can be resolved.
    """
    tree = ast.parse(source)
    lazy: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(node):
            lazy.update(child for child in ast.walk(node) if child is not node)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, node not in lazy
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.split(".")[: -node.level]
                base = ".".join([*parent, base] if base else parent)
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno, node not in lazy


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def violations(source: str, module: str) -> list[str]:
    """What ``module`` (dotted, below ``polymode``) imports against the rules, in words."""
    _, *below = module.removesuffix(".__init__").split(".")
    own = below[0] if below else ""
    if own and own not in LAYER:
        return [f"{module}: {own!r} has no layer; place it in LAYERS of tests/test_layers.py and in docs/design.md"]
    found = []
    for name, line, at_import in imports_of(source, module):
        top, *rest = name.split(".")
        where = f"{module}, line {line}: imports {name}"
        if top == "polymode":
            found += _inner(own, rest[0] if rest else "", where)
        elif top not in sys.stdlib_module_names and top not in PURE:
            found += _outer(own, module, top, at_import, where)
    return found


def _inner(own: str, other: str, where: str) -> list[str]:
    if other == own or not own:  # the package itself re-exports
        return []
    if not other or other not in LAYER:
        # `from polymode import score`: the public face pulls in every layer it re-exports.
        return [] if LAYER[own] == 7 else [f"{where}: import from the module that defines it"]
    if LAYER[other] > LAYER[own]:
        return [f"{where}: layer {LAYER[own]} may not import layer {LAYER[other]}"]
    if LAYER[own] == LAYER[other] == 4 and own != "integrations":  # adapters of the other modules, imported by none
        return [f"{where}: {own} and {other} meet only through run folders"]
    return []


def _outer(own: str, module: str, top: str, at_import: bool, where: str) -> list[str]:
    if own not in EDGE.get(top, set()):
        return [f"{where}: {top} may be imported in {sorted(EDGE.get(top, set())) or 'no module'}"]
    is_face = module.endswith(".__init__") or module.count(".") == 1
    if at_import and is_face and own and LAYER[own] < 7 and top not in CHEAP:
        return [f"{where}: {top} is heavy; import it inside the function that needs it"]
    return []


def modules(package: Path) -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(package.parent).with_suffix("").parts), path)
        for path in sorted(package.rglob("*.py"))
    ]


def test_imports_go_down_only(root: Path) -> None:
    files = modules(root / "polymode")
    assert len(files) > 10
    assert [line for name, path in files for line in violations(path.read_text(encoding="utf-8"), name)] == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("polymode.types", "import numpy\nfrom polymode.judging import judge", "layer 0 may not import layer 2"),
        ("polymode.metrics.coverage", "def f():\n    from polymode import runs", "layer 2 may not import layer 3"),
        ("polymode.metrics.coverage", "from ..runs import writing", "layer 2 may not import layer 3"),
        ("polymode.metrics.__init__", "from .. import evaluation", "layer 2 may not import layer 4"),
        (
            "polymode.judging",
            "def f():\n    import torch",
            "torch may be imported in ['decoding', 'generate', 'integrations', 'training']",
        ),
        ("polymode.training.rl", "from polymode.generate import sampling", "meet only through run folders"),
        ("polymode.report.page", "import trl.trainer", "trl may be imported in"),
        ("polymode.training.rl", "from polymode.integrations import trl", "meet only through run folders"),
        ("polymode.judging", "import requests", "requests may be imported in no module"),
        ("polymode.judging", "from polymode import score", "import from the module that defines it"),
        ("polymode.helpers", "", "'helpers' has no layer"),
        ("polymode.helpers.__init__", "", "'helpers' has no layer"),
        ("polymode.training.__init__", "import torch", "torch is heavy"),
        ("polymode.evaluation", "import cyclopts", "cyclopts may be imported in ['cli']"),
    ],
)
def test_the_check_finds_a_planted_violation(module: str, source: str, complaint: str) -> None:
    [found] = violations(source, module)
    assert complaint in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("polymode.judging", "import json\nfrom scipy import stats\nfrom polymode.verifiers.text import TextVerifier"),
        ("polymode.metrics.table", "from .coverage import recall\nfrom polymode.uncertainty import bootstrap"),
        ("polymode.training.rl", "import torch\nimport trl\nfrom polymode.runs import writing"),
        ("polymode.integrations.trl", "from polymode.training.reward import make_reward_function"),
        ("polymode.cli", "def f():\n    import cyclopts\n    from polymode.training import run"),
        ("polymode.__init__", "from polymode.types import Example\nfrom polymode.evaluation import evaluate"),
    ],
)
def test_the_check_accepts_what_the_design_allows(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_import_polymode_loads_nothing_heavy() -> None:
    # In a fresh interpreter: this one has loaded torch for other tests.
    heavy = sorted({*EDGE, "pandas", "sklearn"} - CHEAP)
    code = f"import sys, polymode; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
