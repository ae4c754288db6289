"""Every benchmark in turn: each prints the ratio of our work to its limit, measured in one run."""

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    for name in ("step", "feed", "extract", "host", "scoring", "verify", "resume", "cluster"):
        subprocess.run([sys.executable, Path(__file__).with_name(f"bench_{name}.py")], check=True)
