"""Show how answers differ from the golden ones, or write them: `python -m tests.golden [--write] [TOPIC ...]`."""

import argparse
import os
import sys

from tests.golden.topics import ANSWERS, TOPICS, difference, path_of, replay


def main() -> int:
    """Run the command line; return the exit code, 1 if answers differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"Default: all of {', '.join(TOPICS)}.")
    parser.add_argument("--write", action="store_true", help="Write the answers in place of comparing them.")
    arguments = parser.parse_args()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    differs = False
    for topic in arguments.topics or TOPICS:
        if arguments.write:
            ANSWERS.mkdir(exist_ok=True)
            path_of(topic).write_text(replay(topic))
            sys.stdout.write(f"{path_of(topic)} is written\n")
        elif diff := difference(topic, lines=10_000):
            differs = True
            sys.stdout.write(f"{diff}\n")
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
