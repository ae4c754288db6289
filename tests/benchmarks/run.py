"""Every benchmark in turn, or those named: each prints the ratio of our work to its limit, measured in one run."""

import subprocess
import sys
import time
from pathlib import Path

NAMES = (
    "step",
    "feed",
    "trainees",
    "uncached",
    "extract",
    "host",
    "predict",
    "scoring",
    "validation",
    "verify",
    "resume",
    "cluster",
)

if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        start = time.monotonic()
        subprocess.run([sys.executable, Path(__file__).with_name(f"bench_{name}.py")], check=True)
        print(f"-- {name}: {time.monotonic() - start:.0f} s", flush=True)
