# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""As much of Optuna's ask-and-tell interface as docs/examples/optuna_stream.py needs: for tests where Optuna is missing."""
import math
import random


class _Trial:
    def __init__(self, generator):
        self._generator = generator

    def suggest_float(self, name, low, high, log=False):
        if log:
            return math.exp(self._generator.uniform(math.log(low), math.log(high)))
        return self._generator.uniform(low, high)

    def suggest_int(self, name, low, high):
        return self._generator.randint(low, high)


class _Study:
    def __init__(self):
        self._generator = random.Random(1)
        self.best_value = -math.inf

    def ask(self):
        return _Trial(self._generator)

    def tell(self, trial, value):
        self.best_value = max(self.best_value, float(value))


def create_study(direction):
    assert direction == "maximize"
    return _Study()
