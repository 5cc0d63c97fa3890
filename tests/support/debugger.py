"""For tests/gdb.sh, inside of gdb: runs debugged.c's scenarios, and compares its tables with those of mtrace-gdb.py,
in the stopped process and in its core file."""
import os
import random
import re

import gdb

CONFIGURATION, FOLDER = os.environ["CONFIGURATION"], os.environ["FOLDER"]
SCENARIOS = os.environ["SCENARIOS"].split()
OUT = FOLDER + "/out"
NOTES = {  # of a scenario: what gdb adds
    "clear": "the tracer is paused: new blocks are not recorded"}


def say(command):
    """What a command prints, or the message of its error."""
    try:
        return gdb.execute("mtrace " + command, to_string=True)
    except gdb.error as error:
        return str(error) + "\n"


def plain(text):
    """Without what only one side knows: the part of its own memory in RAM, and what only gdb says."""
    text = re.sub(r"^mtrace's own memory [^;\n]*", "mtrace's own memory", text, flags=re.M)
    if CONFIGURATION.startswith("bare"):  # its sentences have sizes in another form
        text = re.sub(r"^mtrace's own memory.*\n", "", text, flags=re.M)
    text = text.replace(". Here `mtrace save NAME` keeps a moment", "")
    return re.sub(r"^(mtrace: (changes|note:) |named, and ).*\n", "", text, flags=re.M)


def result(name, why=""):
    print("not ok gdb %s: %s: %s" % (CONFIGURATION, name, why) if why else "ok gdb %s: %s" % (CONFIGURATION, name))


def difference(wanted, found):
    """The first line that differs, with the number of lines equal before it."""
    lines = wanted.split("\n"), found.split("\n")
    for at, (left, right) in enumerate(zip(*(some + [""] for some in lines))):
        if left != right:
            return "line %d is `%s`, mtrace has `%s`" % (at + 1, right, left)
    return "%d lines, mtrace has %d" % (len(lines[1]), len(lines[0]))


def compare(name, where):
    """All tables that the program has printed."""
    text = open(OUT, encoding="utf-8").read()
    why, count, all_of_it = "", 0, ""
    for part in re.split("^> ", text, flags=re.M)[1:]:
        command, _, wanted = part.partition("\n")
        found = say(command)
        all_of_it += found
        count += 1
        if plain(wanted) != plain(found):
            why = why or "`mtrace %s`: %s" % (command, difference(plain(wanted), plain(found)))
    if not why and NOTES.get(name, "") not in all_of_it:
        why = "no note: " + NOTES[name]
    why = why if count else "the program printed nothing: " + text[-300:]
    result("%s, %d answers %s" % (name, count, where), why)


def run(name):
    """The process stands in stop_here."""
    gdb.execute("run %s > %s" % (name, OUT), to_string=True)
    while gdb.selected_frame().name() == "save_here":
        say("save " + gdb.parse_and_eval("moment").string())
        gdb.execute("continue", to_string=True)
    if gdb.selected_frame().name() != "stop_here":
        raise gdb.error("the program ended in " + str(gdb.selected_frame().name()))


def check_scenarios():
    for name in SCENARIOS:
        run(name)
        compare(name, "from the process")
        gdb.execute("generate-core-file %s/core" % FOLDER, to_string=True)
        gdb.execute("kill", to_string=True)
        gdb.execute("core-file %s/core" % FOLDER, to_string=True)
        compare(name, "from its core file")
        gdb.execute("core-file", to_string=True)


# --------------------------------------------------------------------------------------------- damaged memory

COMMANDS = ("top", "domains", "top by function peak", "diff baseline", "who kept[0][50]")


def is_message(text):
    """Tables, or one line of the script. Never Python's own words or gdb's."""
    return "Traceback" not in text and "Python" not in text and all(
        not re.match(r"[A-Z]\w*Error", line) for line in text.split("\n"))


def damaged(name, place, value, words, commands=COMMANDS[:1]):
    """While a variable of the process has another value, the commands say so."""
    inferior, variable = gdb.selected_inferior(), gdb.parse_and_eval(place)
    at, before = int(variable.address), inferior.read_memory(int(variable.address), variable.type.sizeof).tobytes()
    inferior.write_memory(at, value.to_bytes(len(before), "little"))
    for command in commands:
        found = say(command)
        result("%s: `mtrace %s` says so" % (name, command),
               "" if words in found and is_message(found) else "it says `%s`" % found.strip()[-200:])
    inferior.write_memory(at, before)


def check_damage():
    for expression, words in (("*(char **)3", "Cannot access memory at address 0x3"), ("nosuch", "No symbol"),
                              ("1.5", "is no address")):
        result("mtrace who " + expression, "" if "mtrace: " in say("who " + expression) and words in say(
            "who " + expression) else say("who " + expression))
    lost = 0x123456789000
    damaged("an unknown state", "mtrace_g_.state", 7, "damaged: its state is 7")
    damaged("an impossible number of slots", "mtrace_g_.mask", 12345, "damaged: its trace table has 12346 slots")
    damaged("too many shards", "mtrace_g_.shard_count", 99999, "damaged: it has 99999 shards")
    damaged("too many accounts", "mtrace_g_.account_table.number_end", 99999999, "damaged: it has 99999999 accounts")
    damaged("too many locations", "mtrace_g_.location_table.number_end", 9999999, "damaged: it has 9999999 locations")
    damaged("accounts elsewhere", "mtrace_g_.accounts", lost, "cannot read accounts at 0x%x" % lost)
    damaged("counters elsewhere", "mtrace_g_.shards[0].counters", lost, "cannot read counters at 0x%x" % lost)
    damaged("slots elsewhere", "mtrace_g_.slots", lost, "cannot read the trace table at 0x%x" % lost, COMMANDS[-1:])
    damaged("a location that is not there", "mtrace_g_.accounts[mtrace_g_.other + 20].location", 4000000,
            "damaged: no location 4000000", COMMANDS[:2])
    damaged("a name elsewhere", "mtrace_g_.locations[3].names[0]", lost, "damaged: no name at 0x%x" % lost)
    damaged("scopes in a circle", "mtrace_g_.nodes[2].parent", 2, " from ", ["who kept[0][54]"])


def check_random_damage():
    """Words of the tracer and of its tables get random values. No command hangs, and none ends in Python's words."""
    random.seed(1)
    inferior, g = gdb.selected_inferior(), gdb.parse_and_eval("mtrace_g_")
    places = [(int(g.address), 1000), (int(g["accounts"]), 4000), (int(g["locations"]), 2000),
              (int(g["nodes"]), 500), (int(g["slots"]), 60000)] + [
                  (int(g["shards"][i].address), 200) for i in range(5)]
    why = ""
    for _ in range(60):
        changed = []
        for at, size in random.sample(places, 3):
            at += random.randrange(size // 8) * 8
            changed.append((at, inferior.read_memory(at, 8).tobytes()))
            inferior.write_memory(at, random.choice((
                bytes(random.randrange(256) for _ in range(8)), b"\xff" * 8, bytes(8), b"\x01" + bytes(7))))
        for command in COMMANDS:
            found = say(command)
            if not is_message(found):
                why = why or "`mtrace %s` says `%s`" % (command, found.strip()[-300:])
        for at, before in reversed(changed):
            inferior.write_memory(at, before)
    compare("threads", "after random damage was undone")
    result("random damage, %d commands" % (60 * len(COMMANDS)), why)


def check_messages():
    """Before the program runs."""
    for command, words in (("top", "no process and no core file"), ("diff nothing", "nothing is saved as `nothing`"),
                           ("top by", "`by` takes one of line, file"), ("top by f", "one of file, function"),
                           ("bottom", "no command `bottom`"),
                           ("top 3 sideways", "`sideways`? mtrace top"), ("save 1", "a name with a letter"),
                           ("diff a baseline", "two names are two saved"), ("who", "a pointer or an address"),
                           ("domains 5", "takes no argument")):
        result("mtrace %s, without a process" % command, "" if words in say(command) else say(command))


gdb.execute("set confirm off")
gdb.execute("set pagination off")
gdb.execute("set width 0")
gdb.execute("set debuginfod enabled off")
try:
    if os.environ["DAMAGE"]:
        check_messages()
    gdb.execute("break save_here", to_string=True)
    gdb.execute("break stop_here", to_string=True)
    check_scenarios()
    if os.environ["DAMAGE"]:
        run("threads")
        check_damage()
        check_random_damage()
    result("all scenarios")
except gdb.error as error:
    result("all of it", "stopped: %s" % error)
gdb.execute("kill", to_string=True) if gdb.selected_inferior().pid else None
