"""`python run_all.py`: the main job on the settings beside this file, from whatever folder it is started."""

import sys
from pathlib import Path

from churnops.cli import main

if __name__ == "__main__":
    main(["--config", str(Path(__file__).with_name("config.yaml")), "run", *sys.argv[1:]])
