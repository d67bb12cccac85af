# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles every source that holds kernels with nvcc for sm_90 and tabulates what ptxas says about each kernel.

Called by cuda_gate.sh. Writes into BUILD_DIR/cuda-gate:
  overlay/      headers that switch the CUDA back end on in an installed Kokkos that was built without it
  kernels.csv   source, kernel, variant, registers, stack and spill bytes, static shared memory
  logs/         what nvcc said about each source
A source is compiled again only when it, a project header that it includes, the tools, Kokkos or the flags have
changed; results are kept in ${XDG_CACHE_HOME:-~/.cache}/nasturtium/cuda-gate under the hash of all of these.
"""
import argparse
import concurrent.futures
import csv
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = ["core", "kernels", "datasets", "nn"]
INCLUDE_DIRS = [f"{module}/{folder}" for module in MODULES for folder in ("include", "src")] + ["tests", "bench"]
ARCHITECTURE = "sm_90"
# Calling a host function from a device function compiles with a warning and crashes when it runs: an error here.
FLAGS = ["-x", "cu", "-std=c++20", "-c", "-O3", f"-arch={ARCHITECTURE}", "--expt-extended-lambda",
         "--expt-relaxed-constexpr", "-Werror", "cross-execution-space-call", "-Xptxas", "-v",
         "-Xcompiler", "-fopenmp,-O0,-march=x86-64-v3,-Wno-psabi", "-DNDEBUG"]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def fail(message, status=2):
    print(f"cuda gate: {message}", file=sys.stderr)
    sys.exit(status)


def sha(*parts):
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def find_kokkos():
    """The folder of Kokkos_Core.hpp: KOKKOS_INCLUDE, Kokkos_ROOT, CMAKE_PREFIX_PATH, then the system's."""
    folders = [os.environ.get("KOKKOS_INCLUDE", "")]
    for prefix in [os.environ.get("Kokkos_ROOT", ""), *os.environ.get("CMAKE_PREFIX_PATH", "").split(":"), "/usr/local", "/usr"]:
        if prefix:
            folders += [f"{prefix}/include/kokkos", f"{prefix}/include"]
    for folder in folders:
        if folder and (pathlib.Path(folder) / "Kokkos_Core.hpp").exists():
            return pathlib.Path(folder)
    return None


def write_overlay(kokkos, overlay):
    """Headers of our own that stand before the installed ones and switch CUDA (and OpenMP) on."""
    if overlay.exists():
        shutil.rmtree(overlay)
    (overlay / "desul" / "atomics").mkdir(parents=True)
    config = (kokkos / "KokkosCore_config.h").read_text()
    if re.search(r"^#define KOKKOS_ENABLE_CUDA\b", config, re.M):
        return  # this Kokkos has CUDA already
    switches = ["CUDA", "OPENMP"]
    added = "".join(f"#undef KOKKOS_ENABLE_{s}\n#define KOKKOS_ENABLE_{s}\n" for s in switches)
    added += "#define KOKKOS_ENABLE_CUDA_CONSTEXPR\n#define KOKKOS_ARCH_HOPPER\n#define KOKKOS_ARCH_HOPPER90\n"
    (overlay / "KokkosCore_config.h").write_text("#include_next <KokkosCore_config.h>\n" + added)
    parts = {
        "SetupBackend": ["setup/Kokkos_Setup_Cuda.hpp"],
        "FwdBackend": ["fwd/Kokkos_Fwd_OPENMP.hpp", "fwd/Kokkos_Fwd_CUDA.hpp"],
        "DeclareBackend": ["decl/Kokkos_Declare_OPENMP.hpp", "decl/Kokkos_Declare_CUDA.hpp"],
    }
    for name, headers in parts.items():
        lines = ["#pragma once"] + [f"#include <{header}>" for header in headers]
        (overlay / f"KokkosCore_Config_{name}.hpp").write_text("\n".join(lines) + "\n")
    desul = "#pragma once\n#define DESUL_ATOMICS_ENABLE_CUDA\n#define DESUL_ATOMICS_ENABLE_OPENMP\n"
    (overlay / "desul" / "atomics" / "Config.hpp").write_text(desul)


def project_includes(path, seen):
    """All project files that `path` includes, directly or not; adds every included name to `seen`."""
    found, todo = set(), [path]
    while todo:
        current = todo.pop()
        for name in INCLUDE.findall(current.read_text(errors="replace")):
            seen.add(name)
            for folder in [current.parent, *(ROOT / d for d in INCLUDE_DIRS)]:
                candidate = (folder / name).resolve()
                if candidate.is_file() and ROOT in candidate.parents:
                    if candidate not in found:
                        found.add(candidate)
                        todo.append(candidate)
                    break
    return found


def sources_with_kernels():
    chosen = sorted((ROOT / "kernels" / "src").rglob("*.cpp"))
    for source in sorted((ROOT / "nn" / "src").rglob("*.cpp")):
        seen = set()
        project_includes(source, seen)
        if any(name.startswith("Kokkos_") for name in seen):
            chosen.append(source)
    return chosen


def short_kernel(name):
    """The functor inside Kokkos' launch wrapper, and which wrapper it was: (functor, variant)."""
    match = re.search(r"cuda_parallel_launch_(\w+?)_memory(?:_with_grid_constant)?<(.*)>\(", name)
    if not match:
        return re.sub(r"^void ", "", name), "plain"
    variant, inside = match.groups()
    inside = re.sub(r"^Kokkos::Impl::Parallel(For|Reduce|Scan)\w*<", "", inside)
    inside = re.sub(r"^Kokkos::Impl::CombinedFunctorReducer<", "", inside)
    depth = 0
    for i, c in enumerate(inside):
        depth += c in "<(["
        depth -= c in ">)]"
        if c == "," and depth == 0:
            inside = inside[:i]
            break
    inside = inside.replace("nasturtium::kernels::", "").replace("Kokkos::", "").replace("(anonymous namespace)::", "")
    return inside, variant


def parse_ptxas(log):
    kernels, current, frame = [], None, (0, 0, 0)
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)'", line):
            current = match.group(1)
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            frame = tuple(map(int, match.groups()))
        elif (match := re.search(r"Used (\d+) registers", line)) and current:
            smem = re.search(r"(\d+) bytes smem", line)
            kernels.append({"mangled": current, "registers": int(match.group(1)), "stack": frame[0],
                            "spill_stores": frame[1], "spill_loads": frame[2], "smem": int(smem.group(1)) if smem else 0})
            current, frame = None, (0, 0, 0)
    if kernels:
        names = subprocess.run(["c++filt"], input="\n".join(k["mangled"] for k in kernels), capture_output=True, text=True)
        for kernel, name in zip(kernels, names.stdout.splitlines()):
            kernel["kernel"], kernel["variant"] = short_kernel(name)
    return kernels


class Gate:
    def __init__(self, options):
        self.options = options
        self.build = pathlib.Path(options.build_dir).resolve() / "cuda-gate"
        (self.build / "logs").mkdir(parents=True, exist_ok=True)
        kokkos = find_kokkos()
        if kokkos is None:
            print("cuda gate: SKIPPED, no Kokkos_Core.hpp found (set KOKKOS_INCLUDE)")
            sys.exit(0)
        if not (kokkos / "decl" / "Kokkos_Declare_CUDA.hpp").exists():
            print(f"cuda gate: SKIPPED, the Kokkos in {kokkos} has no CUDA headers")
            sys.exit(0)
        overlay = self.build / "overlay"
        write_overlay(kokkos, overlay)
        includes = ["-I", str(overlay)] + [a for d in INCLUDE_DIRS for a in ("-I", str(ROOT / d))] + ["-isystem", str(kokkos)]
        tests_only = '-DNASTURTIUM_SOURCE_DIR=""'
        self.command = [options.nvcc, *FLAGS, *options.flag, tests_only, *includes]
        tools = [subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
                 for tool in (options.nvcc, os.environ.get("NVCC_CCBIN", "g++"))]
        overlays = [p.read_bytes() for p in sorted(overlay.rglob("*")) if p.is_file()]
        configuration = (kokkos / "KokkosCore_config.h").read_bytes()
        self.fingerprint = sha("gate 1", configuration, *tools, *FLAGS, *options.flag, *overlays)
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.cache = pathlib.Path(cache) / "nasturtium" / "cuda-gate"
        self.cache.mkdir(parents=True, exist_ok=True)

    def key(self, source):
        # Relative names and contents of the source and of all project headers behind it. Macros around an #include may
        # make this list longer than what the compiler reads, never shorter.
        files = [source, *sorted(project_includes(source, set()))]
        return sha(self.fingerprint, *(part for f in files for part in (f.relative_to(ROOT), f.read_bytes())))

    def compile(self, source):
        name = str(source.relative_to(ROOT))
        entry = self.cache / f"{self.key(source)}.json"
        if not self.options.no_cache and entry.exists():
            result = json.loads(entry.read_text())
            os.utime(entry)
            return {**result, "source": name, "cached": True}
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            run = subprocess.run([*self.command, str(source), "-o", f"{folder}/object.o"], capture_output=True, text=True)
        log = run.stdout + run.stderr
        (self.build / "logs" / (name.replace("/", "-") + ".log")).write_text(log)
        chatter = re.compile(r"^(ptxas info|\s+\d+ bytes stack frame|\s*$)")
        messages = "\n".join(line for line in log.splitlines() if not chatter.match(line))
        result = {"ok": run.returncode == 0, "seconds": round(time.monotonic() - start, 1), "messages": messages,
                  "kernels": parse_ptxas(log)}
        if result["ok"]:
            part = entry.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(result))
            part.rename(entry)  # another run may write the same entry
        return {**result, "source": name, "cached": False}

    def write_results(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kernels.csv").write_bytes((self.build / "kernels.csv").read_bytes())
        told = lambda *command: subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
        versions = re.findall(r"#define KOKKOS_VERSION (\d+)", (find_kokkos() / "KokkosCore_config.h").read_text())
        version = int(versions[0]) if versions else 0
        provenance = {
            "git": told("git", "describe", "--always", "--dirty", "--abbrev=12"), "command": "tests/gate/cuda_gate.sh build/cuda-gate --results results/cuda-gate",
            "time": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()), "cpu": "none of it runs", "architecture": ARCHITECTURE,
            "nvcc": told(self.options.nvcc, "--version").splitlines()[-1], "compiler": told(os.environ.get("NVCC_CCBIN", "g++"), "--version").splitlines()[0],
            "kokkos": f"{version // 10000}.{version // 100 % 100}.{version % 100}", "flags": " ".join(FLAGS)}
        (folder / "kernels.provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")

    def prune(self, days=30):
        for entry in self.cache.iterdir():
            if time.time() - entry.stat().st_mtime > days * 86400:
                entry.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(prog="cuda_gate")
    parser.add_argument("build_dir")
    parser.add_argument("source", nargs="*", help="only these; default: all that hold kernels")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", action="store_true", help="the tests and benchmarks of the kernels too")
    parser.add_argument("--no-cache", action="store_true", help="compile even what the cache knows")
    parser.add_argument("--self-test", action="store_true", help="check that the gate accepts and rejects what it should")
    parser.add_argument("--results", metavar="DIR", help="copy kernels.csv there, with its provenance")
    parser.add_argument("--flag", action="append", default=[], help="a further flag for nvcc (repeatable)")
    options = parser.parse_args()
    sources = [pathlib.Path(s).resolve() for s in options.source] or sources_with_kernels()
    if options.tests and not options.source:
        sources += sorted((ROOT / "tests" / "kernels").glob("*_test.cpp")) + sorted((ROOT / "bench").glob("*.cpp"))
    for source in sources:
        if not source.is_file() or ROOT not in source.parents:
            fail(f"no such source in the project: {source}")
    gate = Gate(options)
    if options.self_test:
        accepted, rejected = (gate.compile(ROOT / "tests" / "gate" / f"{name}.cpp") for name in ("accepted", "rejected"))
        ok = accepted["ok"] and any("Scale" in k["kernel"] and k["registers"] > 0 for k in accepted["kernels"])
        ok = ok and not rejected["ok"] and '__host__ function("rand")' in rejected["messages"]
        print(f"cuda gate: self-test {'passed' if ok else 'FAILED'}")
        sys.exit(0 if ok else 1)
    start = time.monotonic()
    results = []
    with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        for result in pool.map(gate.compile, sources):
            results.append(result)
            state = "ok" if result["ok"] else "FAILED"
            how = "cached" if result["cached"] else f"{result['seconds']:.0f} s"
            print(f"cuda gate: {state:6} {result['source']} ({how}, {len(result['kernels'])} kernels)", flush=True)
            if result["messages"]:
                lines = result["messages"].splitlines()
                print("\n".join("    " + line for line in (lines if not result["ok"] else lines[:12])[:80]), flush=True)
    gate.prune()

    fields = ["source", "kernel", "variant", "registers", "stack", "spill_stores", "spill_loads", "smem"]
    rows = [{"source": r["source"], **{f: k[f] for f in fields[1:]}} for r in results for k in r["kernels"]]
    with open(gate.build / "kernels.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    if options.results:
        gate.write_results(pathlib.Path(options.results))
    failed = [r["source"] for r in results if not r["ok"]]
    # Kokkos hands large functors over in constant or global memory; the host then waits for the launch before, and no
    # such launch can be recorded in a graph.
    waiting = [row for row in rows if row["variant"] in ("constant", "global")]
    failed += sorted({f"{row['source']} (functor in {row['variant']} memory)" for row in waiting})
    spilling = [row for row in rows if row["spill_stores"] or row["spill_loads"]]
    framed = [row for row in rows if row["stack"] and row not in spilling]
    most = max((row["registers"] for row in rows), default=0)
    print(f"cuda gate: {len(results)} sources, {len(rows)} kernels for {ARCHITECTURE}; at most {most} registers; "
          f"{len(spilling)} spill, {len(framed)} more have a stack frame ({gate.build / 'kernels.csv'})")
    for row in sorted(spilling, key=lambda r: -r["spill_stores"])[:20]:
        print(f"    spills {row['spill_stores']:5} B at {row['registers']:3} registers: {row['kernel'][:150]} [{row['variant']}]")
    for row in waiting:
        print(f"    the host waits at each launch of {row['kernel'][:150]} [{row['variant']}]")
    fresh = sum(not r["cached"] for r in results)
    print(f"cuda gate: {'FAILED: ' + ', '.join(failed) if failed else 'passed'}; "
          f"{fresh} compiled, {len(results) - fresh} from the cache, {time.monotonic() - start:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
