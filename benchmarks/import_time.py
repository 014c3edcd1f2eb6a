"""Measure what `import geodata` costs beyond `import torch`: median of fresh interpreters, in seconds."""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 7
CODE = """
import time
import torch
start = time.perf_counter()
import geodata
print(time.perf_counter() - start)
"""


def main() -> None:
    """Print the median and the range."""
    calls = [
        subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True) for _ in range(RUNS)
    ]
    seconds = [float(call.stdout) for call in calls]
    print(f"import geodata after torch: {statistics.median(seconds):.3f} s", end=" ")
    print(f"(median of {RUNS}; {min(seconds):.3f} to {max(seconds):.3f} s)")


if __name__ == "__main__":
    main()
