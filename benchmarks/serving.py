"""Serving: the API against a bare FastAPI app with the same request and response models, under load by `wrk`."""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.harness import ROOT, Claim, Result
from churnops.api.customers import CustomerForm
from churnops.data.read import encode, read_table
from churnops.data.validate import check_customers
from churnops.model import Bundle
from churnops.settings import default_config

ROUNDS = 5
SECONDS = 6
CONNECTIONS = 16
WARM_REQUESTS = 2000
FLAGS = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
SERVER_CORE, CLIENT_CORE = "0", "1"


def measure() -> Result:
    """Start every server on core 0, load each in turn from core 1, and compare medians."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key, script = served_project(folder), folder / "post.lua"
        script.write_text(lua(folder, key))
        rates: dict[str, list[float]] = {}
        tails: dict[str, list[float]] = {}
        with (
            serving(folder, 8101, "benchmarks.bare_app:app") as (bare, _),
            serving(folder, 8102, "churnops.api.main:app") as (ours, ready),
            serving(folder, 8103, "churnops.api.main:app", CHURNOPS_JOURNAL__PREDICTIONS="false") as (unrecorded, _),
        ):
            servers = {"bare": bare, "ours": ours, "journal off": unrecorded}
            for address in servers.values():
                wrk(address, script, 2, seconds=2)
            for _ in range(ROUNDS):
                for server, address in servers.items():
                    rates.setdefault(server, []).append(wrk(address, script, CONNECTIONS)[0])
                    tails.setdefault(server, []).append(wrk(address, script, 1)[1])
        fresh = _resident(folder, script)
    rate = {server: statistics.median(values) for server, values in rates.items()}
    tail = {server: statistics.median(values) for server, values in tails.items()}
    return Result(
        title="Serving",
        about=(
            f"`POST /predict`, one worker on one core, `wrk` on the other, {CONNECTIONS} connections, {SECONDS} s a "
            f"round, median of {ROUNDS} rounds. The services take turns. The bare app (`benchmarks/bare_app.py`) has "
            "the same request and response models and the same server flags, but no churn model. churnops validates, "
            "scores, explains, checks an API key and the rate limit, counts, logs, and commits to a SQLite journal "
            "before it answers."
        ),
        claims=[
            Claim("requests/s, share of the bare app's", rate["ours"] / rate["bare"], "", 0.66, at_least=True),
            Claim("requests/s", rate["ours"], "/s", peer="bare app", peer_measured=rate["bare"]),
            Claim(
                "requests/s without journal, share of the bare app's",
                rate["journal off"] / rate["bare"],
                "",
                0.75,
                at_least=True,
            ),
            Claim("requests/s without journal", rate["journal off"], "/s", peer="bare app", peer_measured=rate["bare"]),
            Claim("p99 at 1 connection, as a multiple of the bare app's", tail["ours"] / tail["bare"], "", 3.0),
            Claim("p99 at 1 connection", tail["ours"], "ms", peer="bare app", peer_measured=tail["bare"]),
            Claim("CPU from start to ready", ready, "s", 3.0),
            Claim("resident after 10,000 requests", fresh, "MiB", 250),
        ],
    )


def served_project(folder: Path) -> str:
    """Make a project with the model that the main job trains, and a key; return the key."""
    document = yaml.safe_load(default_config())
    document["data"] = {"raw": [str(ROOT / "data" / "raw")], "production": []}
    document["api"]["rate_limit"] = 1e6  # on, but never reached
    (folder / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    churnops = [str(Path(sys.executable).with_name("churnops"))]
    subprocess.run([*churnops, "run", "--json"], cwd=folder, check=True, capture_output=True)
    command = [*churnops, "keys", "add", "benchmark", "--scope", "predict", "--json"]
    made = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return str(json.loads(made.stdout)["token"])


def customers_of(folder: Path) -> list[dict[str, object]]:
    """Return the first 200 customers of one raw table, as the API takes them."""
    bundle = Bundle.load(folder / "models" / "production")
    table = read_table(ROOT / "data" / "raw" / "churn-20.csv").head(200)
    customers = check_customers(table, bundle.schema, "raw")
    columns, form = encode(customers, bundle.schema), CustomerForm(bundle.schema)
    return [form.example(columns, row) for row in range(table.height)]


def lua(folder: Path, key: str) -> str:
    """Return wrk's script: the customers of one raw table, in turn."""
    customers = enumerate(customers_of(folder))
    return lua_of([json.dumps(customer | {"customer_id": f"C-{row}"}) for row, customer in customers], key)


def lua_of(bodies: Sequence[str], key: str) -> str:
    """Return wrk's script that posts bodies in turn."""
    return "\n".join(
        [
            "bodies = {" + ",".join(f"[==[{body}]==]" for body in bodies) + "}",
            'wrk.method = "POST"',
            'wrk.headers["Content-Type"] = "application/json"',
            f'wrk.headers["X-API-Key"] = "{key}"',
            "local i = 0",
            "function request() i = i % #bodies + 1; return wrk.format(nil, nil, nil, bodies[i]) end",
            "function response(status) if status ~= 200 then os.exit(1) end end",
        ]
    )


@contextmanager
def serving(folder: Path, port: int, application: str, **environment: str) -> Iterator[tuple[str, float]]:
    """Start a server on its core; yield its address and the CPU seconds until it answered."""
    command = [
        "taskset",
        "-c",
        SERVER_CORE,
        sys.executable,
        "-m",
        "uvicorn",
        application,
        "--port",
        str(port),
        *FLAGS,
    ]
    variables = (
        os.environ
        | {
            "CHURNOPS_CONFIG": str(folder / "config.yaml"),
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        | environment
    )
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield f"{address}/predict", _cpu(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    path = "/health/ready"
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"the server at {address} ended")
        try:
            urllib.request.urlopen(address + path, timeout=5)
        except urllib.error.HTTPError as error:
            if error.code == 404:  # the bare app has no such path, but answers
                return
        except OSError:
            pass
        else:
            return
        time.sleep(0.05)
    raise SystemExit(f"the server at {address} is not ready")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(folder: Path, script: Path) -> float:
    """Return the MiB that a new server holds after 10,000 requests."""
    with serving(folder, 8104, "churnops.api.main:app") as (address, _):
        done = 0.0
        while done < 10_000:
            done += wrk(address, script, CONNECTIONS, seconds=2)[0] * 2
        pid = next(
            int(status.parent.name)
            for status in Path("/proc").glob("[0-9]*/cmdline")
            if b"8104" in status.read_bytes().split(b"\0")
        )
        kilobytes = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        assert kilobytes
        return int(kilobytes[1]) / 1024


def wrk(address: str, script: Path, connections: int, seconds: int = SECONDS) -> tuple[float, float]:
    """Return requests per second and the 99th percentile in milliseconds; any answer but 200 is an error."""
    command: Sequence[str] = [
        "taskset",
        "-c",
        CLIENT_CORE,
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        address,
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate, tail = re.search(r"Requests/sec:\s+([\d.]+)", output), re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    if rate is None or tail is None or "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"wrk: {output}")
    return float(rate[1]), float(tail[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[tail[2]]
