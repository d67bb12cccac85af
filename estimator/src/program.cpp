// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/program.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <array>

namespace nasturtium::estimator {
namespace {

namespace spec = nn::spec;

char const* python(bool value)
{
  return value ? "True" : "False";
}

std::string python(std::array<int, 2> const& pair)
{
  return concat("(", pair[0], ", ", pair[1], ")");
}

/// Height and width before channels, as F.pad wants it: left, right, top, bottom.
std::string pad_argument(std::array<int, 4> const& padding)
{
  return concat("(", padding[2], ", ", padding[3], ", ", padding[0], ", ", padding[1], ")");
}

/// A node as Python: what the module makes for it (may be empty) and the value that it computes.
struct Line
{
  std::string module, value;
};

/// Writes the lines of one node. Vectors have two dimensions in PyTorch, images four.
class Writer
{
public:
  Writer(spec::NodeInfo const& info, int batch, std::string layer, std::vector<std::string> inputs,
         std::vector<bool> flat)
      : m_info(info), m_batch(batch), m_layer(std::move(layer)), m_inputs(std::move(inputs)), m_flat(std::move(flat))
  {
  }

  bool flat_output() const { return m_flat_output; }

  Line operator()(spec::Conv2d const& conv)
  {
    auto const& padding = m_info.padding;
    bool const even = padding[0] == padding[1] && padding[2] == padding[3];
    auto const image = even ? as_image() : concat("F.pad(", as_image(), ", ", pad_argument(padding), ")");
    return {concat("nn.Conv2d(", m_info.in.front().channels, ", ", conv.filters, ", ", python(conv.kernel),
                   ", stride=", python(conv.stride),
                   ", padding=", python(even ? std::array{padding[0], padding[2]} : std::array{0, 0}),
                   ", dilation=", python(conv.dilation), ", groups=", conv.groups, ", bias=", python(conv.bias), ")"),
            concat(m_layer, "(", image, ")")};
  }
  Line operator()(spec::Dense const& dense)
  {
    auto const vector = as_vector();
    return {concat("nn.Linear(", m_info.in.front().size(), ", ", dense.units, ", bias=", python(dense.bias), ")"),
            concat(m_layer, "(", vector, ")")};
  }
  Line operator()(spec::BatchNorm const& norm)
  {
    m_flat_output = m_flat.front();
    // PyTorch refuses statistics of a single value; the script brings a batch norm that takes them.
    bool const single = m_batch * m_info.out.size() == m_info.out.channels;
    auto const* const kind = single ? "SingleBatchNorm" : m_flat_output ? "nn.BatchNorm1d" : "nn.BatchNorm2d";
    return {concat(kind, "(", m_info.out.channels, ", eps=", shortest(norm.epsilon),
                   ", momentum=", shortest(1 - norm.momentum), ")"),
            concat(m_layer, "(", m_inputs.front(), ")")};
  }
  Line operator()(spec::Activation const& activation)
  {
    m_flat_output = m_flat.front();
    auto const& x = m_inputs.front();
    switch (activation.kind) {
    case spec::ActivationKind::leaky_relu:
      return {"", concat("F.leaky_relu(", x, ", ", shortest(activation.slope), ")")};
    case spec::ActivationKind::tanh:
    case spec::ActivationKind::sigmoid:
      return {"", concat("torch.", spec::op_name(activation), "(", x, ")")};
    default:
      return {"", concat("F.", spec::op_name(activation), "(", x, ")")};
    }
  }
  Line operator()(spec::Pool2d const& pool)
  {
    bool const padded = m_info.padding != std::array<int, 4>{};
    bool const largest = pool.kind == spec::PoolKind::max;
    auto const window = concat(python(pool.kernel), ", ", python(pool.stride));
    auto image = as_image();
    if (padded && !largest)
      return {"", concat("average_pool(", image, ", ", window, ", ", pad_argument(m_info.padding), ")")};
    if (padded) image = concat("F.pad(", image, ", ", pad_argument(m_info.padding), ", value=-math.inf)");
    return {"", concat(largest ? "F.max_pool2d(" : "F.avg_pool2d(", image, ", ", window, ")")};
  }
  Line operator()(spec::GlobalAvgPool const&)
  {
    auto const& x = m_inputs.front();
    m_flat_output = true;
    return {"", m_flat.front() ? x : x + ".mean((2, 3))"};
  }
  Line operator()(spec::Flatten const&) { return {"", as_vector()}; }
  Line operator()(spec::Dropout const& dropout)
  {
    m_flat_output = m_flat.front();
    return {"", concat("F.dropout(", m_inputs.front(), ", ", shortest(dropout.rate), ")")};
  }
  Line operator()(spec::Add const&)
  {
    align();
    std::string sum;
    for (auto const& input : m_inputs)
      sum += (sum.empty() ? "" : " + ") + input;
    return {"", sum};
  }
  Line operator()(spec::Concat const&)
  {
    align();
    std::string list;
    for (auto const& input : m_inputs)
      list += (list.empty() ? "" : ", ") + input;
    return {"", concat("torch.cat((", list, "), 1)")};
  }
  Line operator()(spec::Slice const& slice)
  {
    m_flat_output = m_flat.front();
    return {"", concat(m_inputs.front(), "[:, ", slice.begin, ":", slice.begin + slice.size, "]")};
  }
  Line operator()(spec::PadChannels const& pad)
  {
    m_flat_output = m_flat.front();
    int const more = pad.channels - m_info.in.front().channels;
    return {"", concat("F.pad(", m_inputs.front(), m_flat_output ? ", (0, " : ", (0, 0, 0, 0, 0, ", more, "))")};
  }
  Line operator()(spec::Identity const&)
  {
    m_flat_output = m_flat.front();
    return {"", m_inputs.front()};
  }

private:
  spec::NodeInfo const& m_info;
  int m_batch;
  std::string m_layer; ///< "self.conv2d_1"
  std::vector<std::string> m_inputs;
  std::vector<bool> m_flat; ///< per input: a vector
  bool m_flat_output = false;

  std::string as_image() const { return m_inputs.front() + (m_flat.front() ? "[:, :, None, None]" : ""); }
  std::string as_vector()
  {
    m_flat_output = true;
    return m_inputs.front() + (m_flat.front() ? "" : ".flatten(1)");
  }
  /// All inputs as vectors where one is.
  void align()
  {
    m_flat_output = std::find(m_flat.begin(), m_flat.end(), true) != m_flat.end();
    if (!m_flat_output) return;
    for (std::size_t i = 0; i < m_inputs.size(); ++i)
      if (!m_flat[i]) m_inputs[i] += ".flatten(1)";
  }
};

std::string optimiser_call(Optimiser optimiser)
{
  switch (optimiser) {
  case Optimiser::momentum:
    return "SGD(network.parameters(), lr=1e-3, momentum=0.9)";
  case Optimiser::adagrad:
    return "Adagrad(network.parameters(), lr=1e-3)";
  case Optimiser::rmsprop:
    return "RMSprop(network.parameters(), lr=1e-3, momentum=0.9)";
  case Optimiser::adadelta:
    return "Adadelta(network.parameters(), lr=1e-3)";
  case Optimiser::adam:
    return "Adam(network.parameters(), lr=1e-3)";
  case Optimiser::none:
  case Optimiser::sgd:
    break;
  }
  return "SGD(network.parameters(), lr=1e-3)";
}

constexpr char const* single_batch_norm = R"(
class SingleBatchNorm(nn.BatchNorm2d):
    """Batch norm of one value per channel, which PyTorch's own refuses."""

    def forward(self, x):
        return torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, True, self.momentum,
                                self.eps, torch.backends.cudnn.enabled)

)";

constexpr char const* average_pool = R"(
def average_pool(x, kernel, stride, padding):
    """Divides by the pixels inside the image alone."""
    shares = F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), padding), kernel, stride)
    return F.avg_pool2d(F.pad(x, padding), kernel, stride) / shares

)";

std::string main_function(Workload const& workload)
{
  auto const& network = workload.architecture;
  bool const trains = workload.optimiser != Optimiser::none;
  std::string text = "\ndef main():\n"
                     "    device = torch.device(sys.argv[1] if len(sys.argv) > 1 else \"cpu\")\n"
                     "    torch.manual_seed(1)\n"
                     "    network = Network().to(device)\n";
  text += concat("    images = torch.rand(", workload.batch, ", ", network.input.channels, ", ", network.input.height,
                 ", ", network.input.width, ", device=device)\n");
  text += network.classes > 0
              ? concat("    labels = torch.randint(", network.classes, ", (", workload.batch, ",), device=device)\n")
              : concat("    labels = torch.rand(", workload.batch, ", ", network.regression, ", device=device)\n");
  if (trains) text += concat("    optimiser = torch.optim.", optimiser_call(workload.optimiser), "\n");
  text += "\n    def step():\n";
  std::string const loss =
      concat("loss = F.", network.classes > 0 ? "cross_entropy" : "mse_loss", "(network(images), labels)\n");
  if (trains)
    text += "        optimiser.zero_grad()\n        " + loss +
            "        loss.backward()\n"
            "        optimiser.step()\n";
  else
    text += "        with torch.no_grad():\n            " + loss;
  text += R"(        if device.type == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    step()  # the first one prepares kernels and memory
    start = time.perf_counter()
    loss = step()
    seconds = time.perf_counter() - start
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{parameters} parameters, loss {loss:.4f}, {1e3 * seconds:.3f} ms per step")


if __name__ == "__main__":
    main()
)";
  return text;
}

} // namespace

std::string pytorch_program(Workload const& workload)
{
  require(workload.batch >= 1, "batch must be at least 1, got ", workload.batch);
  auto const& network = workload.architecture;
  auto const inferred = spec::infer(network);
  std::string modules, forward;
  std::vector<bool> flat;
  for (std::size_t i = 0; i < inferred.nodes.size(); ++i) {
    auto const& info = inferred.nodes[i];
    auto const& node = network.nodes[static_cast<std::size_t>(info.node)];
    std::vector<std::string> inputs;
    std::vector<bool> flat_inputs;
    for (int const input : info.inputs) {
      inputs.push_back("x" + std::to_string(input + 1)); // x0 is the image
      flat_inputs.push_back(input >= 0 && flat[static_cast<std::size_t>(input)]);
    }
    // Names of the project's nodes need not be names of Python; op and position are.
    auto const layer = concat("self.", spec::op_name(node.op), "_", i + 1);
    Writer writer(info, workload.batch, layer, std::move(inputs), std::move(flat_inputs));
    auto const line = std::visit(writer, node.op);
    flat.push_back(writer.flat_output());
    if (!line.module.empty()) modules += concat("        ", layer, " = ", line.module, "\n");
    forward += concat("        x", i + 1, " = ", line.value, "  # ", node.id, ": ", info.out.height, " x ",
                      info.out.width, " x ", info.out.channels, "\n");
  }
  std::string text = "\"\"\"One training step of a network in PyTorch, timed: python3 FILE [DEVICE].\"\"\"\n";
  if (!network.name.empty()) text += "# " + quoted(network.name, 256) + "\n";
  text += concat("# batch ", workload.batch, ", optimiser ", name(workload.optimiser), ", ", inferred.parameter_count,
                 " parameters\n");
  text +=
      "import math\nimport sys\nimport time\n\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n";
  if (modules.find("SingleBatchNorm") != std::string::npos) text += single_batch_norm;
  if (forward.find("average_pool(") != std::string::npos) text += average_pool;
  text += "\nclass Network(nn.Module):\n    def __init__(self):\n        super().__init__()\n" + modules;
  text += "\n    def forward(self, x0):\n" + forward;
  text += concat("        return x", inferred.nodes.size(), flat.back() ? "" : ".flatten(1)", "\n\n");
  return text + main_function(workload);
}

} // namespace nasturtium::estimator
