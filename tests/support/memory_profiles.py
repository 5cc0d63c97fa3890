"""Compares memory_profiler's table of profiled.py with mtrace's of profiled.c: memory_profiles.py PYTHON-TABLE C-TABLE.
One parser reads both, and both are compared with figures computed by hand."""
import re
import sys

HEADER = "Line #    Mem usage    Increment  Occurrences   Line Contents"
ROW = re.compile(r"(?P<number>[ \d]{5}\d) (?P<mem>.{12}) (?P<increment>.{12})  (?P<runs>.{10})   (?P<source>.*)")
MIB = re.compile(r" *-?\d+\.\d{3} MiB")

# Computed by hand, for each line that changes memory: the most MiB held after it, above the function's first line, the
# sum of its changes, and the number of its runs. Line 0 is the function's first line. Its figures are the memory less
# the increment, which is the growth between the first call and later ones, and the number of calls.
TRUTH = {
    "straight": {0: (0, 0, 1), 1: (20, 20, 1), 2: (60, 40, 1), 3: (20, -40, 1)},
    "copies": {0: (0, 0, 1), 1: (20, 20, 1), 2: (40, 100, 5), 3: (20, -100, 5), 4: (0, -20, 1)},
    "accumulate": {0: (0, 0, 1), 1: (50, 50, 5), 2: (50, 0, 6), 3: (40, -50, 5)},
    "helper": {0: (0, 0, 1), 1: (30, 30, 1), 2: (60, 30, 1), 3: (30, -30, 1), 4: (0, -30, 1)},
    "temporary": {0: (0, 0, 1), 1: (10, 10, 1), 2: (10, 0, 1), 3: (10, 0, 1), 4: (0, -10, 1)},
    "early": {0: (0, 0, 1), 1: (20, 20, 1), 2: (0, -20, 1)},  # 3 to 5 never run
    "several": {0: (0, -20, 3), 1: (10, 30, 3), 2: (30, 60, 3), 3: (10, -60, 3)},  # 0, 10, 20 held at the calls
    "lower": {0: (0, -40, 2), 1: (20, 40, 2), 2: (0, -40, 2)},  # 40, 0 held at the calls
    "rounds": {0: (0, 0, 1), 1: (20, 20, 5), 2: (40, 20, 5), 3: (0, -40, 1)},
    "inner": {0: (0, -30, 2), 1: (30, 60, 2)},  # 10, 40 held at the calls
    "outer": {0: (0, 0, 1), 1: (10, 10, 1), 2: (40, 30, 1), 3: (70, 30, 1), 4: (60, -10, 1), 5: (30, -30, 1),
              6: (0, -30, 1)},
}
BLANK = {("accumulate", 2)}  # mtrace shows nothing: no memory moved there
AT_LEAST = {("helper", 2), ("temporary", 3), ("rounds", 1), ("outer", 3)}  # calls without MT_LINE

# Where memory_profiler's Increment is wrong, what its way of counting gives, and why. It adds "memory now less the MOST
# that was ever seen at the line that ran before", by line number (its issues 195, 219; pull request 350).
MAXIMUM = "the line before once saw more than it did this time"
OTHER = "the line before was of another function, whose memory it takes for 0: all of the process counts as new"
FAULTS = {
    ("accumulate", 2): (lambda row: -(0 + 10 + 20 + 30 + 40), MAXIMUM),
    ("accumulate", 3): (lambda row: -(10 + 20 + 30 + 40 + 50), MAXIMUM),
    ("lower", 1): (lambda row: 20 + (20 - 40), MAXIMUM),
    ("lower", 2): (lambda row: -20 + (0 - 60), MAXIMUM),
    ("inner", 0): (lambda row: (row["mem"] - 30) + row["mem"] - row["mem"], OTHER),  # two calls' whole memory
    ("outer", 2): (lambda row: row["mem"], OTHER),
    ("outer", 3): (lambda row: row["mem"], OTHER),
}
failed = False


def report(name, wrong):
    global failed
    failed = failed or bool(wrong)
    print(f"not ok {name}: {wrong}" if wrong else f"ok {name}")


def value(text):
    if not MIB.fullmatch(text):
        sys.exit(f"not ok tables: not an amount: {text!r}")
    return float(text.split()[0])


def parse(path):
    """{function: {line's number in its comment: row}}; ends the test when the format is another."""
    functions = {}
    for part in open(path).read().split("Filename: ")[1:]:
        name, empty, header, rule, *lines = part.rstrip("\n").split("\n")
        if (empty, header, rule) != ("", HEADER, "=" * len(HEADER)):
            sys.exit(f"not ok tables: {path}: another head: {header!r}")
        rows = [ROW.fullmatch(line) for line in lines]
        if None in rows:
            sys.exit(f"not ok tables: {path}: other columns: {lines[rows.index(None)]!r}")
        function = re.search(r"(\w+)\(.*(:| \{)", "\n".join(row["source"] for row in rows))[1]
        functions[function] = {}
        for row in rows:
            tag = re.search(r"(?:#|/\*) (\d)(?: \*/)?$", row["source"])
            key = int(tag[1]) if tag else f"line {row['number'].strip()}, which has no number"
            if row["mem"].strip():
                runs = re.fullmatch(r" *(\d+)(\+?)", row["runs"])
                functions[function][key] = {"mem": value(row["mem"]), "increment": value(row["increment"]),
                                            "runs": int(runs[1]), "at least": runs[2] == "+"}
            elif row["increment"].strip() or row["runs"].strip():
                sys.exit(f"not ok tables: {path}: half a row: {row[0]!r}")
    return functions


def amounts(rows, line):
    """As in TRUTH."""
    row = rows[line]
    return row["mem"] - rows[0]["mem"], row["increment"] - (row["mem"] if line == 0 else 0)


def near(value, wanted, exact):
    return abs(value - wanted) <= (0.0011 if exact else 1 + 0.02 * abs(wanted))


def differs(name, rows, line, exact, wanted):
    """What is not as wanted; None: nothing."""
    mem, increment = amounts(rows, line)
    if not near(mem, wanted[0], exact):
        return f"{name}, line {line}: Mem usage {mem:+.3f}, should be {wanted[0]:+}"
    if not near(increment, wanted[1], exact):
        return f"{name}, line {line}: Increment {increment:+.3f}, should be {wanted[1]:+.3f}"
    row = rows[line]
    if not (1 <= row["runs"] <= wanted[2] if row["at least"] else row["runs"] == wanted[2]):
        return f"{name}, line {line}: Occurrences {row['runs']}, should be {wanted[2]}"
    return None


def mtrace(function, rows, truth):
    if set(rows) != {line for line in truth if (function, line) not in BLANK}:
        return f"mtrace shows {list(rows)}"
    marks = {line for line in rows if rows[line]["at least"]}
    if marks != {line for name, line in AT_LEAST if name == function}:
        return f"'+' in the lines {sorted(marks)}"
    return next(filter(None, (differs("mtrace", rows, line, True, truth[line]) for line in rows)), None)


def original(function, rows, truth):
    if {line for line in rows if isinstance(line, int)} != set(truth):
        return f"memory_profiler shows {list(rows)}"
    for line, (mem, increment, runs) in truth.items():
        if (function, line) in FAULTS:
            increment = FAULTS[function, line][0](rows[line])
        wrong = differs("memory_profiler", rows, line, False, (mem, increment, runs))
        if wrong:
            return wrong
    return None


python, c = parse(sys.argv[1]), parse(sys.argv[2])
report("tables, one format", "" if set(python) == set(c) == set(TRUTH) else f"functions: {set(python)}, {set(c)}")
for function, truth in TRUTH.items():
    report(f"{function}, mtrace", mtrace(function, c[function], truth))
    report(f"{function}, memory_profiler", original(function, python[function], truth))
for (function, line), (_, why) in FAULTS.items():
    true, theirs = TRUTH[function][line][1], amounts(python[function], line)[1]
    ours = 0 if (function, line) in BLANK else amounts(c[function], line)[1] if line in c[function] else float("nan")
    report(f"{function}, line {line}: memory_profiler's Increment is {theirs:+.0f}, the true one {true:+}; {why}",
           "" if near(ours, true, True) and not near(theirs, true, False) else f"mtrace's is {ours:+.3f}")
sys.exit(failed)
