"""The functions of mtrace.h that a call reaches, by gcc's call graph. reached.py FILE.ci FUNCTION prints their number, and
with -v also their names. `gcc -O0 -fcallgraph-info -c` writes FILE.ci.

It counts each function that mtrace.h defines and that FUNCTION reaches by calls at any depth. At -O0 an inline function
is a function like any other. Calls through a pointer are not followed: these are the user's callbacks. A macro is not a
function. Its calls count as calls of the function that uses it."""
import collections
import os
import re
import subprocess
import sys
import tempfile


def graph(path):
    """Titles of the functions that mtrace.h defines, with their names, and title -> titles called."""
    defined, calls = {}, collections.defaultdict(set)
    for line in open(path):
        node = re.match(r'node: \{ title: "([^"]*)" label: "([^"\\]*)\\n([^"]*)"(.*)\}', line)
        edge = re.match(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', line)
        # An ellipse is a function that is only declared.
        if node and re.match(r"(.*/)?mtrace\.h:", node[3]) and "ellipse" not in node[4]:
            defined[node[1]] = node[2]
        if edge:
            calls[edge[1]].add(edge[2])
    return defined, calls


def reached(path, function):
    defined, calls = graph(path)
    seen, todo = set(), [title for title in calls if title.rpartition(":")[2] == function]
    if not todo:
        sys.exit(f"reached.py: {path}: {function} calls nothing, or is not there")
    while todo:
        title = todo.pop()
        if title not in seen:
            seen.add(title)
            todo += calls[title]
    return sorted(defined[title] for title in seen if title in defined)


def by_malloc():
    """The functions that one MT_MALLOC reaches."""
    with tempfile.TemporaryDirectory() as tmp:
        one = os.path.join(tmp, "one")
        with open(one + ".c", "w") as file:
            file.write('#define MTRACE_IMPLEMENTATION\n#include "mtrace.h"\n'
                       "void *one(void);\nvoid *one(void) {\n    return MT_MALLOC(10);\n}\n")
        subprocess.run(["gcc", "-std=c99", "-O0", "-fcallgraph-info", "-DMTRACE", "-I.", "-c", one + ".c", "-o", one + ".o"],
                       check=True, timeout=300)
        return reached(one + ".ci", "one")


if __name__ == "__main__":
    names = reached(*[argument for argument in sys.argv[1:] if argument != "-v"])
    print(len(names))
    if "-v" in sys.argv:
        print("\n".join(names))
