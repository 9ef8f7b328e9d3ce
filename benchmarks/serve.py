"""``ghostclas serve`` and its peers under load: the server on one core, the load generator on another.

    python benchmarks/serve.py [--rounds 5] [--seconds 8] [--only throughput,lone,overload]
    python benchmarks/serve.py --only lossless --count 100000
    python benchmarks/serve.py --only soak --minutes 30

Writes results/serve.md, with ``--only`` results/serve_SECTIONS.md, or the file of ``--output``. Needs two
cores and ``taskset``. All servers are started once and wait while another is measured; a round measures each
once, so that a disturbance affects all. The ceiling is ``Classifier.stream`` on the server's core over the
same files from memory, in the same rounds: no server at all. Every server decodes and runs the network by
``ghostclas`` itself; see serve_peers/common.py.

Peers without an environment are named as absent. To make one:

    uv venv .venvs/litserve && uv pip install --python .venvs/litserve/bin/python -e . openvino litserve

and likewise mlserver, kserve and bentoml.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ghostclas.bench.machine import describe_machine
from ghostclas.bench.statistics import spread
from ghostclas.imaging import preprocess
from ghostclas.prediction.classifier import Classifier
from ghostclas.serve.grpc.messages import INFERENCE
from ghostclas.serve.grpc.messages import inference as messages
from ghostclas.serve.limits import Limits
from ghostclas.serve.open_inference import ENCODED, SCORES
from ghostclas.zoo import locate

HERE = Path(__file__).parent
ROOT = HERE.parent
OURS = "ghostclas"
PEERS = {"litserve": "LitServe", "mlserver": "MLServer", "kserve": "KServe", "bentoml": "BentoML"}
ENGINES = ("onnxruntime", "openvino")
SIZES = {"14 KB": (14_000, 320), "54 KB": (54_000, 640)}
"""Bytes of a photo, and its short side in pixels."""
PHOTOS = 16
CLIENTS = 16
MANY_CLIENTS = 64
SAMPLE_SECONDS = 5.0
FILLING = 1.2
START_SECONDS = 120
PEER_PATHS = {
    "litserve": "/predict",
    "mlserver": "/v2/models/ghost/infer",
    "kserve": "/v1/models/ghost:predict",
    "bentoml": "/predict",
}


# ------------------------------------------------------------------ photos and requests


def photos(folder: Path, size: str, data: Path) -> list[Path]:
    """Write photos of about this many bytes, from the clothing data set where it is there."""
    target, side = SIZES[size]
    sources = sorted((data / "clothing" / "val").glob("*/*.jpg"))
    step = max(1, len(sources) // PHOTOS)
    found = []
    for number in range(PHOTOS):
        image = Image.open(sources[number * step]).convert("RGB") if sources else drawn(number)
        scale = side / min(image.size)
        image = image.resize(
            (round(scale * image.width), round(scale * image.height)), Image.Resampling.BICUBIC
        )
        found.append(folder / f"{size.replace(' ', '')}-{number}.jpg")
        found[-1].write_bytes(
            min((jpeg(image, q) for q in range(20, 98, 3)), key=lambda d: abs(len(d) - target))
        )
    return found


def drawn(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (12, 16, 3), np.uint8)
    image = Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC)
    noise = rng.normal(0, 8, (480, 640, 1))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def bodies(name: str, files: Sequence[Path]) -> tuple[dict[str, str], list[Path]]:
    """Return the headers and the files of bodies as this server takes photos."""
    if name in (OURS, "bentoml"):
        return {"Content-Type": "image/jpeg"}, list(files)
    found = []
    for file in files:
        text = base64.b64encode(file.read_bytes()).decode()
        content: Any = {"image": text}
        if name == "mlserver":
            content = {"inputs": [{"name": "i", "datatype": "BYTES", "shape": [1], "data": [text]}]}
        elif name == "kserve":
            content = {"instances": [{"b64": text}]}
        found.append(file.with_suffix(f".{name}.json"))
        found[-1].write_text(json.dumps(content), encoding="utf-8")
    return {"Content-Type": "application/json"}, found


def grpc_bodies(files: Sequence[Path]) -> list[Path]:
    found = []
    for file in files:
        content = file.read_bytes()
        request = messages["ModelInferRequest"](
            model_name="ghost",
            inputs=[{"name": ENCODED, "datatype": "BYTES", "shape": [1]}],
            outputs=[{"name": SCORES}],
            raw_input_contents=[len(content).to_bytes(4, "little") + content],
        )
        found.append(file.with_suffix(".grpc"))
        found[-1].write_bytes(request.SerializeToString())
    return found


# ------------------------------------------------------------------ processes


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def process(
    command: Sequence[str], log: Path, core: int | None, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """A process on one core; leaving the block ends it and what it started."""
    pinned = [*(["taskset", "-c", str(core)] if core is not None else []), *command]
    with log.open("w", encoding="utf-8") as file:
        running = subprocess.Popen(
            pinned,
            stderr=file,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            **{"stdout": file, **options},
        )
        try:
            yield running
        finally:
            # Its session holds what it started, too.
            try:
                os.killpg(running.pid, 15)
                running.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
            for one in of_session(running.pid):
                os.kill(one, 9)
            running.wait()


def of_session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = entry.joinpath("stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if fields[3:4] == [str(leader)] and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def memory_of(leader: int) -> int:
    """Return the bytes that a server's processes share out among them."""
    total = 0
    for one in of_session(leader):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total


class Asked:
    """A process that answers JSON lines with JSON lines."""

    def __init__(self, running: subprocess.Popen[str], name: str, log: Path) -> None:
        self._process, self._name, self._log = running, name, log

    def ask(self, **job: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise SystemExit(f"{self._name} stopped:\n{said}")
        return json.loads(line)


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    engine: str
    port: int
    grpc: int
    leader: int

    @property
    def path(self) -> str:
        return PEER_PATHS.get(self.name, "/predict")


class Bench:
    """What all sections share."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, held: ExitStack) -> None:
        self.rounds, self.seconds = arguments.rounds, arguments.seconds
        self.count, self.minutes = arguments.count, arguments.minutes
        self.options: list[str] = arguments.server_option or []
        self.core = arguments.server_core
        self.folder, self._held = folder, held
        self.bundle = str(locate(arguments.model).bundle_path)
        self.engines = [engine for engine in ENGINES if engine in arguments.engines.split(",")]
        self.peers = [
            peer for peer in PEERS if python_of(peer).exists() and peer in arguments.peers.split(",")
        ]
        self.files = {size: photos(folder, size, arguments.data) for size in SIZES}
        command = [sys.executable, str(HERE / "serve_load.py"), str(arguments.load_core)]
        log = folder / "load.log"
        load = process(command, log, None, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.load = Asked(held.enter_context(load), "the load generator", log)

    def start(self, name: str, engine: str) -> Server:
        """Start a server and wait for its first answer."""
        port, grpc = free_port(), free_port()
        if name == OURS:
            command = [sys.executable, "-m", "ghostclas", "serve", "--model", f"ghost={self.bundle}"]
            command += ["--engine", engine, "--http", str(port), "--grpc", str(grpc), "--no-access-log"]
            command += self.options
        else:
            script = HERE / "serve_peers" / f"with_{name}.py"
            command = [str(python_of(name)), str(script), str(port), self.bundle, engine]
        log = self.folder / f"{name}-{engine}.log"
        running = self._held.enter_context(process(command, log, self.core))
        server = Server(name, engine, port, grpc, running.pid)
        headers, (body, *_) = bodies(name, self.files["14 KB"][:1])
        request = urllib.request.Request(f"http://127.0.0.1:{port}{server.path}", body.read_bytes(), headers)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    answer.read()
                break
            except OSError as error:
                if running.poll() is not None or time.monotonic() > until:
                    said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                    raise SystemExit(f"{name} with {engine} does not answer ({error}):\n{said}") from None
                time.sleep(0.2)
        say(f"{name} with {engine} answers")
        return server

    def ceiling(self, engine: str) -> Asked:
        command = [sys.executable, __file__, "--ceiling", self.bundle, engine]
        log = self.folder / f"ceiling-{engine}.log"
        running = process(command, log, self.core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return Asked(self._held.enter_context(running), "the ceiling", log)

    def request(self, server: Server, size: str) -> dict[str, Any]:
        headers, files = bodies(server.name, self.files[size])
        return {"path": server.path, "headers": headers, "bodies": [str(file) for file in files]}

    def closed(self, server: Server, size: str, clients: int = CLIENTS) -> Any:
        return self.load.ask(
            kind="closed",
            port=server.port,
            request=self.request(server, size),
            clients=clients,
            seconds=self.seconds,
        )


def python_of(peer: str) -> Path:
    return ROOT / ".venvs" / peer / "bin" / "python"


def serve_ceiling(bundle: str, engine: str) -> None:
    """Answer jobs with the speed of the same work without any server, on the cores of this process."""
    with Classifier.load(bundle, engine=engine, threads=1) as classifier:
        for line in sys.stdin:
            job = json.loads(line)
            images = [Path(file).read_bytes() for file in job["files"]]
            answer: dict[str, Any]
            if job["kind"] == "stream":
                began = time.perf_counter()
                done = 0
                for _ in classifier.stream(cycle(images)):
                    done += 1
                    if (spent := time.perf_counter() - began) > job["seconds"]:
                        break
                answer = {"rate": done / spent}
            else:
                taken = []
                for number in range(-20, job["count"]):
                    time.sleep(0.002)
                    began = time.perf_counter()
                    classifier.engine.run(
                        preprocess(images[number % len(images)], classifier.preprocess)[None]
                    )
                    if number >= 0:
                        taken.append(1000 * (time.perf_counter() - began))
                answer = {"ms": taken}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


# ------------------------------------------------------------------ sections


def throughput(b: Bench) -> list[str]:
    """Closed loop, 16 clients."""
    lines = []
    for engine in b.engines:
        ceiling = b.ceiling(engine)
        servers = [b.start(name, engine) for name in (OURS, *b.peers)]
        for size, files in b.files.items():
            rates: dict[str, list[float]] = {server.name: [] for server in servers}
            latency: dict[str, list[float]] = {server.name: [] for server in servers}
            faults = dict.fromkeys(rates, 0)
            limits = []
            for number in range(b.rounds):
                names = [str(file) for file in files]
                limits.append(ceiling.ask(kind="stream", files=names, seconds=b.seconds)["rate"])
                for server in servers if number % 2 else reversed(servers):
                    found = b.closed(server, size)
                    good = found.get("200", [])
                    rates[server.name].append(len(good) / found["seconds"])
                    latency[server.name] += good
                    faults[server.name] += len(found["errors"]) + other_than_200(found)
                say(f"  throughput, {engine}, {size}: round {number + 1} of {b.rounds}")
            lines += ["", f"### {engine}, photos of {size}", "", *_rates(rates, latency, faults, limits)]
    absent = [PEERS[peer] for peer in PEERS if peer not in b.peers]
    return lines + (["", f"Absent: {', '.join(absent)}."] if absent else [])


def other_than_200(found: Mapping[str, Any]) -> int:
    return sum(len(times) for status, times in found.items() if status.isdigit() and status != "200")


def _rates(
    rates: Mapping[str, list[float]],
    latency: Mapping[str, list[float]],
    faults: Mapping[str, int],
    limits: Sequence[float],
) -> list[str]:
    rows = [["`Classifier.stream`, no server", f"{statistics.median(limits):.0f}", "1.00", "", "", "", ""]]
    for name, own in rates.items():
        of_limit = statistics.median(mine / limit for mine, limit in zip(own, limits, strict=True))
        ours = statistics.median(
            mine / max(theirs, 1e-9) for mine, theirs in zip(rates[OURS], own, strict=True)
        )
        times = spread(latency[name]) if latency[name] else None
        cells = [f"{times.p50:.1f}", f"{times.p99:.1f}"] if times else ["", ""]
        rows.append(
            [
                PEERS.get(name, name),
                f"{statistics.median(own):.0f} ({min(own):.0f} to {max(own):.0f})",
                f"{of_limit:.2f}",
                f"{ours:.2f}",
                *cells,
                str(faults[name]),
            ]
        )
    header = ["", "photos/s", "of the ceiling", "ours is faster by", "p50, ms", "p99, ms", "not answered"]
    return table(header, rows)


def lone(b: Bench) -> list[str]:
    """One request at a time."""
    rows = []
    for engine in b.engines:
        ceiling, server = b.ceiling(engine), b.start(OURS, engine)
        for size, files in b.files.items():
            names = [str(file) for file in files]
            count = 40 * max(1, int(b.seconds))
            alone: list[float] = []
            taken: dict[str, list[float]] = {"REST": [], "gRPC": []}
            grpc = {"path": f"/{INFERENCE}/ModelInfer", "bodies": [str(f) for f in grpc_bodies(files)]}
            for number in range(b.rounds):
                alone.append(statistics.median(ceiling.ask(kind="lone", files=names, count=count)["ms"]))
                rest = b.load.ask(kind="lone", port=server.port, request=b.request(server, size), count=count)
                taken["REST"].append(statistics.median(rest["200"]))
                answers = b.load.ask(kind="grpc", port=server.grpc, request=grpc, count=count)
                taken["gRPC"].append(statistics.median(answers["OK"]))
                say(f"  lone, {engine}, {size}: round {number + 1} of {b.rounds}")
            over = {
                protocol: statistics.median(mine - work for mine, work in zip(own, alone, strict=True))
                for protocol, own in taken.items()
            }
            rows.append(
                [
                    f"{engine}, {size}",
                    f"{statistics.median(alone):.2f}",
                    *(
                        f"{statistics.median(own):.2f} ({over[protocol]:+.2f})"
                        for protocol, own in taken.items()
                    ),
                ]
            )
    return table(["p50 in ms", "decode and inference", "REST (more)", "gRPC (more)"], rows)


def overload(b: Bench) -> list[str]:
    """More than the server can answer."""
    rows = []
    for engine in b.engines:
        server = b.start(OURS, engine)
        for size in b.files:
            saturation, accepted, goodput = [], [], []
            answered: list[float] = []
            refused: list[float] = []
            errors = 0
            for number in range(b.rounds):
                found = b.closed(server, size)
                saturation.append(len(found["200"]) / found["seconds"])
                twice = b.load.ask(
                    kind="open",
                    port=server.port,
                    request=b.request(server, size),
                    rate=2 * saturation[-1],
                    # Until the queue is full, nothing is refused.
                    warmup=1 + FILLING * Limits().queue_images / saturation[-1],
                    seconds=b.seconds,
                )
                accepted.append(len(twice.get("200", [])) / twice["seconds"] / saturation[-1])
                answered += twice.get("200", [])
                refused += twice.get("503", [])
                errors += len(twice["errors"])
                many = b.closed(server, size, MANY_CLIENTS)
                goodput.append(len(many.get("200", [])) / many["seconds"] / saturation[-1])
                say(f"  overload, {engine}, {size}: round {number + 1} of {b.rounds}")
            no, yes = (spread(times) if times else None for times in (refused, answered))
            rows.append(
                [
                    f"{engine}, {size}",
                    f"{statistics.median(saturation):.0f}",
                    f"{statistics.median(accepted):.2f}",
                    f"{yes.p50:.0f}" if yes else "",
                    f"{no.p50:.1f}" if no else "none",
                    f"{no.p99:.1f}" if no else "none",
                    f"{statistics.median(goodput):.2f}",
                    str(errors),
                ]
            )
    header = [
        "",
        "saturation, photos/s",
        "answered at twice that",
        "their p50, ms",
        "503 p50, ms",
        "503 p99, ms",
    ]
    return table([*header, f"{MANY_CLIENTS} clients", "errors"], rows)


def lossless(b: Bench) -> list[str]:
    """Every request is answered once, with its own answer."""
    rows = []
    for engine in b.engines:
        server, files = b.start(OURS, engine), b.files["14 KB"]
        with Classifier.load(b.bundle, engine=engine, threads=1) as classifier:
            labels = [classifier(file).label for file in files]
        request = {"path": "/v2/models/ghost/infer", "bodies": [str(file) for file in files]}
        found = b.load.ask(kind="lossless", port=server.port, request=request, count=b.count, labels=labels)
        names = ("right", "wrong", "twice", "refused")
        rate = f"{b.count / found['seconds']:.0f}"
        rows.append([engine, f"{b.count:,}", *(str(found[n]) for n in names), str(len(found["lost"])), rate])
    header = ["", "requests", "right", "wrong", "twice", "503, asked again", "lost", "a second"]
    return table(header, rows)


def soak(b: Bench) -> list[str]:
    """80 % of saturation for long."""
    rows = []
    for engine in b.engines:
        server = b.start(OURS, engine)
        found = b.closed(server, "14 KB")
        rate = 0.8 * len(found["200"]) / found["seconds"]
        samples: list[int] = []
        answered = faults = 0
        latency: list[float] = []
        until = time.monotonic() + 60 * b.minutes
        while time.monotonic() < until:
            part = b.load.ask(
                kind="open",
                port=server.port,
                request=b.request(server, "14 KB"),
                rate=rate,
                seconds=min(SAMPLE_SECONDS, max(1.0, until - time.monotonic())),
            )
            samples.append(memory_of(server.leader))
            answered += len(part.get("200", []))
            faults += len(part["errors"]) + other_than_200(part)
            latency += part.get("200", [])
        tenth = max(1, len(samples) // 10)
        # The first tenth fills caches.
        early, late = (
            statistics.median(part) / 1e6
            for part in (samples[tenth : 2 * tenth] or samples, samples[-tenth:])
        )
        times = spread(latency)
        rows.append(
            [
                engine,
                f"{b.minutes:g}",
                f"{answered:,}",
                str(faults),
                f"{times.p50:.1f}",
                f"{times.p99:.1f}",
                f"{early:.0f}",
                f"{late:.0f} ({late / early - 1:+.1%})",
            ]
        )
    header = ["", "minutes", "answered", "not answered", "p50, ms", "p99, ms", "MB at first", "MB at last"]
    return table(header, rows)


SECTIONS: Mapping[str, tuple[str, Callable[[Bench], list[str]]]] = {
    "throughput": (f"Throughput: {CLIENTS} clients, each asks again when it has its answer", throughput),
    "lone": ("A lone request", lone),
    "overload": ("Overload", overload),
    "lossless": ("Nothing lost, nothing twice", lossless),
    "soak": ("Soak: 80 % of saturation", soak),
}
USUAL = ("throughput", "lone", "overload")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def versions() -> str:
    """Return the packages of this server and of the peers that are installed, with their versions."""
    code = (
        "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    )
    found = []
    own = ("onnxruntime", "openvino", "uvicorn", "uvloop", "grpcio")
    for python, packages in (
        (Path(sys.executable), own),
        *((python_of(peer), (peer,)) for peer in PEERS if python_of(peer).exists()),
    ):
        done = subprocess.run([str(python), "-c", code, *packages], capture_output=True, text=True)
        found.append(done.stdout.strip())
    return ", ".join(found)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--ceiling"]:
        serve_ceiling(*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("GHOSTCLAS_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", default=",".join(USUAL))
    parser.add_argument("--model", default="default")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--server-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0)
    parser.add_argument(
        "--server-option", action="append", help="for ghostclas serve, such as --server-option=--batch-size=4"
    )
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"--only takes {', '.join(SECTIONS)}, not {', '.join(sorted(unknown))}")
    name = "serve" if tuple(wanted) == USUAL else "_".join(("serve", *wanted))
    output = arguments.output or HERE / "results" / f"{name}.md"
    lines = ["# Serving", "", f"{describe_machine()}. {versions()}.", ""]
    lines += [f"`{' '.join(['python benchmarks/serve.py', *sys.argv[1:]])}`", ""]
    for key, (title, section) in SECTIONS.items():
        if key not in wanted:
            continue
        # Each section has its own servers, so that none is measured beside those of another.
        with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
            lines += [f"## {title}", "", *section(Bench(arguments, Path(folder), held)), ""]
        output.parent.mkdir(exist_ok=True)
        output.write_text("\n".join(lines), encoding="utf-8")
    say(f"wrote {output}")


if __name__ == "__main__":
    main()
