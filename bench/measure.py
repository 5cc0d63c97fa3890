"""Measures the programs that bench/run built, in interleaved rounds. Writes docs/BENCHMARKS.md and docs/benchmarks.svg.
All of it takes half an hour at most. Slow tracers run in the first round only. More rounds follow with the others while
they fit in BENCH_MINUTES (10), at most BENCH_ROUNDS (5) in all."""
import collections
import csv
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get("BENCH_ROUNDS", 5))
MINUTES = float(os.environ.get("BENCH_MINUTES", 10))
LOAD = os.getloadavg()[0]  # other programs on the machine make small ratios worthless
BUILD = "build/bench/"
NAMED = r"plain_leak|workload\.h"  # a report must name it

# Operations a run, and the fewest for a slow tracer: with less it would be another workload.
WORKLOADS = {"pair": (4000000, 20000), "churn1k": (4000000, 20000), "churn100k": (1000000, 200000),
             "churn1m": (1000000, 1000000), "ordered1m": (1000000, 1000000), "realloc": (1000000, 20000),
             "handover": (1000000, 20000), "threads1": (4000000, 20000), "threads2": (4000000, 20000)}
THREADED = ("handover", "threads1", "threads2")
PROGRAMS = ("lua", "sqlite", "duktape")

UNLOCKED = dict.fromkeys(("handover", "threads2"), "it has no lock, so it cannot be used with threads")
TOO_LONG = {"churn1m": "one run takes more than 20 seconds"}
NOT_PYTHON = dict.fromkeys(("realloc", *THREADED), "Python has no realloc, and one lock for all threads")

# command: {run} is the program with its arguments, {tmp} a directory that is removed. slow: divides the operations.
# proof: a command whose output must match `named` after the workload `leak`; {tmp}/out is what the run printed.
# no: workload -> why not.
Way = collections.namedtuple("Way", "name command build mode base slow package proof named no note",
                             defaults=("bench", "plain", "plain", 1, "", "", NAMED, {}, ""))
ways = [
    Way("plain", "{run}", base=""),
    Way("jemalloc", "env LD_PRELOAD=libjemalloc.so.2 {run}", package="libjemalloc2"),
    Way("tcmalloc", "env LD_PRELOAD=libtcmalloc.so.4 {run}", package="libgoogle-perftools4"),
    Way("python", "python3 bench/workload.py {args}", build="", base="", slow=20, no=NOT_PYTHON),
    Way("mtrace.h off", "{run}", mode="off", note="compiled in, not started"),
    Way("mtrace.h", "{run}", mode="traced", proof="cat {tmp}/out", note="every block, one frame"),
    Way("mtrace.h, 8 frames", "{run}", mode="deep", proof="cat {tmp}/out", note="every block, inside seven scopes"),
    Way("mtrace.h, sampled", "{run}", mode="sampled", proof="cat {tmp}/out", note="a sample, one in 512 KiB"),
    Way("stb_leakcheck.h", "{run}", build="stb", package="libstb-dev", proof="cat {tmp}/out", no=UNLOCKED,
        note="a list of live blocks with file and line; it reports leaks only"),
    Way("dmalloc", "env DMALLOC_OPTIONS=debug=0x2,log={tmp}/log {run}", build="dmalloc", slow=100,
        package="libdmalloc-dev", proof="cat {tmp}/log",
        note="leaks with file and line, no checks: its cheapest such setting"),
    Way("heaptrack", "heaptrack --raw -o {tmp}/log {run}", slow=20, package="heaptrack",
        proof="zstd -dc {tmp}/log.raw.zst | /usr/lib/heaptrack/libexec/heaptrack_interpret >{tmp}/whole && "
              "heaptrack_print {tmp}/whole",
        note="every call stack; the time to interpret its log is not included"),
    Way("jemalloc profile", "env LD_PRELOAD=libjemalloc.so.2 "
        "MALLOC_CONF=prof:true,prof_final:true,prof_prefix:{tmp}/log {run}", base="jemalloc", package="libjemalloc2",
        proof="jeprof --text build/bench/bench {tmp}/log.*.heap",
        note="call stacks of a sample, one in 512 KiB"),
    Way("jemalloc profile of all", "env LD_PRELOAD=libjemalloc.so.2 "
        "MALLOC_CONF=prof:true,prof_final:true,lg_prof_sample:0,prof_prefix:{tmp}/log {run}", base="jemalloc",
        slow=100, package="libjemalloc2", proof="jeprof --text build/bench/bench {tmp}/log.*.heap",
        note="call stacks of every block"),
    Way("tcmalloc heap profile", "env LD_PRELOAD=libtcmalloc.so.4 HEAPPROFILE={tmp}/log {run}", base="tcmalloc",
        slow=200, package="libgoogle-perftools4", proof="google-pprof --text build/bench/bench {tmp}/log.*.heap",
        no=TOO_LONG, note="call stacks of every block"),
    Way("valgrind massif", "valgrind --tool=massif --massif-out-file={tmp}/log {run}", slow=50, package="valgrind",
        proof="ms_print {tmp}/log",
        note="valgrind emulates the whole program; heap over time"),
    Way("valgrind dhat", "valgrind --tool=dhat --dhat-out-file={tmp}/log {run}", slow=100, package="valgrind",
        proof="cat {tmp}/log", no=TOO_LONG,
        note="valgrind emulates the whole program; also counts accesses to each block"),
    Way("glibc mtrace()", "env LD_PRELOAD=libc_malloc_debug.so.0 MALLOC_TRACE={tmp}/log {run}", build="glibc", slow=50,
        package="libc6", proof="mtrace build/bench/glibc {tmp}/log", named=r"0x200 +at .*/bench/(workload|harness)\.h",
        note="one line of text for each call, in a file"),
    Way("LeakSanitizer", "{run}", build="lsan", slow=4, package="gcc-12", proof="cat {tmp}/out",
        note="leaks with call stacks; built with gcc -fsanitize=leak"),
    Way("AddressSanitizer", "{run}", build="asan", slow=10, package="gcc-12", proof="cat {tmp}/out",
        note="also finds wrong accesses; built with gcc -fsanitize=address"),
    Way("memusage", "memusage {run}", slow=4, no={"sqlite": "SQLite calls malloc_usable_size() and crashes"}, package="libc-devtools", proof="cat {tmp}/out", named=r"512-527 +40000",
        note="totals and a histogram of sizes; no call sites"),
    Way("tracemalloc", "python3 -X tracemalloc bench/workload.py {args}", build="", base="python", slow=20,
        proof="cat {tmp}/out", named=r"workload\.py", no=NOT_PYTHON,
        note="Python objects, not C blocks"),
]


def fail(why):
    sys.exit(f"bench: {why}")


def shell(command):
    done = subprocess.run(command, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    return done.stdout


def run(way, workload, count, check=False):
    """The number that one run prints. With check, its report must name the workload instead."""
    tmp = tempfile.mkdtemp(prefix="mtrace-bench-")
    program = "programs" if workload in PROGRAMS else way.build
    args = f"{workload} {way.mode}" if workload in PROGRAMS else f"{workload} {way.mode} {count}"
    command = way.command.format(run=f"{BUILD}{program} {args}", tmp=tmp, args=f"{workload} {count}")
    try:
        with open(f"{tmp}/out", "w") as out:
            subprocess.run(shlex.split(command), stdout=out, stderr=subprocess.STDOUT, timeout=120)
        if check and not re.search(way.named, shell(way.proof.format(tmp=tmp))):
            fail(f"{way.name}: its report does not name the workload: {command}")
        printed = open(f"{tmp}/out", errors="replace").read()
        numbers = re.findall(r"^(\d+(?:\.\d+)?)$", printed, re.M)
        if len(numbers) != 1:
            fail(f"{command}: {printed[-500:]}")
        return float(numbers[0])
    except subprocess.TimeoutExpired:
        fail(f"more than two minutes: {command}")
    finally:
        shutil.rmtree(tmp)


def measure():
    """The least time of each way for each workload, in interleaved rounds, and the number of rounds."""
    best, rows = {}, []
    fast = [way for way in ways if way.slow == 1]
    for way in ways:
        if way.proof:
            run(way, "leak", 20000, check=True)
    begun = time.monotonic()
    for number in range(ROUNDS):
        next_round = 0  # seconds, as in this one
        for workload in (*WORKLOADS, *PROGRAMS):
            count, least = WORKLOADS.get(workload, (0, 0))
            for way in (ways if number == 0 else fast) + 2 * fast:  # fast ones get more tries
                if workload not in why_not(way):
                    run_begun = time.monotonic()
                    value = run(way, workload, max(count // way.slow, least))
                    next_round += time.monotonic() - run_begun if way.slow == 1 else 0
                    best[way.name, workload] = min(value, best.get((way.name, workload), value))
                    rows.append((number, workload, way.name, value))
        passed = time.monotonic() - begun
        print(f"round {number + 1} ends after {passed:.0f} s", flush=True)
        if passed + next_round > 60 * MINUTES:
            break
    with open(BUILD + "results.csv", "w", newline="") as file:
        csv.writer(file).writerows([("round", "workload", "tracer", "ns an operation, ms a program"), *rows])
    return best, number + 1


def why_not(way):
    programs = "it is not the same program" if way.build != "bench" else "left out because it takes too long" if way.slow > 20 else ""
    return {**way.no, **(dict.fromkeys(PROGRAMS, programs) if programs else {})}


def instructions(workload, mode, count=50000):
    """The instructions of one operation: the difference of two counts, so that start and end cancel out."""
    totals = []
    for n in (count, 2 * count):
        out = shell(f"valgrind --tool=callgrind --callgrind-out-file={BUILD}callgrind.out {BUILD}bench {workload} {mode} {n}")
        totals.append(int(re.search(r"refs: *([\d,]+)", out).group(1).replace(",", "")))
    return round((totals[1] - totals[0]) / (2 * count))  # bench does everything twice


def table(head, rows, column="---:"):
    line = "| " + " | ".join(["---"] + [column] * (len(head) - 1)) + " |"
    return "\n".join(["| " + " | ".join(head) + " |", line] + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def digits(x):
    return f"{x:.2f}" if x < 9.995 else f"{x:.1f}" if x < 99.95 else f"{x:.0f}"


def ratios(best, notes):
    """Rows of the main table. A dash has a number that `notes` explains."""
    for way in ways:
        if not way.base or not way.note:
            continue
        row = [way.name, way.base]
        for workload in (*WORKLOADS, *PROGRAMS):
            why = why_not(way).get(workload)
            if why:
                notes.setdefault(why, len(notes) + 1)
            row.append(f"- ({notes[why]})" if why else digits(best[way.name, workload] / best[way.base, workload]))
        one, two = best.get((way.name, "threads1")), best.get((way.name, "threads2"))
        yield row + [digits(2 * one / two) if two else "-"]


SHORT = {"pair": "a block at once", "churn1k": "1,000 live", "churn100k": "100,000 live", "threads2": "two threads",
         "lua": "Lua", "sqlite": "SQLite", "duktape": "Duktape"}


def main_table(best):
    """The most telling workloads and programs, and a description of each tracer."""
    rows = []
    for way in ways:
        if way.base and way.note:
            each = [digits(best[way.name, w] / best[way.base, w]) if (way.name, w) in best else "-" for w in SHORT]
            rows.append([f"**{way.name}**" if way.name.startswith("mtrace.h") else way.name, *each, way.note])
    lines = table(["time with / without", *SHORT.values(), "description"], rows).split("\n")
    lines[1] = lines[1][:-len("---: |")] + "--- |"
    return "\n".join(lines)


def picture(best):
    """Bars for churn1k, with a line from the least to the most of all workloads."""
    bars = []
    for way in ways:
        if way.base and way.note:
            each = {w: best[way.name, w] / best[way.base, w] for w in WORKLOADS if (way.name, w) in best}
            label = way.name + (f" (to {way.base})" if way.base != "plain" else "")
            color = 0x2a6fbb if way.name.startswith("mtrace.h") else 0xb8bcc4
            bars.append((each["churn1k"], min(each.values()), max(each.values()), label, color))
    bars.sort(reverse=True)
    left = min(bar[1] for bar in bars) / 1.3
    right = max(bar[2] for bar in bars) * 4  # room for the figure at the line's end
    data = "".join(f'"{label}" {y} {x} {low} {high} {color} "{digits(x)}"\n'
                   for y, (x, low, high, label, color) in enumerate(bars))
    script = f"""set terminal svg size 900,{120 + 28 * len(bars)} noenhanced font "DejaVu Sans,13" background "#ffffff"
set output "docs/benchmarks.svg"
set title "What tracers cost: time with / time without, measured by bench/run\\nbar: churn1k; line: from the least to the most of all workloads"
set lmargin 34
set rmargin 6
set logscale x
set xrange [{left}:{right}]
set yrange [-0.6:{len(bars) - 0.4}]
set xlabel "ratio, log scale; 1: costs nothing"
set grid xtics lc rgb "#dddddd"
set border 3 lc rgb "#444444"
set tics nomirror out
set arrow from 1,graph 0 to 1,graph 1 nohead lc rgb "#444444"
set style fill solid noborder
unset key
$data << E
{data}E
plot $data using (1):2:(1):3:($2-0.36):($2+0.36):6:ytic(1) with boxxyerror lc rgb variable, \\
     $data using 3:2:4:5 with xerrorbars pt 0 lw 1.4 lc rgb "#444444", \\
     $data using 5:2:(sprintf("  %s", strcol(7))) with labels left font ",12"
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def machine():
    cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    quiet = "a quiet" if LOAD < 0.5 else "A BUSY"
    return (f"{cpu.group(1) if cpu else platform.machine()}, {os.cpu_count()} processors; Linux {platform.release()}; "
            f"{' '.join(platform.libc_ver())}; {shell('gcc --version').splitlines()[0]}, -O2; Python "
            f"{platform.python_version()}.\nLoad average at the start: {LOAD:.1f}, {quiet} machine")


def text(best, rounds):
    notes, parts = {}, []
    names = (*WORKLOADS, *PROGRAMS)
    modes = [way for way in ways if way.name == "plain" or way.name.startswith("mtrace.h")]
    rows = list(ratios(best, notes))
    parts.append(f"""# Benchmarks

The cost of a tracer is the time with it, divided by the time without it. 1 costs nothing.

![The cost of tracers, drawn by bench/run](benchmarks.svg)
""")
    parts.append(main_table(best))
    parts.append(f"""
"A block at once" allocates 64 bytes and frees them. "1,000 live" holds 1,000 blocks and replaces a random one of them.
"Two threads" do the same, each with 1,000 blocks of its own. Lua, SQLite and Duktape each run a program, with all their
memory traced (`bench/programs.c`). Dashes are explained below.

The rest of this page is detail. `bench/run` writes this file. It builds and measures everything again in half an hour.

## How it was measured

{machine()}.

Each number is the least of {rounds} round{"s" * (rounds > 1)}. A round runs everything once. Each workload
(`bench/workload.h`) runs in a process of its own, which does it twice and measures the second time. Ratios compare it
with the same program without the tracer, in the same rounds. Slow tracers do fewer operations, and only in the first
round. Fast ones run three times in a round. The report of every tracer was checked once: it names the workload. Call
stacks are about five deep here. Deeper ones cost more with tracers that walk them.

In handover, the threads of glibc may or may not meet at a lock of its heap. This changes the time severalfold, with or
without a tracer. Only orders of magnitude count there.

## All workloads, as a multiple

The last column is the work of two threads together, each with blocks of its own. One thread alone does 1. valgrind
runs one thread at a time.
""")
    parts.append(table(["", "to", *names, "2 threads"], rows))
    parts.append("\n" + "\n".join(f"({number}) {why}.  " for why, number in notes.items()))
    parts.append("""
## Time without a tracer

Nanoseconds for one operation (an allocation and its free, or one realloc), and milliseconds for one program.
""")
    plain = [[way.name] + [digits(best[way.name, w]) if (way.name, w) in best else "-" for w in names]
             for way in ways if not way.note]
    parts.append(table(["", *names], plain))
    parts.append("""
## Instructions

Counted by callgrind for one operation: a malloc and a free, a realloc, or a scope entered and left. They are the same
in every run.
""")
    counted = ("pair", "churn1k", "ordered1m", "realloc", "scope")
    parts.append(table(["", *counted], [[way.name, *(instructions(w, way.mode) for w in counted)] for way in modes]))
    parts.append("""
## Questions

The cost of a snapshot and of statistics with 1,000,000 live blocks from 500 call sites.

```""")
    parts.append("".join(shell(f"{BUILD}bench questions traced {threads}") for threads in (1, 16)).rstrip())
    parts.append("""```

## How each was run
""")
    version = {way.package: shell(f"dpkg-query -W -f '${{Version}}' {way.package}") for way in ways if way.package}
    parts.append(table(["", "package", "command", "description"], [
        [way.name, f"{way.package} {version.get(way.package, '')}".strip(),
         "`" + way.command.format(run=f"{way.build} WORKLOAD {way.mode} COUNT", args="WORKLOAD COUNT", tmp="DIR") + "`",
         way.note] for way in ways], "---"))
    return "\n".join(parts) + "\n"


def main():
    best, rounds = measure()
    picture(best)
    with open("docs/BENCHMARKS.md", "w") as file:
        file.write(text(best, rounds))
        for script in ("bench/reach", "bench/curves", "bench/footprint", "bench/profile"):  # each prints a section
            begun = time.monotonic()
            file.write("\n")
            file.flush()
            status = subprocess.run([script], stdout=file).returncode
            if status != 0 and (script, status) != ("bench/reach", 1):  # 1: a goal was missed, as its table says
                fail(f"{script} ends with status {status}")
            print(f"{script}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
