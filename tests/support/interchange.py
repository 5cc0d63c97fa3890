"""Compares snapshot files and pickles with CPython, from random scripts.

interchange.py FOLDER MACHINE... : FOLDER/MACHINE-replay and FOLDER/MACHINE-convert are the commands of each machine.
Every machine writes each snapshot, and every machine reads the files of all. Prints "ok NAME", or "not ok NAME: why".
"""
import os
import subprocess
import sys
import tempfile
import tracemalloc

import read_snapshot
from differential import Script

SCRIPTS = 40
KEYS = [("lineno", False), ("lineno", True), ("filename", False), ("filename", True), ("traceback", False)]
FILTERS = [[tracemalloc.Filter(True, "*.c")], [tracemalloc.Filter(False, "a.c", all_frames=True)],
           [tracemalloc.DomainFilter(False, 0)], []]


# What convert.c's write_code writes, as traces: a module that is loaded twice has two paths here.
STACK = (("main.c", 7), ("/bin/\udce4+0x0", 0), ("/lib/m.so+0x1234", 0))
CODE = [(0, 7, (("/new/m.so+0x1234", 0),), 0), (0, 30, (("0xffffffff80001234", 0),), 0), (0, 100, STACK, 0),
        (0, 100, STACK, 0)]


def traces_of(snapshot):
    return sorted((t.domain, t.size, tuple((f.filename, f.lineno) for f in t.traceback), t.traceback.total_nframe or 0)
                  for t in snapshot.traces)


def lines_of(snapshot):
    """Python's own rows by line."""
    return [str(row) for row in snapshot.statistics("lineno")]


def answers_of(snapshot, other):
    """What Python says of it, in every way."""
    answers = []
    for key, cumulative in KEYS:
        answers.append([str(row) for row in snapshot.statistics(key, cumulative)])
        answers.append([str(row) for row in snapshot.compare_to(other, key, cumulative)])
        for filters in FILTERS:
            answers.append([str(row) for row in snapshot.filter_traces(filters).statistics(key, cumulative)])
    return answers


def traces_in_file(path):
    """The same as traces_of, by the independent reader."""
    _, _, rows, blocks = read_snapshot.read(path)
    return sorted((rows[row].domain, size, tuple((f, line) for f, _, line in rows[row].frames), rows[row].total)
                  for _, size, _, row, _ in blocks)


class Check:
    def __init__(self, folder, machines):
        self.folder, self.machines = folder, machines
        self.wrong = {}
        self.count = 0

    def command(self, machine, name, *words, text=""):
        subprocess.run([os.path.join(self.folder, machine + "-" + name), *words], input=text, check=True, text=True,
                       encoding="utf-8", stdout=subprocess.DEVNULL)

    def equal(self, name, got, expected, seed):
        self.wrong.setdefault(name, None)
        if got != expected and self.wrong[name] is None:
            self.wrong[name] = "seed %d: %.300r is not %.300r" % (seed, got, expected)

    def convert(self, machine, file, *words):
        pickle = os.path.join(self.folder, "pickle")
        self.command(machine, "convert", file, pickle, *words)
        return tracemalloc.Snapshot.load(pickle)

    def report(self, machine, file):
        command = [os.path.join(self.folder, machine + "-convert"), file, os.path.join(self.folder, "pickle"), "report"]
        done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
        return done.stdout.splitlines()

    def file(self, writer, seed, path, snapshot, other):
        expected = traces_of(snapshot)
        self.equal("format, written by " + writer, traces_in_file(path), expected, seed)
        for reader in self.machines:
            loaded = self.convert(reader, path)
            self.equal("%s's file, read by %s, as a pickle" % (writer, reader), traces_of(loaded), expected, seed)
        loaded = self.convert(writer, path, "without-blocks")
        self.equal("pickle without blocks, %s" % writer, answers_of(loaded, other), answers_of(snapshot, other), seed)
        self.count += 1

    def code(self, folder):
        """Frames that are code: 64-bit addresses in modules."""
        path = os.path.join(folder, "code")
        for writer in self.machines:
            self.command(writer, "convert", "--code", path)
            self.equal("code, written by " + writer, traces_in_file(path), CODE, 0)
            for reader in self.machines:
                loaded = self.convert(reader, path)
                self.equal("%s's code, read by %s, as a pickle" % (writer, reader), traces_of(loaded), CODE, 0)
                # one row more than the library, which knows that the two modules are one
                self.equal("code by line in Python, %s" % reader, lines_of(loaded),
                           ["/lib/m.so+0x1234:0: size=200 B, count=2, average=100 B",
                            "0xffffffff80001234:0: size=30 B, count=1, average=30 B",
                            "/new/m.so+0x1234:0: size=7 B, count=1, average=7 B"], 0)
                self.equal("code by line, %s" % reader, self.report(reader, path),
                           ["/lib/m.so+0x1234:0: size=207 B, count=3, average=69 B",
                            "0xffffffff80001234:0: size=30 B, count=1, average=30 B"], 0)

    def script(self, seed, folder):
        script = Script(seed, folder).make()
        if not script.dumps:
            return
        for writer in self.machines:
            self.command(writer, "replay", text="\n".join(script.lines) + "\n")
            for path, snapshot in script.dumps.items():
                other = script.snapshots[sorted(script.snapshots)[0]]
                self.file(writer, seed, path, snapshot, other)
            loaded = [self.convert(writer, path) for path in sorted(script.dumps)]
            models = [script.dumps[path] for path in sorted(script.dumps)]
            self.equal("statistics, compare_to and filter_traces of pickles, %s" % writer,
                       [answers_of(a, b) for a in loaded for b in loaded],
                       [answers_of(a, b) for a in models for b in models], seed)


def main():
    check = Check(sys.argv[1], sys.argv[2:])
    with tempfile.TemporaryDirectory() as folder:
        check.code(folder)
        for seed in range(100001, 100001 + SCRIPTS):
            check.script(seed, folder)
    for name, why in check.wrong.items():
        print("ok " + name if why is None else "not ok %s: %s" % (name, why))
    print("%d snapshots" % check.count)
    return 0 if check.count > 0 and not any(check.wrong.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
