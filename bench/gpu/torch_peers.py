# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions and dense layers of the shape list in PyTorch (cuDNN, cuBLAS) on a GPU, channels last: a CSV of microseconds.

Data stay on the GPU; cuDNN picks its algorithms before timing; each figure is the median of repetitions of a loop that is
synchronised before and after.
"""

import argparse
import csv
import statistics
import time

import torch

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


def median_us(call, repetitions: int, seconds: float) -> tuple[float, float]:
    """Median and spread (largest less smallest) of a call's microseconds."""
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(10):
        call()
    torch.cuda.synchronize()
    count = max(1, int(seconds / ((time.perf_counter() - begin) / 10)))
    times = []
    for _ in range(repetitions):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            call()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) / count * 1e6)
    return statistics.median(times), max(times) - min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--math", default="float32,tf32,bf16")
    parser.add_argument("--batches", default="32,64,128,512")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.05)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    rows = []
    for math in options.math.split(","):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = math == "tf32"
        dtype = torch.bfloat16 if math == "bf16" else torch.float32
        for batch in map(int, options.batches.split(",")):
            layers = [(name, *_convolution(shape, batch, dtype)) for name, shape in LAYERS.items()]
            layers += [(name, *_dense(shape, batch, dtype)) for name, shape in DENSE.items()]
            for name, forward, backward_data, backward_weights, flops in layers:
                for direction, call in (("forward", forward), ("backward_data", backward_data), ("backward_weights", backward_weights)):
                    if call is None:
                        continue
                    median, spread = median_us(call, options.repetitions, options.seconds)
                    rows.append([name, batch, direction, math, f"{median:.3f}", f"{spread:.3f}", f"{flops / median * 1e-3:.1f}"])
    with open(options.out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", "batch", "pass", "math", "median_us", "spread_us", "gflops"])
        writer.writerows(rows)
    print(f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {torch.cuda.get_device_name()}: {len(rows)} figures")


def _convolution(shape, batch, dtype):
    channels, size, filters, kernel, stride, padding, groups = shape
    layout = torch.channels_last
    x = torch.randn(batch, channels, size, size, device="cuda", dtype=dtype).to(memory_format=layout)
    w = torch.randn(filters, channels // groups, kernel, kernel, device="cuda", dtype=dtype).to(memory_format=layout)
    b = torch.randn(filters, device="cuda", dtype=dtype)

    def forward():
        return torch.nn.functional.conv2d(x, w, b, stride, padding, 1, groups)

    dy = torch.randn_like(forward())

    def backward(mask):
        return lambda: torch.ops.aten.convolution_backward(
            dy, x, w, [filters], [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, mask)

    flops = 2 * dy.numel() * kernel * kernel * channels // groups
    return forward, backward([True, False, False]) if channels > 3 else None, backward([False, True, True]), flops


def _dense(shape, batch, dtype):
    inputs, outputs = shape
    x = torch.randn(batch, inputs, device="cuda", dtype=dtype)
    w = torch.randn(outputs, inputs, device="cuda", dtype=dtype)
    b = torch.randn(outputs, device="cuda", dtype=dtype)
    dy = torch.randn(batch, outputs, device="cuda", dtype=dtype)
    return (lambda: torch.nn.functional.linear(x, w, b), lambda: dy @ w, lambda: (dy.t() @ x, dy.sum(0)),
            2 * batch * inputs * outputs)


if __name__ == "__main__":
    main()
