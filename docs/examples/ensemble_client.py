#!/usr/bin/env python3
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Asks a running `nasturtium ensemble serve` for predictions; the standard library is enough.

usage: ensemble_client.py [--url http://127.0.0.1:8080] [--requests N] [--connections N] [--samples N] [FILE]

FILE: raw bytes of one or more images (height x width x channels, a byte a value); their classes are printed. Without a
file, random images are sent, and the rate and the latencies are printed.
"""

import argparse
import http.client
import json
import os
import statistics
import threading
import time
from urllib.parse import urlsplit


def ask(connection: http.client.HTTPConnection, body: bytes) -> dict:
    connection.request("POST", "/predict?dtype=uint8", body, {"Content-Type": "application/octet-stream"})
    answer = connection.getresponse()
    document = json.loads(answer.read())
    if answer.status != 200:
        raise SystemExit(f"status {answer.status}: {document['error']}")
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--samples", type=int, default=1, help="of a request")
    parser.add_argument("file", nargs="?")
    options = parser.parse_args()
    place = urlsplit(options.url)
    connect = lambda: http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    connection = connect()
    if options.file:
        with open(options.file, "rb") as file:
            document = ask(connection, file.read())
        for row, label in zip(document["probabilities"], document.get("names", document["labels"])):
            print(label, f"{100 * max(row):.1f} %")
        return
    connection.request("GET", "/v1/ensemble")
    shape = json.loads(connection.getresponse().read())["input"]
    size = shape["height"] * shape["width"] * shape["channels"] * options.samples
    latencies: list[float] = []

    def work(count: int) -> None:
        own = connect()
        for _ in range(count):
            body = os.urandom(size)
            begin = time.perf_counter()
            ask(own, body)
            latencies.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    threads = [threading.Thread(target=work, args=(options.requests // options.connections,))
               for _ in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    cuts = statistics.quantiles(latencies, n=100)
    print(f"{len(latencies) / seconds:.0f} requests/s, {len(latencies) * options.samples / seconds:.0f} samples/s; "
          f"latency p50 {1e3 * cuts[49]:.2f} ms, p95 {1e3 * cuts[94]:.2f} ms, p99 {1e3 * cuts[98]:.2f} ms")


if __name__ == "__main__":
    main()
