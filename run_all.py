"""Run the main job with the settings beside this file, from any folder: `python run_all.py`."""

import sys
from pathlib import Path

from churnops.cli import main

if __name__ == "__main__":
    main(["--config", str(Path(__file__).with_name("config.yaml")), "run", *sys.argv[1:]])
