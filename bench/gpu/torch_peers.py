# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions, dense layers and matrix products of the shape list in PyTorch (cuDNN, cuBLAS) on a GPU, channels last: a CSV.

The same work as contraction_bench: convolutions with bias, dense layers and products without. Data stay on the GPU; cuDNN picks its
algorithms before timing. median_us, spread_us (largest less smallest) and gflops are of a loop that is synchronised before and
after, as contraction_bench does.
8192x8192x8192 is the measured peak that other figures are held against. A second call with the same --out goes on where the first
one stopped.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peer_table import read_rows, write_rows

HEADER = ["layer", "batch", "pass", "math", "median_us", "spread_us", "gflops"]
MATH = ("float32", "tf32", "bf16")
# name: in channels, in size, out channels, kernel, stride, padding, groups
LAYERS = {
    "c01": (3, 32, 32, 3, 1, 1, 1), "c02": (1, 28, 32, 3, 1, 1, 1), "c03": (16, 32, 16, 3, 1, 1, 1),
    "c04": (32, 32, 32, 3, 1, 1, 1), "c05": (64, 16, 64, 3, 1, 1, 1), "c06": (128, 8, 128, 3, 1, 1, 1),
    "c07": (256, 8, 256, 3, 1, 1, 1), "c08": (64, 16, 64, 1, 1, 0, 1), "c09": (24, 16, 40, 3, 1, 1, 1),
    "c10": (20, 12, 50, 5, 1, 0, 1), "c11": (20, 12, 50, 5, 1, 2, 1), "c12d": (64, 16, 64, 3, 1, 1, 64),
    "c13": (16, 32, 32, 3, 2, 1, 1), "c14": (32, 16, 64, 3, 2, 1, 1), "c15": (1, 28, 20, 5, 1, 0, 1),
    "c16": (16, 32, 32, 1, 2, 0, 1), "c17": (32, 16, 64, 1, 2, 0, 1), "c18": (32, 14, 64, 3, 1, 1, 1),
    "c19": (32, 16, 64, 3, 1, 1, 1), "c20": (64, 8, 128, 3, 1, 1, 1), "c21": (3, 32, 16, 3, 1, 1, 1),
    "c22": (32, 16, 32, 3, 1, 1, 1), "c23": (64, 8, 64, 3, 1, 1, 1), "c24": (3, 32, 24, 3, 1, 1, 1),
    "c25": (24, 32, 40, 3, 1, 1, 1), "c26": (40, 16, 50, 5, 1, 2, 1),
}
DENSE = {"f01": (784, 256), "f02": (256, 128), "f03": (128, 10), "f04": (800, 500), "f05": (500, 10),
         "f06": (3136, 128), "f07": (512, 10), "f08": (64, 10), "f09": (50, 10)}
# m, k, n; contraction_bench calls m the batch
PRODUCTS = [(256, 3072, 512), (64, 576, 8192), (128, 3136, 128), (64, 512, 10), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024)]
PEAK = 8192
Call = Callable[[], object]


class Timer:
    def __init__(self, device: str, repetitions: int, seconds: float):
        self.repetitions, self.seconds = repetitions, seconds
        self.synchronise = torch.cuda.synchronize if device == "cuda" else lambda: None

    def loop(self, call: Call, count: int) -> float:
        """Microseconds a call."""
        self.synchronise()
        begin = time.perf_counter()
        for _ in range(count):
            call()
        self.synchronise()
        return (time.perf_counter() - begin) / count * 1e6

    def measure(self, call: Call) -> tuple[float, float]:
        """Median and spread of a call in a loop."""
        self.loop(call, 3)
        count = max(1, int(self.seconds * 1e6 / self.loop(call, 5)))
        times = [self.loop(call, count) for _ in range(self.repetitions)]
        return statistics.median(times), max(times) - min(times)


def convolution(shape: tuple[int, ...], batch: int, dtype: torch.dtype, device: str) -> tuple[dict[str, Call], float]:
    """The calls of its passes, and the FLOP of each."""
    channels, size, filters, kernel, stride, padding, groups = shape
    layout = torch.channels_last
    x = torch.randn(batch, channels, size, size, device=device, dtype=dtype).to(memory_format=layout)
    w = torch.randn(filters, channels // groups, kernel, kernel, device=device, dtype=dtype).to(memory_format=layout)
    b = torch.randn(filters, device=device, dtype=dtype)

    def forward() -> torch.Tensor:
        return torch.nn.functional.conv2d(x, w, b, stride, padding, 1, groups)

    dy = torch.randn_like(forward())

    def backward(mask: list[bool]) -> Call:
        return lambda: torch.ops.aten.convolution_backward(
            dy, x, w, [filters], [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, mask)

    calls = {"forward": forward, "backward_data": backward([True, False, False]), "backward_weights": backward([False, True, True])}
    if channels <= 3:  # the first layer needs none
        del calls["backward_data"]
    return calls, 2 * dy.numel() * kernel * kernel * channels // groups


def dense(inputs: int, outputs: int, batch: int, dtype: torch.dtype, device: str) -> tuple[dict[str, Call], float]:
    x = torch.randn(batch, inputs, device=device, dtype=dtype)
    w = torch.randn(outputs, inputs, device=device, dtype=dtype)
    dy = torch.randn(batch, outputs, device=device, dtype=dtype)
    return {"forward": lambda: torch.nn.functional.linear(x, w), "backward_data": lambda: dy @ w,
            "backward_weights": lambda: dy.t() @ x}, 2 * batch * inputs * outputs


def work(batch: int, dtype: torch.dtype, options: argparse.Namespace) -> list[tuple[str, int, Callable[[], tuple[dict[str, Call], float]]]]:
    """Name, batch and maker of all layers of a batch; batch 0: the products."""
    device = options.device
    if batch:
        layers = [(name, batch, lambda shape=shape: convolution(shape, batch, dtype, device)) for name, shape in LAYERS.items()]
        layers += [(name, batch, lambda shape=shape: dense(*shape, batch, dtype, device)) for name, shape in DENSE.items()]
        return layers[::7] if options.smoke else layers
    peak = 256 if options.smoke else PEAK

    def square() -> tuple[dict[str, Call], float]:
        calls, flops = dense(peak, peak, peak, dtype, device)
        return {"forward": calls["forward"]}, flops

    products = [(f"{m}x{k}x{n}", m, lambda m=m, k=k, n=n: dense(k, n, m, dtype, device)) for m, k, n in PRODUCTS if (m, k, n) != (peak,) * 3]
    return [(f"{peak}x{peak}x{peak}", peak, square)] + (products[3:4] if options.smoke else products)


def fault(text: str) -> int:
    print(f"torch_peers: {text}", file=sys.stderr)
    return 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: sys.exit(fault(message))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--smoke", action="store_true", help="few layers, tiny batches, few repetitions, to try the program")
    parser.add_argument("--math", default=",".join(MATH))
    parser.add_argument("--batches")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.02)
    options = parser.parse_args()
    if wrong := [math for math in options.math.split(",") if math not in MATH]:
        return fault(f"no arithmetic is called '{wrong[0]}' ({', '.join(MATH)})")
    try:
        batches = [int(batch) for batch in (options.batches or ("4" if options.smoke else "128,64,32,512")).split(",")]
    except ValueError:
        batches = [0]
    if min(batches) < 1:
        return fault(f"--batches wants positive numbers, got '{options.batches}'")
    if options.device == "cuda" and not torch.cuda.is_available():
        return fault("PyTorch sees no GPU (--device cpu --smoke tries the program without one)")
    if options.smoke:
        options.repetitions, options.seconds = 2, 0.001
        torch.set_num_threads(1)
    timer = Timer(options.device, options.repetitions, options.seconds)
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, {name}")
    try:
        rows = read_rows(options.out, HEADER, "kernels")
    except ValueError as error:
        return fault(str(error))
    for math in options.math.split(","):
        tf32 = math == "tf32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        print(f"{math}: torch.backends.cuda.matmul.allow_tf32 {tf32}, torch.backends.cudnn.allow_tf32 {tf32}")
        if tf32 and options.device == "cpu":
            print(f"{math}: not on this device")
            continue
        dtype = torch.bfloat16 if math == "bf16" else torch.float32
        for batch in [0, *batches]:
            begin = time.perf_counter()
            done = {(row[0], row[1], row[3]) for row in rows}
            for layer, size, make in work(batch, dtype, options):
                if (layer, str(size), math) in done:
                    continue
                calls, flops = make()
                for direction, call in calls.items():
                    median, spread = timer.measure(call)
                    rows.append([layer, str(size), direction, math, f"{median:.3f}", f"{spread:.3f}", f"{flops / median * 1e-3:.1f}"])
                write_rows(options.out, HEADER, rows)
            print(f"{math}: {f'batch {batch}' if batch else 'products'}: {time.perf_counter() - begin:.0f} s", flush=True)
    write_rows(options.out, HEADER, rows)
    print(f"{len(rows)} figures in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
