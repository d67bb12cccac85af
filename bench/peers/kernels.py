# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions of nasturtium and of oneDNN, layer by layer, in interleaved rounds. Run by kernels.sh."""

import argparse
import csv
import re
import statistics
import subprocess
import sys
from pathlib import Path

from provenance import write_provenance
from turns import Server, ratio

# The convolutions of the six networks and some around them, as benchdnn writes them (performance shape list).
LAYERS = """
g1ic3ih32oc32oh32kh3sh1ph1nc01 g1ic1ih28oc32oh28kh3sh1ph1nc02 g1ic16ih32oc16oh32kh3sh1ph1nc03 g1ic32ih32oc32oh32kh3sh1ph1nc04
g1ic64ih16oc64oh16kh3sh1ph1nc05 g1ic128ih8oc128oh8kh3sh1ph1nc06 g1ic256ih8oc256oh8kh3sh1ph1nc07 g1ic64ih16oc64oh16kh1sh1ph0nc08
g1ic24ih16oc40oh16kh3sh1ph1nc09 g1ic20ih12oc50oh8kh5sh1ph0nc10 g1ic20ih12oc50oh12kh5sh1ph2nc11 g64ic64ih16oc64oh16kh3sh1ph1nc12d
g1ic16ih32oc32oh16kh3sh2ph1nc13 g1ic32ih16oc64oh8kh3sh2ph1nc14 g1ic1ih28oc20oh24kh5sh1ph0nc15 g1ic16ih32oc32oh16kh1sh2ph0nc16
g1ic32ih16oc64oh8kh1sh2ph0nc17 g1ic32ih14oc64oh14kh3sh1ph1nc18 g1ic32ih16oc64oh16kh3sh1ph1nc19 g1ic64ih8oc128oh8kh3sh1ph1nc20
g1ic3ih32oc16oh32kh3sh1ph1nc21 g1ic32ih16oc32oh16kh3sh1ph1nc22 g1ic64ih8oc64oh8kh3sh1ph1nc23 g1ic3ih32oc24oh32kh3sh1ph1nc24
g1ic24ih32oc40oh32kh3sh1ph1nc25 g1ic40ih16oc50oh16kh5sh1ph2nc26
""".split()
PASSES = ("forward", "backward_data", "backward_weights")


def parse(problem: str) -> tuple[str, dict[str, int]]:
    """Name and numbers of a problem string."""
    text, name = problem.split("n")
    return name, {key: int(value) for key, value in re.findall(r"([a-z]+)(\d+)", text)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Convolutions side by side with oneDNN.")
    parser.add_argument("server", type=Path, help="folder with the FIFOs of conv_server")
    parser.add_argument("dnnl_server", help="the program")
    parser.add_argument("results", type=Path)
    parser.add_argument("layers", nargs="*", help="c01, ...; none: all")
    parser.add_argument("--batches", type=lambda text: [int(x) for x in text.split(",")], default=[32, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.05, help="of each measurement")
    options = parser.parse_args()
    problems = dict(parse(problem) for problem in LAYERS)
    for layer in options.layers:
        if layer not in problems:
            sys.exit(f"kernels: no layer is called {layer}; layers: {' '.join(problems)}")
    process = subprocess.Popen([options.dnnl_server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    theirs, ours = Server(process.stdin, process.stdout), Server.at(options.server)
    rows: list[dict[str, object]] = []
    print("GFLOP/s, both of one run; ratio = nasturtium / oneDNN's faster layout, median ± half the interquartile range\n"
          "(oneDNN's weights are reordered before the clock starts, ours are packed in every call)")
    print(f"{'layer':5} {'batch':>5} {'pass':16} {'nasturtium':>10} {'NHWC':>7} {'blocked':>7} {'ratio':>13}  oneDNN's implementations")
    for name in options.layers or problems:
        it = problems[name]
        for batch in options.batches:
            for one_pass in PASSES:
                if one_pass == "backward_data" and it["ic"] <= 3:
                    continue  # a stem's input needs no gradient
                request = (one_pass, batch, *(it[key] for key in ("g", "ic", "ih", "oc", "oh", "kh", "sh", "ph")), options.seconds)
                mine: list[float] = []
                nhwc: list[float] = []
                blocked: list[float] = []
                implementations = ""
                for _ in range(options.rounds):
                    mine.append(float(ours.ask(*request)))
                    answer = theirs.ask(*request).split()
                    nhwc.append(float(answer[0]))
                    blocked.append(float(answer[1]))
                    implementations = " ".join(answer[2:])
                best = min(nhwc, blocked, key=statistics.median)
                value, error = ratio(mine, best)
                flop = 2.0 * batch * it["oh"] ** 2 * it["oc"] * it["kh"] ** 2 * it["ic"] / it["g"]
                rate = [flop / statistics.median(times) / 1e9 for times in (mine, nhwc, blocked)]
                print(f"{name:5} {batch:5} {one_pass:16} {rate[0]:10.1f} {rate[1]:7.1f} {rate[2]:7.1f} {value:6.2f} ± {error:4.2f}  "
                      f"{implementations}", flush=True)
                rows.append({"layer": name, "batch": batch, "pass": one_pass, "nasturtium_gflops": rate[0],
                             "onednn_nhwc_gflops": rate[1], "onednn_blocked_gflops": rate[2], "ratio": value, "ratio_spread": error,
                             "onednn_implementations": implementations})
    for one_pass in PASSES:
        ratios = [float(row["ratio"]) for row in rows if row["pass"] == one_pass]
        if ratios:
            print(f"{one_pass:16}: geometric mean of {len(ratios)} ratios {statistics.geometric_mean(ratios):.2f}, smallest {min(ratios):.2f}")
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / "kernels.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_provenance(path, {"nasturtium": ours.ask("describe"), "onednn": theirs.ask("describe"), "rounds": str(options.rounds),
                            "seconds": str(options.seconds)})


if __name__ == "__main__":
    main()
