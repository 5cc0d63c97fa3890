#!/usr/bin/env python3
# stack.py CALLGRAPH IMAGE TOOLS MEASURED: the most stack that each row of the limits on stdin can take. See stack.sh.
#
# gcc writes a graph of the calls it left in the code, with each function's frame (-fcallgraph-info=su). A function
# takes its frame and the most of what it calls. Functions of the C library are not in the graph: their frames are
# read from the image, as what their instructions push.
import functools
import re
import subprocess
import sys

# Calls through a pointer, as the source writes them: the functions that may be behind it, of those whose address is a
# datum. None: the user's callback, which is not counted.
POINTERS = {
    "compare": r"mtrace_compare_(ranks|sources)_",
    "equal": r"mtrace_\w+_equal_",
    "store": r"mtrace_\w+_store_",
    "find": r"mtrace_check_(account|location|node)_",
    "dump": r"mtrace_dump_(names_of|location|frame)_",
    "d->compare": r"mtrace_direct_by_\w+_",
    "d->put_key": r"mtrace_direct_put_\w+_key_",
    "d->put_scopes": r"mtrace_direct_put_scopes_",
    "d->shows": r"mtrace_figures_(any|changed|grew)_",
    "d->add": r"mtrace_direct_add_(live|peak|total)_",
    "d->kind->put_figures": r"mtrace_direct_put_(figures|diffs)_",
    "d->kind->ranks_above": r"mtrace_(figures|changes)_rank_above_",
    "d->kind->put_change": r"mtrace_put_sum_diff_",
    "d->kind->refuse": r"mtrace_direct_refuse_\w+_",
    "d->kind->subtract": r"mtrace_direct_subtract_\w+_",
    "put_rows": r"mtrace_direct_put_(table|warnings)_",
    "command->run": r"mtrace_console_(help|top|base|diff|leaks|who|pause|resume|clear|reset_peak|info)_",
    "words": r"mtrace_(console_names|all_names|key_words|top_words|diff_words)_",
    "act": r"mtrace_(clear|reset_peak)",
    "t->write": r"mtrace_write_(before_abort|stderr)_",
    "mtrace_g_.write": None,
    "h->write": None,
    "source": None,
    "call": None,
}
# The same, for one row only.
LINES = {"d->compare": r"mtrace_direct_by_line_", "d->put_scopes": None}
TABLE = {**LINES, "d->put_key": r"mtrace_direct_put_line_key_", "put_rows": r"mtrace_direct_put_table_"}
WARNINGS = {**LINES, "d->put_key": r"mtrace_direct_put_place_key_", "put_rows": r"mtrace_direct_put_warnings_"}
POINTERS_OF = {
    "stack_print_top": {**TABLE, "d->kind->put_change": None, "d->kind->refuse": None, "d->kind->subtract": None},
    "stack_print_diff": TABLE,
    "stack_print_leaks": WARNINGS,
    "stack_no_growth": WARNINGS,
    "stack_dump": {"t->write": r"mtrace_hashed_write_"},
}
# The allocator beneath, and the end of the program.
NOT_COUNTED = {"malloc", "calloc", "realloc", "free", "abort"}


def run(*command):
    return subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout.splitlines()


@functools.lru_cache(None)
def lines_of(path):
    with open(path) as file:
        return file.read().splitlines()


def expression_at(path, line, column):
    """The function of a call."""
    return re.match(r"[^(\s]*", lines_of(path)[line - 1][column - 1:])[0]


def read_graph(path):
    frames, calls, dynamic = {}, {}, set()
    for line in open(path):
        node = re.match(r'node: { title: "([^"]*)" label: "[^"]*?(?:(\d+) bytes \(([^)]*)\))?"', line)
        edge = re.match(r'edge: { sourcename: "([^"]*)" targetname: "([^"]*)"(?: label: "(.*):(\d+):(\d+)")?', line)
        if node and node[2]:
            name = node[1].split(":")[-1]
            frames[name] = int(node[2])
            if "dynamic" in node[3] and "bounded" not in node[3]:
                dynamic.add(name)
        elif edge:
            source, target = (part.split(":")[-1] for part in edge.groups()[:2])
            if target == "__indirect_call":
                target = "*" + expression_at(edge[3], int(edge[4]), int(edge[5]))
            calls.setdefault(source, set()).add(target)
    return frames, calls, dynamic


def stack_of(instruction):
    """The bytes that an instruction takes from the stack."""
    pushed = re.search(r"\t(?:push|stmdb\s+sp!,)\s*{([^}]*)}", instruction)
    if pushed:
        ranges = [part.strip().split("-") for part in pushed[1].split(",")]
        return sum(4 * (int(part[1][1:]) - int(part[0][1:]) + 1) if len(part) == 2 else 4 for part in ranges)
    moved = re.search(r"\tsub\S*\s+sp, (?:sp, )?#(\d+)|\tstr\S*\s.*\[sp, #-(\d+)\]!", instruction)
    return int(moved[1] or moved[2]) if moved else 0


def read_library(image, objdump):
    """The frame, the calls and the jumps of each function of the image to others."""
    frames, calls, jumps, name = {}, {}, {}, None
    for line in run(objdump, "-d", "--no-show-raw-insn", image):
        function = re.match(r"[0-9a-f]+ <([^>]*)>:", line)
        call = re.search(r"\t(b\S*)\s+[0-9a-f]+ <([^>+]*)>", line)
        if function:
            name = function[1]
            frames[name], calls[name], jumps[name] = 0, set(), set()
        elif name:
            frames[name] += stack_of(line)
            if call and call[2] != name:
                (calls if re.match("blx?$", call[1]) else jumps)[name].add(call[2])
    return frames, calls, jumps


def read_aliases(image, nm):
    """The names that each name shares its address with: the compiler keeps one of two equal functions."""
    names = {}
    for line in run(nm, image):
        address, _, name = line.rpartition(" ")
        names.setdefault(address.split(" ")[0], set()).add(name)
    return {name: same for same in names.values() for name in same}


def read_taken(image, objdump):
    """The functions whose address is a datum."""
    for line in run(objdump, "-r", image):
        taken = re.match(r"[0-9a-f]+ +R_ARM_(?:ABS32|THM_MOVW_ABS_NC) +(\S+)", line)
        if taken:
            yield taken[1]


def base(name):
    return re.sub(r"\.(?:isra|constprop|part|cold|lto_priv)\.?\d*", "", name)


class Graph:
    def __init__(self, graph, image, tools):
        self.frames, self.calls, self.dynamic = read_graph(graph)
        self.library = read_library(image, tools + "objdump")
        self.aliases = read_aliases(image, tools + "nm")
        self.pointers, self.most, self.faults = {}, {}, []
        self.taken = sorted({name for name in read_taken(image, tools + "objdump") if name in self.frames})
        patterns = [pattern for table in (POINTERS, *POINTERS_OF.values()) for pattern in table.values() if pattern]
        for name in self.taken:
            if not re.match("stack_|write_nowhere$", name) and not any(
                    re.fullmatch(pattern, base(name)) for pattern in patterns):
                self.faults.append(f"who calls {name} through a pointer? Say so in POINTERS of tests/stack.py")
        for pattern in patterns:
            if not self.behind(pattern):
                self.faults.append(f"{pattern} in POINTERS of tests/stack.py matches nothing")

    def behind(self, pattern):
        return [name for name in self.taken if pattern and re.fullmatch(pattern, base(name))]

    def called(self, name):
        for target in sorted(self.calls.get(name, ())):
            if not target.startswith("*"):
                yield target
            elif target[1:] in self.pointers:
                yield from self.behind(self.pointers[target[1:]])
            else:
                self.faults.append(f"{name} calls {target[1:]}: say whom, in POINTERS of tests/stack.py")

    def row(self, name):
        """The most stack of a function of the table, and the way there."""
        self.most = {}
        self.pointers = {**POINTERS, **POINTERS_OF.get(name, {})}
        return self.deepest(name)

    def deepest(self, name, above=()):
        """The most stack from this function on, and the way there."""
        if name in self.most:
            return self.most[name]
        if name in above:
            self.faults.append("recursion: " + " > ".join(above[above.index(name):] + (name,)))
            return 0, []
        if name in NOT_COUNTED:
            return 0, []
        same = [name, *sorted(self.aliases.get(name, ()))]
        known = next((one for one in same if one in self.frames), None)
        code = next((one for one in same if one in self.library[0]), None)
        if known:
            frame, targets = self.frames[known], self.called(known)
        elif code:
            frame, targets = self.library[0][code], sorted(self.library[1][code] | self.library[2][code])
        elif name.startswith("__aeabi_"):
            return 0, []  # arithmetic that a later pass of the compiler did away with
        else:
            self.faults.append(f"{name} is neither in the call graph nor in the image")
            return 0, []
        if name in self.dynamic:
            self.faults.append(f"{name} has a frame of unknown size")
        ways = [(frame, [f"{name} {frame}"])]
        for target in targets:
            below, way = self.deepest(target, above + (name,))
            kept = 0 if code and self.is_jump(code, target) else frame
            ways.append((kept + below, [f"{name} {kept}"] + way))
        self.most[name] = max(ways, key=lambda one: one[0])
        return self.most[name]

    def is_jump(self, code, target):
        """Only ever the last act of a function: its frame is gone by then."""
        same = self.aliases.get(target, {target})
        return bool(same & self.library[2][code]) and not same & self.library[1][code]


def main():
    graph = Graph(*sys.argv[1:4])
    measured = {name: int(used) for name, used in (line.split() for line in open(sys.argv[4]))}
    table, failed = [], 0
    for line in sys.stdin:
        limit, name, text = line.split(maxsplit=2)
        limit, _, aim = limit.partition(">")
        most, way = graph.row("stack_" + name)
        table.append(f"| {text.strip()} | {most} |")
        good = most <= int(limit)
        print(f"{'ok' if good else 'not ok'} {name}: {most} bytes of stack, at most {limit}"
              f"{', aim ' + aim if aim else ''}; {measured.get(name)} in a run")
        if not good:
            failed = 1
            print("   " + " > ".join(way))
        if not 0 < measured.get(name, 0) <= most:
            failed = 1
            print(f"not ok {name}: a call took {measured.get(name)} bytes, more than was computed")
    for fault in sorted(set(graph.faults)):
        failed = 1
        print("not ok " + fault)
    print("\n| stack on a Cortex-M3, -Os | bytes |\n|---|---:|", *table, sep="\n")
    return failed


sys.exit(main())
