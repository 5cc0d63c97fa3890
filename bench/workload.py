"""The same loops in Python, for CPython's tracemalloc: workload.py WORKLOAD COUNT prints nanoseconds per operation."""
import sys
import time
import tracemalloc


def pair(count):
    for _ in range(count):
        bytes(64)


def replacements(count, live):
    """The block to replace and its new size, ready before the clock starts: tracemalloc also traces numbers."""
    random = 1
    for _ in range(count):
        random = (random * 1664525 + 1013904223) & 0xffffffff
        at = random * live >> 32
        random = (random * 1664525 + 1013904223) & 0xffffffff
        yield at, 16 + (random >> 16) % 497


def churn(steps, blocks):
    for at, size in steps:
        blocks[at] = bytes(size)


def ordered(count):
    blocks = [None] * count
    for i in range(count):
        blocks[i] = bytes(64)
    for i in range(count):
        blocks[i] = None


def leak(count, blocks=[]):
    for _ in range(count):
        blocks.append(bytes(512))


live = {"churn1k": 1000, "churn100k": 100000, "churn1m": 1000000}


def measure(workload, count):
    blocks = [bytes(16 + i % 497) for i in range(live.get(workload, 0))]
    steps = list(replacements(count, len(blocks))) if blocks else []
    start = time.perf_counter_ns()
    if blocks:
        churn(steps, blocks)
    else:
        {"pair": pair, "ordered1m": ordered, "leak": leak}[workload](count)
    return (time.perf_counter_ns() - start) / count


workload, count = sys.argv[1], int(sys.argv[2])
measure(workload, count)
print(f"{measure(workload, count):.3f}")
if workload == "leak" and tracemalloc.is_tracing():
    print(tracemalloc.take_snapshot().statistics("lineno")[0])
