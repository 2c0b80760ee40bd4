"""`python -m tests.bench.painting FOLDER SIZE NAME...`: pictures of 1.4 MB, each unlike all others, painted in a
process of its own so that the painter's memory is not taken for the archiver's."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def painted(folder: Path, names: Sequence[str], size: int = 0) -> list[str]:
    """Have these painted, padded behind their end up to `size` bytes; returns the names."""
    command = [sys.executable, "-m", "tests.bench.painting", str(folder), str(size), *names]
    subprocess.run(command, check=True)
    return list(names)


def main(folder: Path, size: int, names: Sequence[str]) -> None:
    """Paint them here."""
    from PIL import Image  # Not where pictures are ordered.

    for name in names:
        bands = [Image.effect_noise((768, 1024), 4) for _ in range(3)]
        Image.merge("RGB", bands).save(folder / name, "PNG")
        if size:
            os.truncate(folder / name, size)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
