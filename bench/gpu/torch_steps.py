# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole training steps of the zoo's networks in PyTorch on a GPU, in every mode that its users have: a CSV.

A step: sample a batch from bytes that stay on the device, normalise, zero the gradients, forward, cross-entropy, backward, SGD
with momentum 0.9. Modes of one model: eager (NCHW), eager_channels_last (fused optimiser), compile (torch.compile of sampling,
forward and loss, channels last), compile_max_autotune (with --max-autotune), graph (the whole step as one CUDA graph, channels
last). Modes of a population, every model with its own weights and its own order of the data: loop, streams (a stream a model),
vmap (torch.func.vmap over stacked parameters), loop_graph, streams_graph, vmap_graph (the same as one CUDA graph).

bf16 is autocast (under vmap: the same casts by hand). The modes of one network, batch and arithmetic are timed in turns; median_us_per_step is the median of the turns (a
step of all models), spread_us their largest less their smallest, setup_seconds what building, compiling, capturing and the first
steps took. A mode that fails has a row with its reason. Each network, batch and arithmetic is a process of its own, so that no failure
ends the others; a second call with the same --out goes on where the first one stopped.
"""

import argparse
import contextlib
import copy
import gc
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Compiling is timed, so what was compiled for another arithmetic must not be taken again.
os.environ.setdefault("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))
sys.path.append(str(HERE / "fallback"))  # h5py, where it is not installed
from peer_table import read_rows, write_rows  # noqa: E402
from torch_network import NETWORKS, Network, load_architecture  # noqa: E402

HEADER = ["net", "batch", "models", "math", "mode", "images_per_second", "median_us_per_step", "spread_us", "setup_seconds", "reason"]
SINGLE = ("eager", "eager_channels_last", "compile", "compile_max_autotune", "graph")
POPULATION = ("loop", "streams", "vmap", "loop_graph", "streams_graph", "vmap_graph")
ON_CUDA = {"compile", "compile_max_autotune", "graph", "streams", "loop_graph", "streams_graph", "vmap_graph"}
MATH = ("float32", "tf32", "bf16")
RATE, MOMENTUM = 0.001, 0.9
Step = Callable[[], None]


class Feed(nn.Module):
    """Images of random bytes on the device. Called with positions, it gives normalised images and labels."""

    def __init__(self, architecture: dict[str, Any], count: int, batch: int, dtype: torch.dtype, channels_last: bool):
        super().__init__()
        size = architecture["input"]
        generator = torch.Generator().manual_seed(1)
        images = torch.randint(256, (count, size["height"], size["width"], size["channels"]), dtype=torch.uint8, generator=generator)
        self.channels_last, self.dtype, self.count = channels_last, dtype, count
        self.register_buffer("images", images if channels_last else images.permute(0, 3, 1, 2).contiguous())
        self.register_buffer("labels", torch.randint(architecture["output"]["classes"], (count,), generator=generator))
        self.register_buffer("order", torch.randperm(count, generator=generator))
        self.register_buffer("offsets", torch.arange(batch))

    def forward(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """A batch for every position: one position has shape (1,), those of a population (P, 1)."""
        index = self.order.index_select(0, ((position + self.offsets) % self.count).flatten())
        images = self.images.index_select(0, index).to(self.dtype).sub_(127.5).mul_(1 / 73.9)
        labels = self.labels.index_select(0, index)
        if self.channels_last:
            images = images.permute(0, 3, 1, 2)  # of strides alone: memory is channels last already
        if position.dim() == 1:
            return images, labels
        return images.unflatten(0, (len(position), -1)), labels.unflatten(0, (len(position), -1))


class Candidate(nn.Module):
    """A network with its place in the data; a call is the loss of the next batch."""

    def __init__(self, feed: Feed, network: Network, first: int, autocast: bool):
        super().__init__()
        self.feed, self.network, self.autocast = feed, network, autocast
        self.register_buffer("position", torch.tensor([first]))

    def forward(self) -> Tensor:
        images, labels = self.feed(self.position)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.autocast):
            return F.cross_entropy(self.network(images), labels)


class RoundedProducts(TorchFunctionMode):
    """What autocast does to convolutions and dense layers; under vmap autocast itself does not reach convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.wide_norms = False  # batch norm in float32: not every device takes bf16 beside float32 statistics under vmap

    def __torch_function__(self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        if function in (F.conv2d, F.linear):
            arguments = tuple(each.to(torch.bfloat16) if isinstance(each, Tensor) else each for each in arguments)
        elif function is F.batch_norm and self.wide_norms:
            arguments = (arguments[0].float(), *arguments[1:])
        return function(*arguments, **(named or {}))


class Task:
    """What the modes of a network, batch and arithmetic share."""

    def __init__(self, net: str, batch: int, math: str, device: str, count: int):
        self.architecture = load_architecture(net)
        self.batch, self.device, self.count = batch, torch.device(device), count
        self.autocast = math == "bf16"
        self.dtype = torch.bfloat16 if self.autocast else torch.float32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = math == "tf32"
        torch.backends.cudnn.benchmark = True

    def feed(self, channels_last: bool) -> Feed:
        return Feed(self.architecture, self.count, self.batch, self.dtype, channels_last).to(self.device)

    def network(self, seed: int, channels_last: bool) -> Network:
        network = Network(self.architecture, idiomatic=True)
        network.initialise(seed)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return network.to(self.device, memory_format=layout).train()

    def first(self, model: int) -> int:
        return model * 7919 % self.count

    def optimiser(self, parameters: list[Tensor], fused: bool) -> torch.optim.Optimizer:
        if fused:
            with contextlib.suppress(RuntimeError, TypeError):
                return torch.optim.SGD(parameters, RATE, momentum=MOMENTUM, fused=True)
        return torch.optim.SGD(parameters, RATE, momentum=MOMENTUM, foreach=True)

    def build(self, mode: str, models: int) -> Step:
        """The step of a mode; what it needs lives as long as it does."""
        match mode:
            case "eager":
                return self.one(self.feed(False), 0, channels_last=False)
            case "eager_channels_last":
                return self.one(self.feed(True), 0)
            case "compile":
                return self.one(self.feed(True), 0, compiled="default")
            case "compile_max_autotune":
                return self.one(self.feed(True), 0, compiled="max-autotune")
            case "graph":
                return captured(self.one(self.feed(True), 0))
            case "loop" | "streams":
                feed = self.feed(True)
                steps = [self.one(feed, model) for model in range(models)]
                return one_after_another(steps) if mode == "loop" else on_streams(steps)
            case "vmap":
                return self.stacked(models)
            case "loop_graph" | "streams_graph" | "vmap_graph":
                return captured(self.build(mode.removesuffix("_graph"), models))
            case _:
                raise ValueError(f"no mode is called '{mode}'")

    def one(self, feed: Feed, model: int, channels_last: bool = True, compiled: str = "") -> Step:
        network = self.network(model + 1, channels_last)
        candidate = Candidate(feed, network, self.first(model), self.autocast).to(self.device)
        optimiser = self.optimiser(list(network.parameters()), fused=channels_last)
        loss = torch.compile(candidate, mode=compiled, dynamic=False) if compiled else candidate

        def step() -> None:
            if compiled == "max-autotune":
                torch.compiler.cudagraph_mark_step_begin()
            optimiser.zero_grad(set_to_none=True)
            loss().backward()
            optimiser.step()
            candidate.position.add_(self.batch)

        return step

    def stacked(self, models: int) -> Step:
        feed = self.feed(False)
        networks = [self.network(model + 1, False) for model in range(models)]
        parameters, buffers = torch.func.stack_module_state(networks)
        base = copy.deepcopy(networks[0]).to("meta")
        del networks
        positions = torch.tensor([[self.first(model)] for model in range(models)], device=self.device)
        # The update is elementwise, so the one of the stacked parameters is that of every model.
        optimiser = self.optimiser(list(parameters.values()), fused=True)
        rounded = RoundedProducts()

        def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
            with rounded if self.autocast else contextlib.nullcontext():
                return F.cross_entropy(torch.func.functional_call(base, (parameters, buffers), (images,)).float(), labels)

        losses = torch.func.vmap(loss)

        def step() -> None:
            optimiser.zero_grad(set_to_none=True)
            images, labels = feed(positions)
            losses(parameters, buffers, images, labels).sum().backward()
            optimiser.step()
            positions.add_(self.batch)

        try:
            step()
        except RuntimeError:
            if not self.autocast:
                raise
            rounded.wide_norms = True
        return step


def one_after_another(steps: list[Step]) -> Step:
    def step() -> None:
        for each in steps:
            each()

    return step


def on_streams(steps: list[Step]) -> Step:
    streams = [torch.cuda.Stream() for _ in steps]

    def step() -> None:
        current = torch.cuda.current_stream()
        for stream, each in zip(streams, steps, strict=True):
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                each()
        for stream in streams:
            current.wait_stream(stream)

    return step


def captured(step: Step) -> Step:
    """The step as one CUDA graph: momentum, algorithms and workspaces come from steps before the capture."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(_kept: Step = step) -> None:  # the graph has the addresses of tensors that the step owns
        graph.replay()

    return replay


def short(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:200]


class Unit:
    """All modes of one network, batch and arithmetic, in a process of its own. It says what it does as lines of JSON."""

    def __init__(self, options: argparse.Namespace, key: tuple[str, int, str], path: Path, refused: dict[tuple[int, str], str]):
        self.options, self.refused = options, refused
        self.net, self.batch, self.math = key
        self.file = open(path, "a", encoding="utf-8")

    def tell(self, **fields: object) -> None:
        self.file.write(json.dumps(fields) + "\n")
        self.file.flush()

    def synchronise(self) -> None:
        if self.options.device == "cuda":
            torch.cuda.synchronize()

    def attempt(self, models: int, mode: str, work: Callable[[], float | Step]) -> Any:
        """What the work gives, or None after its reason has been told. Ends the process where the device is lost."""
        self.tell(trying=[models, mode])
        try:
            result = work()
            self.synchronise()
            return result
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a row
            self.tell(models=models, mode=mode, reason=short(error))
        gc.collect()
        try:
            self.synchronise()
        except Exception:  # noqa: BLE001
            self.file.close()
            os._exit(3)
        return None

    def turn(self, step: Step, steps: int) -> float:
        """Seconds a step; two steps before it do not count."""
        for _ in range(2):
            step()
        self.synchronise()
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        self.synchronise()
        return (time.perf_counter() - begin) / steps

    def run(self) -> None:
        warnings.simplefilter("ignore")
        if self.options.smoke:
            torch.set_num_threads(1)  # tiny steps on shared cores: threads would wait for each other
        turns = random.Random(1)
        task = Task(self.net, self.batch, self.math, self.options.device, self.options.images)
        for models in self.options.models:
            self.population(task, models, turns)
        self.tell(done=True)

    def population(self, task: Task, models: int, turns: random.Random) -> None:
        steps: dict[str, tuple[Step, int, float]] = {}
        for mode in modes_of(self.options, models):
            reason = self.refused.get((models, mode)) or refusal(self.options, mode, self.batch, self.math)
            if reason:
                self.tell(models=models, mode=mode, reason=reason)
                continue
            begin = time.perf_counter()

            def build(mode: str = mode) -> Step:
                step = task.build(mode, models)
                for _ in range(2):
                    step()
                return step

            step = self.attempt(models, mode, build)
            if step is None:
                self.release()
                continue
            setup = time.perf_counter() - begin
            once = self.attempt(models, mode, lambda step=step: self.turn(step, 2))
            if once is not None:
                steps[mode] = (step, max(1, min(5000, round(self.options.seconds / once))), setup)
            del step
        times: dict[str, list[float]] = {mode: [] for mode in steps}
        for _ in range(self.options.repetitions):
            for mode in turns.sample(list(steps), len(steps)):
                step, count, _ = steps[mode]
                taken = self.attempt(models, mode, lambda step=step, count=count: self.turn(step, count))
                if taken is None:
                    del steps[mode], times[mode]
                else:
                    times[mode].append(taken)
                del step
                if models > 1:  # what one mode has cached is not another's; two steps before each turn take it again
                    self.release()
        for mode, seconds in times.items():
            median = statistics.median(seconds)
            self.tell(models=models, mode=mode, row=[f"{models * self.batch / median:.1f}", f"{median * 1e6:.2f}",
                                                     f"{(max(seconds) - min(seconds)) * 1e6:.2f}", f"{steps[mode][2]:.2f}"])
        steps.clear()
        self.release()

    def release(self) -> None:
        gc.collect()
        if self.options.device == "cuda":
            torch.cuda.empty_cache()


def modes_of(options: argparse.Namespace, models: int) -> list[str]:
    return [mode for mode in (SINGLE if models == 1 else POPULATION) if mode in options.modes]


def refusal(options: argparse.Namespace, mode: str, batch: int, math: str) -> str:
    """Why a mode is not tried at all; empty where it is."""
    if options.device == "cpu" and (math == "tf32" or mode in ON_CUDA and not (mode == "compile" and options.compile_on_cpu)):
        return "not on this device"
    if mode == "compile_max_autotune" and not options.max_autotune:
        return "not asked for (--max-autotune)"
    if mode.startswith("compile") and batch not in options.compile_batches:
        return "not asked for (--compile-batches)"
    return ""


def in_a_process(work: Callable[[], None], limit: float) -> str:
    """Runs work in a fork of this process, which has not touched the device; says how it ended, empty if well."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()  # workers of torch.compile end with it
            work()
            status = 0
        except BaseException as error:  # noqa: BLE001
            print(f"torch_steps: {short(error)}", file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(status)
    begin = time.monotonic()
    try:
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() - begin > limit:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return f"stopped after {limit:g} s"
            time.sleep(0.02)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    if os.WIFSIGNALED(status):
        return f"the process was ended by signal {os.WTERMSIG(status)}"
    code = os.WEXITSTATUS(status)
    return "" if code == 0 else f"the process ended with status {code}"


def measure_unit(options: argparse.Namespace, key: tuple[str, int, str]) -> list[list[str]]:
    """The rows of a unit, in order; a mode that took its process with it is left out in the next try."""
    wanted = [(models, mode) for models in options.models for mode in modes_of(options, models)]
    refused: dict[tuple[int, str], str] = {}
    while True:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "said"
            ended = in_a_process(lambda: Unit(options, key, path, refused).run(), options.limit)
            said = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        rows = {(line["models"], line["mode"]): line for line in said if "mode" in line}
        trying = next((tuple(line["trying"]) for line in reversed(said) if "trying" in line), None)
        if any("done" in line for line in said):
            break
        if trying is None or trying in refused or ended.startswith("stopped"):
            for at in wanted:
                rows.setdefault(at, {"reason": ended or "the process said nothing"})
            break
        refused[trying] = rows.get(trying, {}).get("reason") or ended
    net, batch, math = key
    return [[net, str(batch), str(models), math, mode, *rows[models, mode].get("row", [""] * 4), rows[models, mode].get("reason", "")]
            for models, mode in wanted]


def describe(device: str) -> dict[str, str]:
    if device == "cuda" and not torch.cuda.is_available():
        return {"fault": "PyTorch sees no GPU (--device cpu --smoke tries the program without one)"}
    return {"pytorch": torch.__version__, "cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version()),
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}


def described(device: str) -> dict[str, str]:
    """Asked in a process of its own: one that has used CUDA cannot fork others that do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said"
        ended = in_a_process(lambda: path.write_text(json.dumps(describe(device)), encoding="utf-8") and None, 120)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"fault": f"asking for the device: {ended}"}


def units(options: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    """The most telling first, in case time runs out: batch by batch, all networks and arithmetics of each."""
    for batch in sorted(options.batches, key=lambda batch: (batch != 128, batch)):
        for math in options.math:
            for net in options.nets:
                yield net, batch, math


def fault(text: str) -> int:
    print(f"torch_steps: {text}", file=sys.stderr)
    return 2


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: sys.exit(fault(message))

    def words(known: tuple[str, ...]) -> Callable[[str], list[str]]:
        def convert(text: str) -> list[str]:
            for word in text.split(","):
                if word not in known:
                    raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(known)}")
            return text.split(",")
        return convert

    def numbers(text: str) -> list[int]:
        try:
            values = [int(word) for word in text.split(",") if word]
        except ValueError:
            values = [0]
        if any(value < 1 for value in values):
            raise argparse.ArgumentTypeError(f"'{text}' is no list of positive numbers")
        return values

    parser.add_argument("--out", type=Path, required=True, help="CSV; one of an earlier call is gone on with")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes and few repetitions, to try the program")
    parser.add_argument("--nets", type=words(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--batches", type=numbers)
    parser.add_argument("--math", type=words(MATH), default=list(MATH))
    parser.add_argument("--models", type=numbers, help="sizes of populations; 1: the modes of one model")
    parser.add_argument("--modes", type=words(SINGLE + POPULATION), default=list(SINGLE + POPULATION))
    parser.add_argument("--max-autotune", action="store_true", help="torch.compile's longest search as well (minutes a network)")
    parser.add_argument("--compile-batches", type=numbers, default=[128], help="batches that torch.compile is tried with (default: 128)")
    parser.add_argument("--compile-on-cpu", action="store_true", help="torch.compile on the CPU too")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--seconds", type=float, help="of each turn")
    parser.add_argument("--limit", type=float, default=900, help="seconds that a network, batch and arithmetic may take")
    options = parser.parse_args()
    options.images = 256 if options.smoke else 50000
    options.batches = options.batches or ([8] if options.smoke else [64, 128, 512])
    options.models = options.models or ([1, 2] if options.smoke else [1, 8, 32])
    options.repetitions = options.repetitions or (2 if options.smoke else 5)
    options.seconds = options.seconds or (0.01 if options.smoke else 0.1)
    if options.smoke and 128 in options.compile_batches:
        options.compile_batches = options.batches
    return options


def main() -> int:
    options = parse()
    about = described(options.device)
    if "fault" in about:
        return fault(about["fault"])
    try:
        rows, beside = read_rows(options.out, HEADER, "training steps"), options.out.with_suffix(".json")
    except ValueError as error:
        return fault(str(error))
    if rows and beside.exists() and (before := json.loads(beside.read_text(encoding="utf-8"))) != about:
        return fault(f"{options.out}: was begun with {before['pytorch']} on {before['device']}; remove it or name another with --out")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text(json.dumps(about) + "\n", encoding="utf-8")
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    for math in options.math:
        tf32 = math == "tf32"
        print(f"{math}: torch.backends.cuda.matmul.allow_tf32 {tf32}, torch.backends.cudnn.allow_tf32 {tf32}")
    todo = []
    for key in units(options):
        wanted = {(str(models), mode) for models in options.models for mode in modes_of(options, models)}
        there = {(row[2], row[4]) for row in rows if (row[0], int(row[1]), row[3]) == key}
        if not wanted <= there:
            todo.append(key)
    modes = sum(len(modes_of(options, models)) for models in options.models)
    least = len(todo) * modes * options.repetitions * options.seconds
    print(f"{len(todo)} of {len(list(units(options)))} units to do; the turns alone take up to about {least:.0f} s, setting up comes on top", flush=True)
    begin = time.monotonic()
    for n, key in enumerate(todo, 1):
        new = measure_unit(options, key)
        keys = {tuple(row[:5]) for row in new}
        rows = [row for row in rows if tuple(row[:5]) not in keys] + new
        write_rows(options.out, HEADER, rows)
        best = max((float(row[5]) for row in new if row[5]), default=0)
        spent = time.monotonic() - begin
        print(f"{key[0]:9} batch {key[1]:4} {key[2]:8} best {best:11,.0f} images/s, {sum(not row[5] for row in new)} of {len(new)} modes without a "
              f"figure; {spent:.0f} s, about {spent / n * (len(todo) - n):.0f} s left", flush=True)
    write_rows(options.out, HEADER, rows)
    print(f"{len(rows)} rows in {options.out}, {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
