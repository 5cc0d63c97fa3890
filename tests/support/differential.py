"""Runs random scripts through mtrace-replay and compares the results with CPython's own tracemalloc classes.

differential.py PROGRAM [SCRIPTS [SEED]] prints one line "ok ..." if all results are equal. Otherwise it prints the
first script with a difference, and "not ok ...".
"""
import os
import random
import subprocess
import sys
import tempfile
import tracemalloc

PATTERNS = ["*", "*.c", "a.c", "b*", "?.c", "[ab].c", "[!a]*", "dir/*", "*/x.h", "a.[ch]", "<unknown>", "", "*.pyc", "m.py"]
FILES = ["a.c", "b.c", "m.c", "dir/x.h", "dir/y:z.c", "deep/er/c.c", "<unknown>", "m.py", "m.pyc", "\u00e4.c", "B.c"]


class Model:
    """What the library is to do, told with the plainest means."""

    def __init__(self):
        self.tracing = self.recording = False
        self.limit = 1
        self.capacity = 1 << 20
        self.live = {}  # id -> trace or None, in the order of tracemalloc: (domain, size, frames, total)
        self.current = self.peak = 0
        self.drops = [0, 0]

    def count(self):
        return sum(1 for trace in self.live.values() if trace)

    def add(self, name, size, domain, frames):
        self.live[name] = None
        if not self.recording:
            return
        if self.count() >= self.capacity:
            self.drops[0] += 1
            self.drops[1] += size
            return
        recent = tuple(reversed(frames[-self.limit:]))
        self.live[name] = (domain, size, recent, len(frames))
        self.current += size
        self.peak = max(self.peak, self.current)

    def remove(self, name):
        trace = self.live[name]
        if trace:
            self.current -= trace[1]
        self.live[name] = None
        return trace

    def realloc(self, name, size, frames):
        old = self.live[name]
        if old and not self.recording:  # paused: the new size, the old place
            self.remove(name)
            self.live[name] = (old[0], size, old[2], old[3])
            self.current += size
            self.peak = max(self.peak, self.current)
        else:
            self.remove(name)
            self.add(name, size, old[0] if old else 0, frames)

    def forget(self):
        self.live = {name: None for name in self.live}
        self.current = self.peak = 0

    def snapshot(self):
        return tracemalloc.Snapshot([trace for trace in self.live.values() if trace], self.limit)


def frames_text(frames):
    return ";".join("%s:%d" % frame for frame in frames)


def row_frames(row):
    return frames_text((frame.filename, frame.lineno) for frame in row.traceback)


class Script:
    def __init__(self, seed, folder):
        self.random = random.Random(seed)
        self.folder = folder
        self.model = Model()
        self.lines, self.answers = [], []
        self.snapshots = {}
        self.dumps = {}
        self.names = 0
        depth = self.random.choice([1, 1, 2, 3, 8])
        files = self.random.sample(FILES, self.random.randint(1, len(FILES)))
        lines = self.random.choice([[0, 1], [1, 2, 10], list(range(1, 30)), [4294967295, 7]])
        self.stacks = [[(self.random.choice(files), self.random.choice(lines))
                        for _ in range(self.random.randint(1, depth))] for _ in range(self.random.randint(1, 12))]

    def say(self, line, *answers):
        self.lines.append(line)
        self.answers += answers

    def new_name(self):
        self.names += 1
        return str(self.names)

    def size(self):
        return self.random.choice([0, 1, 10, 10, 100, 1000, 10240, self.random.randint(0, 5000), self.random.randint(0, 300000)])

    def start(self):
        limit = self.random.choice([1, 1, 2, 3, 5, 25, 65535])
        capacity = self.random.choice([0, 0, 0, 16, 64])
        self.say("start %d%s" % (limit, " %d" % capacity if capacity else ""))
        if not self.model.tracing:
            self.model.limit = limit
            self.model.capacity = capacity or 1 << 20
            self.model.drops = [0, 0]
            self.model.tracing = self.model.recording = True

    def stop(self):
        self.say("stop")
        self.model.forget()
        self.model.drops = [0, 0]
        self.model.tracing = self.model.recording = False

    def pause(self):
        if self.model.tracing:
            self.say("pause")
            self.model.recording = False
            self.free() if self.random.random() < 0.5 else self.realloc()
            self.alloc()
            self.say("resume")
            self.model.recording = True

    def clear(self):
        self.say("clear")
        self.model.forget()
        self.model.drops = [0, 0]

    def reset_peak(self):
        self.say("reset_peak")
        self.model.peak = self.model.current

    def alloc(self):
        for _ in range(self.random.randint(1, 20)):
            name, size, frames = self.new_name(), self.size(), self.random.choice(self.stacks)
            domain = self.random.choice([0, 0, 0, 1, 2, 70000])
            self.say("alloc %s %d %d %s" % (name, size, domain, frames_text(frames)))
            self.model.add(name, size, domain, frames)

    def some_block(self):
        return self.random.choice(list(self.model.live)) if self.model.live else None

    def realloc(self):
        name = self.some_block()
        if name:
            size, frames = self.size(), self.random.choice(self.stacks)
            if not self.model.recording:
                size = max(size, 1)  # realloc to 0 allocates anew in the driver: not traced while paused
            self.say("realloc %s %d %s" % (name, size, frames_text(frames)))
            self.model.realloc(name, size, frames)

    def free(self):
        for _ in range(self.random.randint(1, 10)):
            name = self.some_block()
            if name:
                self.say("free %s" % name)
                self.model.remove(name)
                del self.model.live[name]

    def memory(self):
        self.say("memory", "memory %d %d" % (self.model.current, self.model.peak))

    def traceback(self):
        name = self.some_block()
        if name:
            trace = self.model.live[name]
            answer = "none" if not trace else "%d %s" % (trace[3], frames_text(reversed(trace[2])))
            self.say("traceback %s" % name, "traceback " + answer)

    def snapshot(self):
        if self.model.tracing:
            name = self.random.choice("stuv")
            self.snapshots[name] = self.model.snapshot()
            self.say("snapshot %s" % name, "snapshot %d" % len(self.snapshots[name].traces))

    def some_snapshot(self):
        return self.random.choice(list(self.snapshots)) if self.snapshots else None

    def one_filter(self):
        inclusive = self.random.random() < 0.5
        sign = "+" if inclusive else "-"
        domain = self.random.choice([0, 1, 2, 70000])
        if self.random.random() < 0.3:
            return "%sdomain=%d" % (sign, domain), tracemalloc.DomainFilter(inclusive, domain)
        pattern = self.random.choice(PATTERNS + FILES[:4])
        line = self.random.choice([None, None, 0, 1, 2, 10])
        every = self.random.random() < 0.4
        domain = self.random.choice([None, None, domain])
        text = sign + "file=" + pattern
        text += "" if line is None else ",line=%d" % line
        text += ",all" if every else ""
        text += "" if domain is None else ",domain=%d" % domain
        return text, tracemalloc.Filter(inclusive, pattern, line, every, domain)

    def filter(self):
        old = self.some_snapshot()
        if old:
            filters = [self.one_filter() for _ in range(self.random.randint(0, 4))]
            name = self.random.choice("wxyz")
            self.snapshots[name] = self.snapshots[old].filter_traces([f for _, f in filters])
            self.say(" ".join(["filter", name, old] + [text for text, _ in filters]),
                     "filter %d" % len(self.snapshots[name].traces))

    def key(self):
        key = self.random.choice(["lineno", "filename", "traceback"])
        return key, key != "traceback" and self.random.random() < 0.4

    def top(self, rows):
        if self.random.random() < 0.7:
            return "", rows
        top = self.random.randint(0, 6)
        return " %d" % top, rows[:top]

    def stats(self):
        name = self.some_snapshot()
        if name:
            key, cumulative = self.key()
            top, rows = self.top(self.snapshots[name].statistics(key, cumulative))
            self.say("stats %s %s %d%s" % (name, key, cumulative, top), "stats %d" % len(rows),
                     *["%d %d %s" % (row.size, row.count, row_frames(row)) for row in rows])

    def text(self):
        name = self.some_snapshot()
        if name:
            key, cumulative = self.key()
            top, rows = self.top(self.snapshots[name].statistics(key, cumulative))
            self.say("text %s %s %d%s" % (name, key, cumulative, top), "text %d" % len(rows), *[str(row) for row in rows])

    def compare(self):
        new, old = self.some_snapshot(), self.some_snapshot()
        if new:
            key, cumulative = self.key()
            top, rows = self.top(self.snapshots[new].compare_to(self.snapshots[old], key, cumulative))
            self.say("compare %s %s %s %d%s" % (new, old, key, cumulative, top), "compare %d" % len(rows),
                     *["%d %d %d %d %s" % (row.size, row.size_diff, row.count, row.count_diff, row_frames(row))
                       for row in rows])

    def dump(self):
        name = self.some_snapshot()
        if name:
            path = os.path.join(self.folder, self.random.choice("abc"))
            self.dumps[path] = self.snapshots[name]
            self.say("dump %s %s" % (name, path))

    def load(self):
        if self.dumps:
            path = self.random.choice(list(self.dumps))
            name = self.random.choice("stuvwxyz")
            self.snapshots[name] = self.dumps[path]
            self.say("load %s %s" % (name, path))

    def drops(self):
        self.say("drops", "drops %d %d" % tuple(self.model.drops))

    def make(self):
        usual = [self.alloc] * 6 + [self.free] * 2 + [self.realloc] * 4 + [self.snapshot] * 3 + [self.filter] * 2
        usual += [self.stats] * 3 + [self.compare] * 3 + [self.text] * 2
        usual += [self.memory, self.traceback, self.traceback, self.dump, self.load, self.drops, self.reset_peak, self.pause]
        rare = [self.start, self.stop, self.clear]
        self.start()
        for _ in range(self.random.randint(5, 45)):
            self.random.choice(rare if self.random.random() < 0.04 else usual)()
        return self


def differs(program, script):
    run = subprocess.run([program], input="\n".join(script.lines) + "\n", capture_output=True, text=True,
                         encoding="utf-8", check=False)
    if run.returncode == 0 and run.stdout.splitlines() == script.answers:
        return None
    return "exit %d\n%s--- got ---\n%s--- expected ---\n%s" % (
        run.returncode, run.stderr, run.stdout, "\n".join(script.answers))


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 2500
    first = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    commands, answers = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            script = Script(seed, folder).make()
            difference = differs(program, script)
            if difference:
                print("\n".join(script.lines))
                print(difference)
                print("not ok differential: seed %d" % seed)
                return 1
            answers += len(script.answers)
            for line in script.lines:
                word = line.split()[0]
                commands[word] = commands.get(word, 0) + 1
    print(" ".join("%s:%d" % item for item in sorted(commands.items())))
    print("ok differential, %d scripts, %d answers as CPython %s" % (count, answers, sys.version.split()[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
