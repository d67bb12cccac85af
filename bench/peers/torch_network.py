# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A PyTorch network from a nasturtium architecture, and its weights in nasturtium's HDF5 format.

Format of both: docs/formats.md. The image goes in as PyTorch has it, (N, C, H, W); vectors are (N, C).
"""

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

REPOSITORY = Path(__file__).resolve().parents[2]
ZOO = REPOSITORY / "nn" / "zoo"
NETWORKS = ("mlp", "lenet", "cnn2", "vgg32", "resnet20", "odd")

Shape = tuple[int, int, int]  # height, width, channels
Node = dict[str, Any]


def load_architecture(path_or_name: str) -> dict[str, Any]:
    """The JSON of a file, or of a network of the zoo."""
    is_file = "/" in path_or_name or path_or_name.endswith(".json")
    path = Path(path_or_name) if is_file else ZOO / f"{path_or_name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def pair(value: int | list[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def resolve_padding(padding: str | list[int], size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int],
                    dilation: tuple[int, int] = (1, 1)) -> tuple[int, int, int, int]:
    """Top, bottom, left, right; "same" puts the odd pixel at the bottom and right."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding != "same":
        return tuple(padding)
    amounts: list[int] = []
    for i in range(2):
        outputs = math.ceil(size[i] / stride[i])
        total = max((outputs - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - size[i], 0)
        amounts += [total // 2, total - total // 2]
    return tuple(amounts)


def topological(nodes: list[Node]) -> list[Node]:
    """Nodes after their inputs; ties by the order written."""
    done, order, waiting = {"input"}, [], list(nodes)
    while waiting:
        node = next(n for n in waiting if all(i in done for i in n["inputs"]))
        waiting.remove(node)
        order.append(node)
        done.add(node["id"])
    return order


class Layer(nn.Module):
    """One node. `out` is its output shape; parameters carry the names of the weights file."""

    def __init__(self, node: Node, shapes: list[Shape], idiomatic: bool):
        super().__init__()
        self.op: str = node["op"]
        self.node = node
        self.idiomatic = idiomatic
        self.inplace = False
        height, width, channels = shapes[0]
        self.out: Shape = shapes[0]
        if self.op == "conv2d":
            self.kernel_size = pair(node["kernel"])
            self.stride = pair(node.get("stride", 1))
            self.dilation = pair(node.get("dilation", 1))
            self.groups: int = node.get("groups", 1)
            filters: int = node["filters"]
            self.kernel = nn.Parameter(torch.empty(filters, channels // self.groups, *self.kernel_size))
            self.bias = nn.Parameter(torch.empty(filters)) if node.get("bias", True) else None
            self.place(node.get("padding", "same"), shapes[0], filters, self.dilation)
        elif self.op == "dense":
            self.in_shape = shapes[0]
            self.kernel = nn.Parameter(torch.empty(node["units"], height * width * channels))
            self.bias = nn.Parameter(torch.empty(node["units"])) if node.get("bias", True) else None
            self.out = (1, 1, node["units"])
        elif self.op == "batch_norm":
            self.gamma = nn.Parameter(torch.empty(channels))
            self.beta = nn.Parameter(torch.empty(channels))
            self.register_buffer("moving_mean", torch.empty(channels))
            self.register_buffer("moving_variance", torch.empty(channels))
        elif self.op in ("max_pool2d", "avg_pool2d"):
            self.kernel_size = pair(node["kernel"])
            self.stride = pair(node.get("stride", node["kernel"]))
            self.place(node.get("padding", "valid"), shapes[0], channels)
        elif self.op == "global_avg_pool":
            self.out = (1, 1, channels)
        elif self.op == "flatten":
            self.out = (1, 1, height * width * channels)
        elif self.op == "concat":
            self.out = (height, width, sum(shape[2] for shape in shapes))
        elif self.op in ("slice", "pad_channels"):
            self.out = (height, width, node["size" if self.op == "slice" else "channels"])

    def place(self, padding: str | list[int], shape: Shape, channels: int, dilation: tuple[int, int] = (1, 1)) -> None:
        """Sets the output shape and how the padding is done: by the op where it is symmetric, else by F.pad."""
        size = shape[:2]
        amounts = resolve_padding(padding, size, self.kernel_size, self.stride, dilation)
        extent = [dilation[i] * (self.kernel_size[i] - 1) + 1 for i in range(2)]
        self.out = tuple((size[i] + amounts[2 * i] + amounts[2 * i + 1] - extent[i]) // self.stride[i] + 1
                         for i in range(2)) + (channels,)
        if self.idiomatic and padding == "same":
            # What a user of PyTorch writes: symmetric padding, where it gives an output of the same size.
            half = [extent[i] // 2 for i in range(2)]
            if all((size[i] + 2 * half[i] - extent[i]) // self.stride[i] + 1 == self.out[i] for i in range(2)):
                amounts = (half[0], half[0], half[1], half[1])
        top, bottom, left, right = amounts
        symmetric = top == bottom and left == right
        if self.op != "conv2d":  # PyTorch's pools pad by half a window at most
            symmetric = symmetric and 2 * top <= self.kernel_size[0] and 2 * left <= self.kernel_size[1]
        self.symmetric = (top, left) if symmetric else (0, 0)
        self.explicit = None if symmetric else (left, right, top, bottom)

    def forward(self, *inputs: Tensor) -> Tensor:
        x = inputs[0]
        match self.op:
            case "conv2d":
                x = image(x)
                x = x if self.explicit is None else F.pad(x, self.explicit)
                return F.conv2d(x, self.kernel, self.bias, self.stride, self.symmetric, self.dilation, self.groups)
            case "dense":
                return F.linear(self.flat(x), self.kernel, self.bias)
            case "batch_norm":
                return F.batch_norm(x, self.moving_mean, self.moving_variance, self.gamma, self.beta, self.training,
                                    1 - self.node.get("momentum", 0.9), self.node.get("epsilon", 1e-5))
            case "relu":
                return F.relu(x, self.inplace)
            case "leaky_relu":
                return F.leaky_relu(x, self.node.get("slope", 0.01))
            case "elu":
                return F.elu(x)
            case "gelu":
                return F.gelu(x)
            case "silu":
                return F.silu(x)
            case "tanh":
                return torch.tanh(x)
            case "sigmoid":
                return torch.sigmoid(x)
            case "max_pool2d":
                x = image(x)
                x = x if self.explicit is None else F.pad(x, self.explicit, value=-math.inf)
                return F.max_pool2d(x, self.kernel_size, self.stride, self.symmetric)
            case "avg_pool2d":
                return self.average(image(x))
            case "global_avg_pool":
                return image(x).mean((2, 3))
            case "flatten":
                return self.flat(x)
            case "dropout":
                return F.dropout(x, self.node["rate"], self.training)
            case "add":
                images = [image(x) for x in inputs]
                return sum(images[1:], start=images[0])
            case "concat":
                return torch.cat([image(x) for x in inputs], 1)
            case "slice":
                return image(x)[:, self.node["begin"]:self.node["begin"] + self.node["size"]]
            case "pad_channels":
                return F.pad(image(x), (0, 0, 0, 0, 0, self.out[2] - image(x).shape[1]))
            case "identity":
                return x
            case _:
                raise ValueError(f"node '{self.node['id']}': unknown op '{self.op}'")

    def flat(self, x: Tensor) -> Tensor:
        """One row a sample, in nasturtium's order (height, width, channel); in PyTorch's own for speed comparisons."""
        if x.dim() == 4 and not self.idiomatic:
            x = x.permute(0, 2, 3, 1)
        return x.flatten(1)

    def average(self, x: Tensor) -> Tensor:
        if self.explicit is None:
            return F.avg_pool2d(x, self.kernel_size, self.stride, self.symmetric, count_include_pad=False)
        inside = F.pad(torch.ones_like(x[:1, :1]), self.explicit)
        total = F.avg_pool2d(F.pad(x, self.explicit), self.kernel_size, self.stride, divisor_override=1)
        return total / F.avg_pool2d(inside, self.kernel_size, self.stride, divisor_override=1)


def image(x: Tensor) -> Tensor:
    """A vector as an image of one pixel."""
    return x if x.dim() == 4 else x[:, :, None, None]


class Network(nn.Module):
    """The network of an architecture; forward gives (N, classes) logits or regression values.

    `idiomatic` writes it as a user of PyTorch would (symmetric padding, channel-first flattening, ReLU in place): the
    same work, not the same function. For speed comparisons only.
    """

    def __init__(self, architecture: dict[str, Any], idiomatic: bool = False):
        super().__init__()
        self.architecture = architecture
        self.order = topological(architecture["nodes"])
        size = architecture["input"]
        shapes: dict[str, Shape] = {"input": (size["height"], size["width"], size["channels"])}
        self.layers = nn.ModuleList()
        readers: dict[str, int] = {}
        for node in self.order:
            layer = Layer(node, [shapes[i] for i in node["inputs"]], idiomatic)
            shapes[node["id"]] = layer.out
            self.layers.append(layer)
            for i in node["inputs"]:
                readers[i] = readers.get(i, 0) + 1
        by_id = dict(zip((n["id"] for n in self.order), self.layers, strict=True))
        for layer in self.layers:
            source = layer.node["inputs"][0]
            if idiomatic and layer.op == "relu" and source in by_id:
                layer.inplace = readers[source] == 1 and by_id[source].op in ("conv2d", "dense", "batch_norm", "add")
        self.last_use = {i: n for n, node in enumerate(self.order) for i in node["inputs"]}

    def forward(self, x: Tensor) -> Tensor:
        values = {"input": x}
        for n, (node, layer) in enumerate(zip(self.order, self.layers, strict=True)):
            values[node["id"]] = layer(*(values[i] for i in node["inputs"]))
            for i in node["inputs"]:
                if self.last_use[i] == n:
                    values.pop(i, None)
        return values[self.order[-1]["id"]].flatten(1)

    def kernels(self) -> list[nn.Parameter]:
        """Kernels of convolutions and dense layers: what weight decay acts on."""
        return [layer.kernel for layer in self.layers if hasattr(layer, "kernel")]

    def initialise(self, seed: int) -> None:
        """He-normal kernels (variance 2 / fan-in, not truncated), zero biases, identity batch norm."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in self.layers:
                if hasattr(layer, "kernel"):
                    layer.kernel.normal_(0, math.sqrt(2 / layer.kernel[0].numel()), generator=generator)
                    if layer.bias is not None:
                        layer.bias.zero_()
                elif layer.op == "batch_norm":
                    layer.gamma.fill_(1)
                    layer.beta.zero_()
                    layer.moving_mean.zero_()
                    layer.moving_variance.fill_(1)

    def weights(self) -> dict[tuple[str, str], np.ndarray]:
        """(node id, name) -> values in nasturtium's layout."""
        result = {}
        for node, layer in zip(self.order, self.layers, strict=True):
            named = list(layer.named_parameters(recurse=False)) + list(layer.named_buffers(recurse=False))
            for name, tensor in named:
                result[node["id"], name] = to_file(layer.op, name, tensor.detach())
        return result

    def set_weights(self, weights: dict[tuple[str, str], np.ndarray]) -> None:
        """The opposite of `weights`; every tensor must be there and have its shape."""
        with torch.no_grad():
            for node, layer in zip(self.order, self.layers, strict=True):
                named = list(layer.named_parameters(recurse=False)) + list(layer.named_buffers(recurse=False))
                for name, tensor in named:
                    values = from_file(layer.op, name, torch.from_numpy(weights[node["id"], name]))
                    if values.shape != tensor.shape:
                        raise ValueError(f"/weights/{node['id']}/{name} has shape {tuple(values.shape)}")
                    tensor.copy_(values)


def to_file(op: str, name: str, tensor: Tensor) -> np.ndarray:
    """OIHW -> HWIO, (out, in) -> (in, out)."""
    if name == "kernel":
        tensor = tensor.permute(2, 3, 1, 0) if op == "conv2d" else tensor.t()
    return tensor.contiguous().numpy()


def from_file(op: str, name: str, tensor: Tensor) -> Tensor:
    """HWIO -> OIHW, (in, out) -> (out, in)."""
    if name == "kernel":
        tensor = tensor.permute(3, 2, 0, 1) if op == "conv2d" else tensor.t()
    return tensor


def save_weights(path: str | Path, network: Network) -> None:
    """Writes the weights in the precision that they have."""
    with h5py.File(path, "w") as file:
        for (node, name), values in network.weights().items():
            file[f"weights/{node}/{name}"] = values


def load_weights(path: str | Path) -> dict[tuple[str, str], np.ndarray]:
    with h5py.File(path, "r") as file:
        return {(node, name): dataset[()] for node, group in file["weights"].items() for name, dataset in group.items()}
