# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tests of bench/gpu/ without a GPU: the commands of run.sh's dry run could be given to the programs, parts are chosen, skipped and
gone on with, what a part must find out it finds out, and summary.py's ratios are right. The program is a stand-in, and all
figures are made up."""
from __future__ import annotations

import csv
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import documents  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GPU = ROOT / "bench/gpu"


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)

    def run_script(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", str(GPU / "run.sh"), *arguments], capture_output=True, text=True, timeout=120)


class Run(Folder):
    def commands(self, *arguments: str) -> dict[str, list[list[str]]]:
        """Of a dry run, by part."""
        done = self.run_script(str(self.out), "--dry-run", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        parts: dict[str, list[list[str]]] = {}
        part = ""
        for line in done.stdout.splitlines():
            if match := re.fullmatch(r"gpu: ([a-z-]+):.*", line):
                part = match.group(1)
                parts[part] = []
            elif line.startswith("    "):
                parts[part].append(shlex.split(line))
        return parts

    def test_every_command_could_be_given(self) -> None:
        parts = self.commands("--data", str(self.out), "--max-autotune", "--batches", "64,128", "--models", "1,8")
        self.assertEqual(set(parts), {"context", "build", "tests", "determinism", "policies", "memory-limit", "parity", "steps", "tuned", "peer-steps",
                                      "kernels", "peers", "memory", "tiles", "populations", "sanitizer", "search", "summary"})
        reference = documents.read_reference(ROOT / "docs/reference.md")
        programs = 0
        for part, commands in parts.items():
            self.assertTrue(commands, part)
            for words in commands:
                if words[0].endswith("cli/nasturtium"):
                    programs += 1
                    self.assertEqual(documents.command_fault(["nasturtium", *words[1:]], reference, documents.Launcher(ROOT), True), "", words)
                elif words[0] == "python3":
                    script = ROOT / words[1]
                    text = script.read_text(encoding="utf-8")
                    for option in (word for word in words if word.startswith("--")):
                        self.assertIn(f'add_argument("{option}"', text, script)
        self.assertGreater(programs, 8)
        self.assertIn("--batch=64,128", parts["steps"][0])
        self.assertIn("--fused", parts["steps"][0])
        self.assertIn("--models=8", parts["populations"][0])
        flag = "--benchmark_filter="
        filters = {part: re.compile(next(word for word in parts[part][0] if word.startswith(flag)).removeprefix(flag))
                   for part in ("kernels", "tiles", "populations")}
        for name, told in {"conv/c04/forward/mb64/tiles": {"kernels", "tiles", "populations"}, "conv/c04/backward_data/mb512/tiles-wide": {"tiles"},
                           "conv/c17/forward/mb64/direct": {"kernels", "populations"}, "conv/c04/forward/mb256/tiles": set(),
                           "conv/c17/forward/mb64/fused/P8": {"populations"},
                           "matmul/512x512x512/backward_weights/mb512/tiles": {"kernels", "tiles", "populations"},
                           "matmul/4096x64x512/forward/mb4096/tiles-small": {"tiles"}}.items():
            self.assertEqual({part for part, pattern in filters.items() if pattern.search(name + "/real_time")}, told, name)

    def test_every_policy_is_compared(self) -> None:
        text = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
        known = re.search(r"^  --policy (\S+)", text[text.index("## nasturtium train"):], re.MULTILINE)
        assert known
        told = {words[words.index("--policy") + 1] for words in self.commands("--parts", "policies")["policies"] if "--policy" in words}
        self.assertEqual(told, set(known.group(1).split("|")))

    def test_options(self) -> None:
        parts = self.commands("--quick", "--parts", "peers,peer-steps", "--math", "bf16")
        self.assertEqual([" ".join(commands[0][2:]) for commands in parts.values()], [
            f"--out {self.out}/peers.csv --math bf16 --batches 128",
            f"--out {self.out}/peer-steps.csv --math bf16 --batches 128 --models 1,8"])
        self.assertIn("-DNASTURTIUM_PROGRAM=OFF", self.commands("--kernels-only", "--parts", "build")["build"][0])
        for arguments, message in ((("--parts", "flight"), "no part is called 'flight'"), (("--math", "fp8"), "no arithmetic is called 'fp8'"),
                                   (("--batches", "64,x"), "--batches wants numbers"), (("--models", "0"), "--models wants numbers"),
                                   (("--min-time", "fast"), "--min-time wants seconds"), (("--data", "/nowhere/at/all"), "no folder"),
                                   (("--jobs",), "--jobs needs a value"), (("--fast",), "unknown option '--fast'"), (("again",), "one output folder")):
            done = self.run_script(str(self.out), *arguments)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), arguments)
            self.assertIn(message, done.stderr)

    def stand_in(self, script: str) -> None:
        path = self.out / "build/cli/nasturtium"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def test_a_policy_that_changes_weights_is_found(self) -> None:
        # Weights are the seed's number, but for one policy and seed.
        trainer = ('while [[ $# -gt 0 ]]; do case $1 in --seeds) seeds=$2 ;; --arch) networks+=x ;; --policy) policy=$2 ;; --out) out=$2 ;; esac; shift; done\n'
                   'for seed in ${seeds//,/ }; do folder=$out; [[ $seeds != *,* && $networks == x ]] || folder=$out/resnet20-s$seed\n'
                   'mkdir -p "$folder"; echo "$seed" >"$folder/weights.h5"; done\n')
        self.stand_in(trainer)
        done = self.run_script(str(self.out), "--parts", "policies")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(self.run_script(str(self.out), "--parts", "policies").stdout, r"policies: done before in \d+ s")
        self.stand_in(trainer + '[[ $policy != one_per_core ]] || echo other >"$out/resnet20-s2/weights.h5"')
        done = self.run_script(str(self.out), "--parts", "policies,summary", "--force")
        self.assertEqual(done.returncode, 1)
        self.assertIn("policies: FAILED", done.stdout)
        self.assertIn("summary: done", done.stdout)
        self.assertRegex(done.stdout, r"policies +FAILED")

    def test_a_candidate_that_does_not_fit(self) -> None:
        good = ('case "$*" in *huge*resnet20*) echo "resnet20-s1 completed"; echo "huge-s1: out_of_memory: no" >&2 ;; *huge*) echo "out_of_memory: no" >&2; exit 1 ;;\n'
                '*) echo "out_of_memory: needs 2 bytes, the limit is 1" >&2; exit 1 ;; esac')
        self.stand_in(good)
        done = self.run_script(str(self.out), "--parts", "memory-limit")
        self.assertEqual(done.returncode, 0, done.stdout)
        json.loads((self.out / "huge.json").read_text())
        for bad in (good.replace("exit 1 ;;\n", "exit 139 ;;\n"), good.replace("completed", "out_of_memory")):
            self.stand_in(bad)
            self.assertEqual(self.run_script(str(self.out), "--parts", "memory-limit", "--force").returncode, 1)

    def test_skipped_parts(self) -> None:
        done = self.run_script(str(self.out), "--parts", "search,policies,steps")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(len(re.findall("skipped: ", done.stdout)), 3)
        self.stand_in("exit 1")
        self.assertIn("skipped: no data sets (--data DIR)", self.run_script(str(self.out), "--parts", "search").stdout)

    def test_a_search_is_gone_on_with(self) -> None:
        self.stand_in('while [[ $# -gt 0 ]]; do case $1 in --out | --resume) how=$1 out=$2 ;; esac; shift; done; mkdir -p "$out"\n'
                      'touch "$out/config.json"; [[ $how == --resume ]] || exit 130\n'
                      'touch "$out/trials.csv" "$out/curves.csv" "$out/provenance.json"; echo table')
        arguments = str(self.out), "--parts", "search", "--data", str(self.out)
        self.assertEqual(self.run_script(*arguments).returncode, 1)
        done = self.run_script(*arguments)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex((self.out / "search-report.txt").read_text(), r"^table\nwall time of this call: \d+ s, of a search that was gone on with\n$")
        self.assertTrue((self.out / "search-trials.csv").exists())


def google(name: str, microseconds: float, **counters: float) -> list[dict[str, object]]:
    """Aggregates as Google Benchmark writes them; the mean is there to be left alone."""
    common = {"run_name": name, "run_type": "aggregate", "cpu_time": 1.0, "time_unit": "us"}
    return [{**common, "name": f"{name}_mean", "aggregate_name": "mean", "real_time": 7 * microseconds, **{k: 9 * v for k, v in counters.items()}},
            {**common, "name": f"{name}_median", "aggregate_name": "median", "real_time": microseconds, **counters}]


class Summary(Folder):
    def benchmarks(self, name: str, *runs: list[dict[str, object]]) -> None:
        (self.out / name).write_text(json.dumps({"context": {}, "benchmarks": [run for some in runs for run in some]}))

    def summary(self) -> str:
        done = subprocess.run([sys.executable, str(GPU / "summary.py"), str(self.out)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def ratios(self) -> list[dict[str, str]]:
        with open(self.out / "ratios.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def test_training(self) -> None:
        self.benchmarks("steps-bf16.json", google("step/mlp/mb128/real_time", 128.0, items_per_second=1000000.0),
                        google("step/lenet/mb128/real_time", 1.0, items_per_second=400000.0),
                        google("step/cnn2/mb128/real_time", 1.0, items_per_second=100000.0),
                        google("step/resnet20/mb128/p8/real_time", 1.0, items_per_second=50000.0),
                        google("step/vgg32/mb64/real_time", 1.0, items_per_second=5.0))
        (self.out / "peer-steps.csv").write_text(
            "net,batch,models,math,mode,images_per_second,median_us_per_step,spread_us,setup_seconds,reason\n"
            "mlp,128,1,bf16,eager,50000,1,0,0,\nmlp,128,1,bf16,graph,250000,1,0,0,\nmlp,128,1,float32,graph,1,1,0,0,\nmlp,64,1,bf16,graph,1,1,0,0,\n"
            "lenet,128,1,bf16,graph,100000,1,0,0,\ncnn2,128,1,bf16,graph,100000,1,0,0,\nresnet20,128,8,bf16,vmap,25000,1,0,0,\n"
            "resnet20,128,1,bf16,graph,25000,1,0,0,\nvgg32,64,1,bf16,graph,,,,,out of memory\n")
        (self.out / "peer-steps.json").write_text("{}")
        text = self.summary()
        rows = {(row["name"], row["theirs_by"], row["models"]): row for row in self.ratios()}
        self.assertEqual({key: float(row["ratio"]) for key, row in rows.items()}, {
            ("mlp", "eager", "1"): 20, ("mlp", "graph", "1"): 4, ("lenet", "graph", "1"): 4, ("cnn2", "graph", "1"): 1, ("resnet20", "vmap", "8"): 2})
        self.assertEqual(float(rows["mlp", "graph", "1"]["ours"]), 6000)  # 3600 / (10 * 60,000 / 1,000,000)
        self.assertEqual(float(rows["resnet20", "vmap", "8"]["ours"]), 360)  # 3600 / (10 * 50,000 / 50,000)
        self.assertEqual(rows["cnn2", "graph", "1"]["class"], "small")
        self.assertRegex(text, r"small +bf16 +128 +1,200 .* 2\.00")  # the geometric means of 2400 and 600, of 4 and 1
        self.assertRegex(text, r"mlp +bf16 +128 +6,000 +20\.00 +4\.00")
        self.assertIn("PyTorch failed: vgg32 batch 64 models 1 bf16 graph: out of memory", text)

    def test_kernels(self) -> None:
        self.benchmarks("kernels-tf32.json", google("conv/c04/forward/mb64/tiles/real_time", 40.0, **{"GFLOP/s": 30000.0, "%peak": 1.0}),
                        google("dense/f01/backward_data/mb64/cblas/real_time", 1.0, **{"GFLOP/s": 10000.0}),
                        google("conv/c04/forward/mb64/other/real_time", 80.0, **{"GFLOP/s": 15000.0}),
                        google("dense/f01/backward_data/mb64/tiles/real_time", 10.0, **{"GFLOP/s": 1000.0}),
                        google("dense/f02/backward_data/mb64/tiles/real_time", 10.0, **{"GFLOP/s": 1000.0}),
                        google("matmul/512x512x512/forward/mb512/tiles/real_time", 20.0, **{"GFLOP/s": 13000.0}))
        (self.out / "peers.csv").write_text(
            "layer,batch,pass,math,median_us,spread_us,gflops\n"
            "8192x8192x8192,8192,forward,tf32,3000,1,300000\nc07,64,forward,tf32,1,1,999999\nc04,64,forward,tf32,20,1,50000\nc04,64,forward,bf16,1,1,1\n"
            "f01,64,backward_data,tf32,4,1,9000\n512x512x512,512,forward,tf32,30,1,26000\n")
        text = self.summary()
        rows = {row["name"]: row for row in self.ratios()}
        self.assertEqual({name: float(row["ratio"]) for name, row in rows.items()}, {"c04": 0.5, "f01": 0.4, "512x512x512": 1.5})
        self.assertEqual((rows["c04"]["ours_by"], rows["c04"]["theirs_by"], rows["f01"]["theirs_by"]), ("tiles", "cuDNN", "cuBLAS"))
        self.assertEqual(float(rows["c04"]["peak_share"]), 0.1)
        self.assertIn("Measured peak, tf32: 300,000 GFLOP/s (8192x8192x8192 forward)", text)
        self.assertIn("Under 50 % of cuDNN or cuBLAS: 1 of 3", text)
        self.assertRegex(text, r"40\.0 %  f01 +backward_data +batch +64 tf32 +10\.0 us, theirs +4\.0 us")

    def test_populations(self) -> None:
        self.benchmarks("populations-tf32.json", google("conv/c04/forward/mb64/tiles/real_time", 10.0), google("conv/c04/forward/mb64/fused/P8/real_time", 20.0),
                        google("conv/c05/forward/mb64/tiles/real_time", 10.0), google("conv/c05/forward/mb64/fused/P8/real_time", 80.0),
                        google("conv/c06/forward/mb64/fused/P8/real_time", 80.0))
        text = self.summary()
        self.assertRegex(text, r"conv +forward +8 +tf32 +2 +2\.00 +1\.00 +4\.00")

    def test_tuned(self) -> None:
        self.benchmarks("steps-tf32.json", google("step/mlp/mb128/real_time", 20.0), google("step/odd/mb128/real_time", 10.0))
        self.benchmarks("tuned-tf32.json", google("step/mlp/mb128/real_time", 10.0), google("step/odd/mb128/real_time", 20.0),
                        google("step/cnn2/mb128/real_time", 20.0))
        self.assertIn("Measured tiles, tf32: a step is 1.000 x as fast in the mean of 2, 0.500 to 2.000", self.summary())

    def test_tiles(self) -> None:
        self.benchmarks("tiles-tf32.json", google("conv/c04/forward/mb64/tiles/real_time", 40.0), google("conv/c04/forward/mb64/tiles-wide/real_time", 20.0),
                        google("conv/c04/forward/mb64/tiles-small/real_time", 30.0), google("conv/c05/forward/mb64/tiles/real_time", 10.0),
                        google("conv/c05/forward/mb64/tiles-small/real_time", 11.0), google("conv/c06/forward/mb64/tiles/real_time", 10.0))
        text = self.summary()
        self.assertIn("another shape is 5 % faster than the plan's on 1 of 2; the best of all would gain 41.4 % in the mean", text)
        self.assertRegex(text, r"2\.00 x  conv/c04/forward/mb64 +tiles-wide")

    def test_an_empty_folder_and_broken_files(self) -> None:
        self.assertIn("kernels      not run", self.summary())
        self.assertFalse((self.out / "ratios.csv").exists())
        (self.out / "steps-bf16.json").write_text("{")
        (self.out / "build.done").write_text("12\n")
        (self.out / "search.log").write_text("skipped: no data sets (--data DIR)\n")
        text = self.summary()
        self.assertRegex(text, r"build +done in 12 s")
        self.assertRegex(text, r"search +skipped: no data sets \(--data DIR\)")
        self.assertEqual(subprocess.run([sys.executable, str(GPU / "summary.py"), "/nowhere/at/all"], capture_output=True, timeout=60).returncode, 2)


if __name__ == "__main__":
    unittest.main()
