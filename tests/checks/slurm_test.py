# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tests of bench/slurm/: the commands of their dry runs could be given to the program, time and memory come from its advice, and a
job that Slurm warns stops its program and is queued again. Programs of Slurm are stand-ins."""
from __future__ import annotations

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import documents  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SLURM = ROOT / "bench/slurm"
KNOWN_DIRECTIVES = {"job-name", "nodes", "ntasks", "cpus-per-task", "gpus-per-node", "time", "mem", "signal", "requeue", "open-mode", "output"}


class Slurm(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.reference = documents.read_reference(ROOT / "docs/reference.md")

    def stand_in(self, name: str, script: str) -> str:
        path = self.folder / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def call(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "NASTURTIUM_")) and name not in ("SEARCHES", "DATASETS", "DRY_RUN")}
        environment["PATH"] = f"{self.folder}:{environment['PATH']}"
        return subprocess.run(["bash", str(SLURM / script), *arguments], capture_output=True, text=True, cwd=ROOT, env=environment | variables, timeout=60)

    def commands(self, script: str, *arguments: str, **variables: str) -> list[str]:
        """Of a dry run; each must be one that the program takes."""
        done = self.call(script, *arguments, DRY_RUN="1", **variables)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertTrue(lines)
        for line in lines:
            words = shlex.split(line)
            self.assertEqual(words[0], "build/cuda/cli/nasturtium")
            self.assertEqual(documents.command_fault(["nasturtium", *words[1:]], self.reference, documents.Launcher(ROOT), True), "")
        return [" ".join(shlex.split(line)[1:]) for line in lines]

    def test_directives(self) -> None:
        for path in sorted(SLURM.glob("*.sbatch")):
            lines = path.read_text(encoding="utf-8").splitlines()
            first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
            given = [m.group(1) for line in lines if (m := re.match(r"#SBATCH --([a-z-]+)(?:=\S+)?$", line))]
            self.assertEqual(set(given), KNOWN_DIRECTIVES, path.name)
            self.assertFalse([line for line in lines[first:] if line.startswith("#SBATCH")], "sbatch stops reading at the first command")

    def test_one_node(self) -> None:
        for experiment in ("penguin", "weight-transfer", "time-estimator", "ensembles"):
            self.assertEqual(self.commands("reproduce.sbatch", experiment, "--scale", "node", "--out", "runs/x", SLURM_CPUS_PER_TASK="8"),
                             [f"reproduce {experiment} --scale node --out runs/x --backend cuda --threads 8"])
        self.assertEqual(self.commands("reproduce.sbatch", "penguin", "--out", "a b", NASTURTIUM_BACKEND="openmp"),
                         ["reproduce penguin --out a b --backend openmp --threads 1"])
        self.assertEqual(self.call("reproduce.sbatch").returncode, 2)

    def test_every_part_once(self) -> None:
        parts = [self.commands("array.sbatch", "penguin", "--scale", "node", "--out", "runs/p", SLURM_ARRAY_TASK_ID=str(i))[0] for i in range(1, 10)]
        self.assertEqual(len(set(parts)), 9)
        for search in ("menndl", "evocnn", "nsga-net"):
            for data in ("fashion-mnist", "cifar100", "svhn"):
                self.assertIn(f"reproduce penguin --scale node --out runs/p --searches {search} --datasets {data} --backend cuda --threads 1", parts)
        self.assertEqual(self.commands("array.sbatch", "weight-transfer", "--out=runs/t", SLURM_ARRAY_TASK_ID="7"),
                         ["reproduce weight-transfer --out=runs/t --first-seed 7 --seeds 1 --backend cuda --threads 1"])
        self.assertEqual(self.commands("array.sbatch", "ensembles", "--out", "runs/e", SLURM_ARRAY_TASK_ID="2", DATASETS="mnist svhn"),
                         ["reproduce ensembles --out runs/e --datasets svhn --backend cuda --threads 1"])

    def test_wrong_parts_are_refused(self) -> None:
        for arguments, variables, message in (
                (("penguin", "--out", "x"), {"SLURM_ARRAY_TASK_ID": "10"}, "task 10 of 9 parts"),
                (("ensembles", "--out", "x"), {"SLURM_ARRAY_TASK_ID": "3"}, "task 3 of 2 parts"),
                (("penguin", "--out", "x"), {"SLURM_ARRAY_TASK_ID": "0"}, "sbatch --array=1-N"),
                (("penguin", "--out", "x"), {}, "sbatch --array=1-N"),
                (("weight-transfer",), {"SLURM_ARRAY_TASK_ID": "1"}, "--out DIR"),
                (("time-estimator", "--out", "x"), {"SLURM_ARRAY_TASK_ID": "1"}, "one node"),
                (("flight", "--out", "x"), {"SLURM_ARRAY_TASK_ID": "1"}, "no experiment is called 'flight'")):
            done = self.call("array.sbatch", *arguments, DRY_RUN="1", **variables)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertIn(message, done.stderr)

    def test_limits_are_the_programs_advice(self) -> None:
        program = self.stand_in("program", f"echo \"$@\" >{self.folder}/asked; printf '#SBATCH --time=02:03:04\\n#SBATCH --mem=512M\\n'")
        def submit(**variables: str) -> subprocess.CompletedProcess[str]:
            return self.call("submit.sh", "--dry-run", "--network", "resnet20", "--epochs", "400", "--samples", "15000", "--batch", "64", "--array", "10",
                             "--sbatch", "--partition=gpu", "--host-memory", "1000", "weight-transfer", "--scale", "node", "--out", "runs/t",
                             NASTURTIUM_PROGRAM=program, **variables)
        done = submit(NASTURTIUM_BACKEND="openmp")
        self.assertEqual(done.returncode, 0, done.stderr)
        asked = (self.folder / "asked").read_text().split()
        self.assertEqual(documents.command_fault(["nasturtium", *asked], self.reference, documents.Launcher(ROOT), True), "")
        self.assertEqual(asked[:2] + asked[-1:], ["estimate", "resnet20", "--slurm"])
        self.assertEqual([" ".join(shlex.split(line)) for line in done.stderr.splitlines()], [
            "sbatch --array=1-10 --time=02:03:04 --mem=1512M --partition=gpu bench/slurm/array.sbatch weight-transfer --scale node --out runs/t",
            "sbatch --dependency=afterok:JOB --partition=gpu bench/slurm/reproduce.sbatch weight-transfer --scale node --out runs/t --seeds 10"])
        done = submit()
        self.assertEqual(done.stderr.splitlines()[0], "submit: a step takes 512 MiB of the GPU")
        self.assertIn("--time=02:03:04", done.stderr)
        self.assertNotIn("--mem", done.stderr)

    def test_submitting(self) -> None:
        self.stand_in("sbatch", f"printf '%s\\n' \"$*\" >>{self.folder}/calls; echo '17;cluster'")
        done = self.call("submit.sh", "--array", "2", "penguin", "--out", "x", SEARCHES="menndl evocnn", DATASETS="mnist")
        self.assertEqual(done.stdout, "submit: 2 parts are job 17, the tables are job 17\n", done.stderr)
        self.assertEqual((self.folder / "calls").read_text().splitlines(), [
            "--parsable --array=1-2 bench/slurm/array.sbatch penguin --out x",
            "--parsable --dependency=afterok:17 bench/slurm/reproduce.sbatch penguin --out x --searches menndl,evocnn --datasets mnist"])
        for arguments in (("--array", "many", "penguin"), ("--network", "lenet", "penguin"), ("--fast", "penguin"), ()):
            self.assertEqual(self.call("submit.sh", *arguments, DRY_RUN="1").returncode, 2, arguments)

    def test_a_warned_job_stops_and_is_queued_again(self) -> None:
        self.stand_in("scontrol", f"echo \"$@\" >>{self.folder}/requeued")
        # Not a loop of the shell: that may miss a SIGINT which comes while it starts or ends a command.
        waits = f"import pathlib, signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(130)); pathlib.Path('{self.folder}/up').touch(); time.sleep(60)"
        program = self.stand_in("program", f'exec python3 -c "{waits}"')
        for sent, queued in ((signal.SIGUSR1, "requeue 5_3\n"), (signal.SIGTERM, "")):
            for name in ("up", "requeued"):
                (self.folder / name).unlink(missing_ok=True)
            environment = os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}", "NASTURTIUM_PROGRAM": program, "SLURM_JOB_ID": "8",
                                        "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3", "SLURM_SUBMIT_DIR": str(ROOT)}
            job = subprocess.Popen(["bash", str(SLURM / "array.sbatch"), "weight-transfer", "--out", "x"], env=environment, stderr=subprocess.PIPE, text=True)
            limit = time.monotonic() + 20
            while not (self.folder / "up").exists() and time.monotonic() < limit:
                time.sleep(0.02)
            job.send_signal(sent)
            _, said = job.communicate(timeout=20)
            self.assertEqual(job.returncode, 130, said)
            requeued = self.folder / "requeued"
            self.assertEqual(requeued.read_text() if requeued.exists() else "", queued)

    def test_the_programs_status_is_the_jobs(self) -> None:
        for status in (0, 1, 2):
            done = self.call("reproduce.sbatch", "penguin", NASTURTIUM_PROGRAM=self.stand_in("program", f"exit {status}"))
            self.assertEqual(done.returncode, status, done.stderr)
        done = self.call("reproduce.sbatch", "penguin", NASTURTIUM_PROGRAM="build/nowhere/nasturtium")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no program 'build/nowhere/nasturtium'", done.stderr)


if __name__ == "__main__":
    unittest.main()
