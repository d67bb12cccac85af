// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The program as a process: what it prints, how it ends, and how it takes being killed.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace nasturtium::test {

namespace fs = std::filesystem;

/// A folder that is gone at the end.
class Folder
{
public:
  Folder()
  {
    std::string name = (fs::temp_directory_path() / "nasturtium-cli-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
    m_path = name;
  }
  ~Folder()
  {
    std::error_code error;
    fs::remove_all(m_path, error);
  }
  Folder(Folder const&) = delete;
  Folder& operator=(Folder const&) = delete;

  std::string path() const { return m_path.string(); }
  std::string operator/(std::string const& name) const { return (m_path / name).string(); }

  std::string write(std::string const& name, std::string const& content) const
  {
    fs::create_directories((m_path / name).parent_path());
    std::ofstream(m_path / name, std::ios::binary) << content;
    return *this / name;
  }

  /// All files and folders below, hidden ones too.
  std::set<std::string> listing() const
  {
    std::set<std::string> names;
    for (auto const& entry : fs::recursive_directory_iterator(m_path))
      names.insert(fs::relative(entry.path(), m_path).string());
    return names;
  }

private:
  fs::path m_path;
};

inline std::string read(std::string const& path)
{
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Finished
{
  int status = -1; ///< exit status, or minus the signal
  std::string out, err;
};

struct Limits
{
  rlim_t file_size = RLIM_INFINITY; ///< a disk that is full after so many bytes of one file
  std::string stdout_path{};        ///< instead of catching stdout
};

/// The running program.
class Process
{
public:
  explicit Process(std::vector<std::string> const& arguments, Limits const& limits = {})
  {
    std::vector<std::string> words{NASTURTIUM_BINARY};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (auto& word : words)
      argv.push_back(word.data());
    argv.push_back(nullptr);
    std::string const out = limits.stdout_path.empty() ? m_folder / "out" : limits.stdout_path, err = m_folder / "err";
    m_catch_out = limits.stdout_path.empty();
    m_pid = ::fork();
    if (m_pid < 0) throw std::runtime_error("fork failed");
    if (m_pid == 0) {
      int const out_file = ::open(out.c_str(), O_WRONLY | O_CREAT, 0600),
                err_file = ::open(err.c_str(), O_WRONLY | O_CREAT, 0600);
      ::dup2(out_file, 1);
      ::dup2(err_file, 2);
      ::setenv("OMP_NUM_THREADS", "2", 1);
      if (limits.file_size != RLIM_INFINITY) {
        rlimit const limit{limits.file_size, limits.file_size};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        ::signal(SIGXFSZ, SIG_IGN);
      }
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~Process()
  {
    if (m_pid > 0) {
      ::kill(m_pid, SIGKILL);
      ::waitpid(m_pid, nullptr, 0);
    }
  }
  Process(Process const&) = delete;
  Process& operator=(Process const&) = delete;

  /// Nothing once the program has ended: kill(-1, ...) would reach every process of the machine.
  void signal(int number) const
  {
    if (m_pid > 0) ::kill(m_pid, number);
  }

  pid_t id() const { return m_pid; } ///< -1 once it has been waited for

  bool running()
  {
    if (m_pid > 0 && ::waitpid(m_pid, &m_raw, WNOHANG) == m_pid) m_pid = -1;
    return m_pid > 0;
  }

  Finished wait()
  {
    if (m_pid > 0) ::waitpid(m_pid, &m_raw, 0);
    m_pid = -1;
    Finished finished;
    finished.status = WIFEXITED(m_raw) ? WEXITSTATUS(m_raw) : -WTERMSIG(m_raw);
    if (m_catch_out) finished.out = read(m_folder / "out");
    finished.err = read(m_folder / "err");
    return finished;
  }

private:
  Folder m_folder;
  pid_t m_pid = -1;
  int m_raw = 0;
  bool m_catch_out = true;
};

inline Finished run(std::vector<std::string> const& arguments, Limits const& limits = {})
{
  return Process(arguments, limits).wait();
}

inline void sleep_ms(int milliseconds)
{
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

} // namespace nasturtium::test
