// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes an architecture layer by layer. Ids come from the op and a counter alone, so that genomes that stand for the
// same network decode to equal architectures.
#pragma once

#include <nasturtium/nas/search_space.hpp>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::nas::impl {

class GraphBuilder
{
public:
  explicit GraphBuilder(Task const& task)
  {
    m_architecture.input = task.input;
    m_architecture.classes = task.classes;
    m_architecture.regression = task.regression;
  }

  /// A node that reads `inputs`; gives back its id.
  std::string add(nn::spec::Op op, std::vector<std::string> inputs)
  {
    std::string const kind = nn::spec::op_name(op);
    std::string id = kind + std::to_string(++m_count[kind]);
    m_architecture.nodes.push_back({id, std::move(op), std::move(inputs)});
    return id;
  }
  std::string add(nn::spec::Op op, std::string input)
  {
    return add(std::move(op), std::vector<std::string>{std::move(input)});
  }

  /// A node behind the last one of the chain, which begins at the image.
  void append(nn::spec::Op op) { m_last = add(std::move(op), m_last); }
  /// A node that reads `inputs` and is now the last one of the chain.
  void append(nn::spec::Op op, std::vector<std::string> inputs) { m_last = add(std::move(op), std::move(inputs)); }
  std::string const& last() const { return m_last; }
  void continue_from(std::string id) { m_last = std::move(id); }

  /// The classifier, or the linear units of a regression, end the chain.
  nn::spec::Architecture finish(std::string name)
  {
    append(nn::spec::Dense{m_architecture.classes > 0 ? m_architecture.classes : m_architecture.regression});
    m_architecture.name = std::move(name);
    return std::move(m_architecture);
  }

private:
  nn::spec::Architecture m_architecture;
  std::map<std::string, int> m_count;
  std::string m_last = "input";
};

} // namespace nasturtium::nas::impl
