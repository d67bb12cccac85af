# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The PyTorch side of the comparisons, checked against plain loops, published formulas and ONNX Runtime.

NASTURTIUM_RUN names the folder of a training run whose weights.h5 and model.onnx are compared; without it that test is
skipped. tests/peers/run.sh makes one.
"""

import json
import math
import os
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench" / "peers"))
from recipe import Optimiser, Schedule, Stepper  # noqa: E402
from torch_network import NETWORKS, Network, load_architecture, load_weights, resolve_padding, save_weights  # noqa: E402

EVERY_OP = str(Path(__file__).resolve().parents[2] / "bench" / "peers" / "parity_net.json")


def single(op: str, channels: int = 1, height: int = 5, width: int = 4, **fields: object) -> Network:
    """A network of one node."""
    node = {"id": "node", "op": op, "inputs": ["input"], **fields}
    size = {"height": height, "width": width, "channels": channels}
    network = Network({"input": size, "nodes": [node], "output": {"classes": 1}}).double()
    network.initialise(seed=3)
    return network


class NetworkTest(unittest.TestCase):
    def test_parameter_counts_of_the_zoo(self) -> None:
        counts = [sum(p.numel() for p in Network(load_architecture(name)).parameters()) for name in NETWORKS]
        self.assertEqual(counts, [235146, 431080, 421834, 288746, 272474, 60040])

    def test_same_padding_puts_the_odd_pixel_last(self) -> None:
        self.assertEqual(resolve_padding("same", (32, 32), (3, 3), (2, 2)), (0, 1, 0, 1))
        self.assertEqual(resolve_padding("same", (5, 8), (2, 4), (1, 3)), (0, 1, 1, 1))
        self.assertEqual(resolve_padding("same", (9, 9), (3, 3), (1, 1), (2, 2)), (2, 2, 2, 2))

    def test_strided_convolution_against_loops(self) -> None:
        network = single("conv2d", channels=2, filters=3, kernel=[2, 3], stride=[2, 1], padding="same")
        x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
        weights = network.weights()["node", "kernel"]  # HWIO
        padded = np.zeros((2, 6, 6, 2))  # bottom 1; left 1, right 1
        padded[:, :5, 1:5] = x.permute(0, 2, 3, 1).numpy()
        expected = np.zeros((2, 3, 4, 3))
        for n, i, j in np.ndindex(2, 3, 4):
            expected[n, i, j] = np.einsum("hwc,hwco->o", padded[n, 2 * i:2 * i + 2, j:j + 3], weights)
        result = network.layers[0](x).permute(0, 2, 3, 1).detach().numpy()
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)  # rounding of sums of 12 products

    def test_average_pool_ignores_padding(self) -> None:
        x = torch.arange(20, dtype=torch.float64).reshape(1, 1, 5, 4)
        result = single("avg_pool2d", kernel=2, stride=1, padding="same").layers[0](x)
        self.assertEqual(result.shape, (1, 1, 5, 4))
        self.assertEqual(result[0, 0, 4, 3], x[0, 0, 4, 3])  # a window of one pixel
        self.assertEqual(result[0, 0, 4, 0], x[0, 0, 4, :2].mean())

    def test_padding_never_wins_a_maximum(self) -> None:
        x = -torch.ones(1, 1, 5, 4, dtype=torch.float64)
        self.assertTrue((single("max_pool2d", kernel=3, stride=2, padding="same").layers[0](x) == -1).all())

    def test_dense_reads_height_width_channel(self) -> None:
        network = single("dense", channels=3, units=1)
        with torch.no_grad():
            network.layers[0].kernel.copy_(torch.arange(60.0)[None])
        x = torch.zeros(1, 3, 5, 4, dtype=torch.float64)
        x[0, 2, 1, 3] = 1  # row 1, column 3, channel 2
        self.assertEqual(network(x).item(), (1 * 4 + 3) * 3 + 2)

    def test_weights_come_back(self) -> None:
        network, other = (Network(load_architecture(EVERY_OP)).double() for _ in range(2))
        network.initialise(seed=1)
        other.initialise(seed=2)
        x = torch.randn(3, 1, 28, 28, dtype=torch.float64)
        with tempfile.TemporaryDirectory() as folder:
            save_weights(Path(folder) / "w.h5", network)
            other.set_weights(load_weights(Path(folder) / "w.h5"))
        self.assertTrue(torch.equal(network.eval()(x), other.eval()(x)))

    def test_onnx_runtime_agrees(self) -> None:
        run = os.environ.get("NASTURTIUM_RUN")
        if not run:
            self.skipTest("NASTURTIUM_RUN names no run (tests/peers/run.sh makes one)")
        import onnxruntime

        config = json.loads((Path(run) / "config.json").read_text(encoding="utf-8"))
        network = Network(config["candidates"][0]["architecture"])
        network.set_weights(load_weights(Path(run) / "weights.h5"))
        size = config["candidates"][0]["architecture"]["input"]
        x = torch.randn(7, size["channels"], size["height"], size["width"], generator=torch.Generator().manual_seed(5))
        session = onnxruntime.InferenceSession(f"{run}/model.onnx", providers=["CPUExecutionProvider"])
        expected = session.run(None, {session.get_inputs()[0].name: x.permute(0, 2, 3, 1).contiguous().numpy()})[0]
        result = network.eval()(x).detach().numpy()
        # Two float32 evaluations of about twenty layers.
        np.testing.assert_allclose(result, expected.reshape(result.shape), rtol=1e-4, atol=1e-5)


class RecipeTest(unittest.TestCase):
    def test_schedules_at_their_ends(self) -> None:
        cycle = Schedule("one_cycle", peak_fraction=0.25, initial_fraction=0.04, final_fraction=0.001)
        self.assertAlmostEqual(cycle.rate(2.0, 0, 10, 100), 0.08)
        self.assertAlmostEqual(cycle.rate(2.0, 24, 10, 100), 2.0)
        self.assertAlmostEqual(cycle.rate(2.0, 99, 10, 100), 0.002)
        cosine = Schedule("cosine", warmup_epochs=1)
        self.assertAlmostEqual(cosine.rate(1.0, 0, 10, 100), 0.1)
        self.assertAlmostEqual(cosine.rate(1.0, 55, 10, 100), 0.5 * (1 + math.cos(math.pi / 2)))
        self.assertAlmostEqual(Schedule("step", step_epochs=2, gamma=0.1).rate(1.0, 41, 10, 100), 0.01)

    def test_weight_decay_spares_biases(self) -> None:
        for options in (Optimiser(weight_decay=0.5), Optimiser(weight_decay=0.5, decoupled=True), Optimiser("adamw", weight_decay=0.5)):
            network = single("dense", units=2)
            with torch.no_grad():
                network.layers[0].bias.fill_(1)
            before = network.layers[0].kernel.detach().clone()
            for p in network.parameters():
                p.grad = torch.zeros_like(p)
            Stepper(network, options).step(0.1)
            self.assertTrue(torch.equal(network.layers[0].bias, torch.ones(2, dtype=torch.float64)))
            torch.testing.assert_close(network.layers[0].kernel.detach(), before * (1 - 0.1 * 0.5))

    def test_clipping_scales_to_the_norm(self) -> None:
        network = single("dense", units=2)
        before = torch.cat([p.detach().flatten() for p in network.parameters()])
        for p in network.parameters():
            p.grad = torch.full_like(p, 3.0)
        Stepper(network, Optimiser(momentum=0.0, clip_norm=0.5)).step(1.0)
        after = torch.cat([p.detach().flatten() for p in network.parameters()])
        self.assertAlmostEqual((after - before).norm().item(), 0.5, places=12)


if __name__ == "__main__":
    unittest.main()
