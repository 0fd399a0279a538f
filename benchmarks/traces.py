"""Traces: requests a second of `POST /predict` without them in the code, with them off, and with them on."""

import ast
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.web import Quiet, web_server

import churnops
from benchmarks.harness import ROOT, Claim, Result
from benchmarks.serving import CLIENT_CORE, CONNECTIONS, lua, served_project, serving, wrk

ROUNDS = 15
SECONDS = 4
PORT = 8110
FREE, OFF, SAMPLED, ON = "not in the code", "off", "1 % of the requests", "every request"


def measure() -> Result:
    """Serve the variants in turn, each round in another order, and compare medians."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {int(CLIENT_CORE)})  # the collector is in this process
        folder = Path(name)
        script = folder / "post.lua"
        script.write_text(lua(folder, served_project(folder)))
        collector = stack.enter_context(_collector())
        on = {"CHURNOPS_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": collector}
        some = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
        free = {"PYTHONPATH": f"{_without_traces(folder)}:{ROOT}"}
        addresses = {
            variant: stack.enter_context(serving(folder, PORT + n, "churnops.api.main:app", **variables))[0]
            for n, (variant, variables) in enumerate({FREE: free, OFF: {}, SAMPLED: on | some, ON: on}.items())
        }
        rates: dict[str, list[float]] = {variant: [] for variant in addresses}
        for address in addresses.values():
            wrk(address, script, CONNECTIONS, seconds=2)
        order = list(addresses)
        for _ in range(ROUNDS):
            for variant in order:
                rates[variant].append(wrk(addresses[variant], script, CONNECTIONS, seconds=SECONDS)[0])
            order = order[1:] + order[:1]
    rate = {variant: statistics.median(values) for variant, values in rates.items()}
    shares = {
        variant: statistics.median(one / base for one, base in zip(values, rates[FREE], strict=True))
        for variant, values in rates.items()
    }
    return Result(
        title="Traces",
        about=(
            f"`POST /predict` as under Serving, {SECONDS} s a round, median of {ROUNDS} rounds. The variants take "
            "turns, each round in another order; a share is the median of the rounds' shares. The first variant is "
            "the same code from which every call for traces was cut. The collector is on the client's core."
        ),
        claims=[
            Claim("requests/s with traces off, share of those without them in the code", shares[OFF], "", 0.97, True),
            Claim("requests/s with 1 % of the requests recorded, share", shares[SAMPLED]),
            Claim("requests/s with every request recorded, share", shares[ON]),
            *(Claim(f"requests/s, traces: {variant}", value, "/s") for variant, value in rate.items()),
        ],
    )


class _Cut(ast.NodeTransformer):
    """Cuts the calls of `churnops.traces` out of a module."""

    def visit_With(self, node: ast.With) -> object:
        """Leave out spans, and the statement itself if it has nothing else."""
        self.generic_visit(node)
        node.items = [item for item in node.items if not _calls(item.context_expr, "span", "shared_span")]
        return node if node.items else node.body

    def visit_Call(self, node: ast.Call) -> object:
        """Replace a call by its value without traces."""
        self.generic_visit(node)
        if _calls(node, "trace_id", "current"):
            return ast.Constant("" if _calls(node, "trace_id") else None)
        return node


def _calls(node: ast.expr, *names: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in names


def _without_traces(folder: Path) -> Path:
    """Copy the package without calls for traces; return the folder to import it from."""
    package = folder / "without" / "churnops"
    shutil.copytree(Path(churnops.__file__).parent, package)  # with the compiled kernels
    for path in [*package.glob("api/**/*.py"), package / "journal/writer.py"]:
        if "from churnops.traces import" in (source := path.read_text(encoding="utf-8")):
            path.write_text(ast.unparse(_Cut().visit(ast.parse(source))), encoding="utf-8")
    return package.parent


@contextmanager
def _collector() -> Iterator[str]:
    """Accept traces and forget them; yield the address."""

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # noqa: N802  (the name that the library calls)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with web_server(Handler) as port:
        yield f"http://127.0.0.1:{port}"
