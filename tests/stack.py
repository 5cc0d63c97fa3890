#!/usr/bin/env python3
# stack.py CALLGRAPH IMAGE TOOLS: the most stack that each row of the limits on stdin can take. See stack.sh.
#
# gcc writes a graph of the calls it left in the code, with each function's frame (-fcallgraph-info=su). A function
# takes its frame and the most of what it calls. Functions of the C library are not in the graph: their frames are read from
# the image, as what their instructions push.
import re
import subprocess
import sys

# Calls through a pointer: the functions behind it. The user's callbacks are not counted.
POINTERS = {
    "mtrace_sort_": ["mtrace_compare_ranks_", "mtrace_compare_sources_"],
    "mtrace_intern_": ["mtrace_account_equal_", "mtrace_account_store_", "mtrace_location_equal_",
                       "mtrace_location_store_", "mtrace_node_equal_", "mtrace_node_store_"],
    "mtrace_check_intern_table_": ["mtrace_check_account_", "mtrace_check_location_", "mtrace_check_node_"],
    "mtrace_text_flush_": ["mtrace_write_before_abort_"],
    "mtrace_write_before_abort_": ["mtrace_write_stderr_"],
    "mtrace_dump_each_": ["mtrace_dump_names_of_", "mtrace_dump_location_", "mtrace_dump_frame_"],
    "mtrace_hashed_write_": [],
}
# The same, for one row only.
POINTERS_OF = {"stack_dump": {"mtrace_text_flush_": ["mtrace_hashed_write_"]}}
# The allocator beneath, and the end of the program.
NOT_COUNTED = {"malloc", "calloc", "realloc", "free", "abort"}


def run(*command):
    return subprocess.run(command, text=True, check=True, stdout=subprocess.PIPE).stdout.splitlines()


def read_graph(path):
    frames, calls, dynamic = {}, {}, set()
    for line in open(path):
        node = re.match(r'node: { title: "([^"]*)" label: "[^"]*?(?:(\d+) bytes \(([^)]*)\))?"', line)
        edge = re.match(r'edge: { sourcename: "([^"]*)" targetname: "([^"]*)"', line)
        if node and node[2]:
            name = node[1].split(":")[-1]
            frames[name] = int(node[2])
            if "dynamic" in node[3] and "bounded" not in node[3]:
                dynamic.add(name)
        elif edge:
            source, target = (part.split(":")[-1] for part in edge.groups())
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
    """The frame and the calls of each function of the image."""
    frames, calls, name = {}, {}, None
    for line in run(objdump, "-d", "--no-show-raw-insn", image):
        function = re.match(r"[0-9a-f]+ <([^>]*)>:", line)
        call = re.search(r"\tb\S*\s+[0-9a-f]+ <([^>+]*)>", line)
        if function:
            name = function[1]
            frames[name], calls[name] = 0, set()
        elif name:
            frames[name] += stack_of(line)
            if call and call[1] != name:
                calls[name].add(call[1])
    return frames, calls


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
        self.by_base = {}
        for name in self.frames:
            self.by_base.setdefault(base(name), []).append(name)
        tables = (POINTERS, *POINTERS_OF.values())
        known = {name for table in tables for names in table.values() for name in names}
        taken = {base(name) for name in read_taken(image, tools + "objdump") if name in self.frames}
        self.faults += [f"tests/stack.py does not know who calls {name} through a pointer"
                        for name in taken - known if not name.startswith(("stack_", "write_nowhere", "main"))]
        self.faults += [f"no datum is the address of {name}: see POINTERS in tests/stack.py"
                        for name in known - taken]

    def called(self, name):
        for target in sorted(self.calls.get(name, ())):
            if target != "__indirect_call":
                yield target
            elif base(name) not in self.pointers:
                self.faults.append(f"{name} calls through a pointer: say whom, in POINTERS of tests/stack.py")
            else:
                for behind in self.pointers[base(name)]:
                    yield from self.by_base.get(behind, ())

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
            frame, targets = self.library[0][code], sorted(self.library[1][code])
        elif name.startswith("__aeabi_"):
            return 0, []  # arithmetic that a later pass of the compiler did away with
        else:
            self.faults.append(f"{name} is neither in the call graph nor in the image")
            return 0, []
        if name in self.dynamic:
            self.faults.append(f"{name} has a frame of unknown size")
        below, way = max((self.deepest(target, above + (name,)) for target in targets), default=(0, []),
                         key=lambda one: one[0])
        self.most[name] = frame + below, [f"{name} {frame}"] + way
        return self.most[name]


def main():
    graph = Graph(*sys.argv[1:4])
    table, failed = [], 0
    for line in sys.stdin:
        limit, name, text = line.split(maxsplit=2)
        limit, _, aim = limit.partition(">")
        most, way = graph.row("stack_" + name)
        table.append(f"| {text.strip()} | {most} |")
        good = most <= int(limit)
        print(f"{'ok' if good else 'not ok'} {name}: {most} bytes of stack, at most {limit}"
              f"{', aim ' + aim if aim else ''}")
        if not good:
            failed = 1
            print("   " + " > ".join(way))
    for fault in sorted(set(graph.faults)):
        failed = 1
        print("not ok " + fault)
    print("\n| stack on a Cortex-M3, -Os | bytes |\n|---|---:|", *table, sep="\n")
    return failed


sys.exit(main())
