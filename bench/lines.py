"""The loops of bench/shape.h in Python under memory_profiler. lines.py SHAPE PATTERN BACKEND COUNT prints the nanoseconds
of an allocation with its free. BACKEND is a backend of memory_profiler, or plain: not profiled."""
import sys
import time
import tracemalloc

import memory_profiler


def take():
    return bytes(64)


def own_pair(count):
    for _ in range(count):
        block = bytes(64)
        del block


def own_hold(count):
    blocks = [None] * count
    for i in range(count):
        blocks[i] = bytes(64)
    for i in range(count):
        blocks[i] = None


def callee_pair(count):
    for _ in range(count):
        block = take()
        del block


def callee_hold(count):
    blocks = [None] * count
    for i in range(count):
        blocks[i] = take()
    for i in range(count):
        blocks[i] = None


shape, pattern, backend, count = *sys.argv[1:4], int(sys.argv[4])
function = globals()[f"{shape}_{pattern}"]
if backend == "tracemalloc":
    tracemalloc.start()
if backend != "plain":
    function = memory_profiler.LineProfiler(backend=backend)(function)
function(100)
start = time.perf_counter_ns()
function(count)
print(f"{(time.perf_counter_ns() - start) / count:.3f}")
