#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Optuna's search, stopped early by nasturtium: optuna_stream.py [TRIALS] [PROGRAM...]   (PROGRAM: ./nasturtium)"""
import json, math, subprocess, sys
import optuna

EPOCHS, trials = 20, int(sys.argv[1]) if len(sys.argv) > 1 else 40
engine = subprocess.Popen([*(sys.argv[2:] or ["./nasturtium"]), "predict", "--stream", "--e-pred", str(EPOCHS)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

def ask_engine(**request):
    print(json.dumps(request), file=engine.stdin, flush=True)
    return json.loads(engine.stdout.readline())

def train_one_epoch(rate, width, epoch):  # stands for your training: validation accuracy in percent
    return (90 - 6 * abs(math.log10(rate) + 2) - 300 / width) * (1 - math.exp(-0.25 * epoch * math.sqrt(width / 64)))

study, used = optuna.create_study(direction="maximize"), 0
for number in range(trials):
    trial = study.ask()
    rate, width = trial.suggest_float("rate", 1e-4, 1e-1, log=True), trial.suggest_int("width", 16, 256)
    for epoch in range(1, EPOCHS + 1):
        used += 1
        reply = ask_engine(op="observe", id=number, epoch=epoch, value=train_one_epoch(rate, width, epoch), learning_rate=rate)
        if reply["decision"] == "stop":
            break
    ask_engine(op="finish" if epoch == EPOCHS else "abandon", id=number)
    study.tell(trial, reply["prediction"])  # the final value that was measured or predicted
print(f"{trials} trials, {100 - 100 * used / (trials * EPOCHS):.1f} % of the epochs saved, best {study.best_value:.2f}")
engine.stdin.close()
sys.exit(engine.wait())
