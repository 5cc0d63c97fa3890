"""mtrace in gdb, for a stopped process and for a core file: the lines that hold memory, and the block at an address.

    source tools/mtrace-gdb.py                          in gdb, or in ~/.gdbinit

    mtrace top [N] [by KEY] [peak|total]                the lines that hold the most; N is 10, and 0 is all
    mtrace diff [NAME [NAME]] [N] [by KEY]              the lines that changed
    mtrace save NAME                                    keeps this moment for `mtrace diff`, until gdb ends
    mtrace who EXPR                                     the block that an address is in
    mtrace domains                                      every domain
    KEY is line, file, function, type or domain.

The script reads the tracer's memory. It never calls a function of the program, as a core file has none to call. The
layout comes from the debug information (-g; -g1 has no types), so any configuration of mtrace.h is read as it was
compiled. STRUCTURES in mtrace.h describes what is read, COUNTERS how counters add up, GROUP and TABLE how rows are
grouped and printed. The figures are those that mtrace_print would show at this moment."""
import struct

import gdb

KEYS = ("line", "file", "function", "type", "domain")
WORDS = {"live": " held", "peak": " held at the peak", "total": " allocated in all"}
UNKNOWN, UNTYPED = b"<unknown>", b"<untyped>"
ADDRESS_FILE = b"pc"  # of mtrace_site_from_address: its line is an address
LARGEST = 2 ** 64 - 1
CHUNK = 1 << 20  # bytes in one read: a damaged length fails at the first one that is not there
LONGEST_NAME = 65536
BEHIND = 64  # bytes behind a block that `who` still names it


class Problem(Exception):
    """What the user is told. No figures could be had."""


# ------------------------------------------------------------------------------------------ the program's memory

def read(address, size, what):
    """The bytes there, in pieces of at most CHUNK."""
    inferior = gdb.selected_inferior()
    for at in range(0, size, CHUNK):
        length = min(CHUNK, size - at)
        try:
            yield inferior.read_memory(address + at, length).tobytes()
        except (gdb.error, OverflowError, MemoryError):
            raise Problem("cannot read %s at 0x%x: the tracer's memory is damaged, or this core file lacks it"
                          % (what, address + at)) from None


def read_all(address, size, what):
    return b"".join(read(address, size, what))


def largest(value):
    """The largest number of an unsigned type."""
    return (1 << 8 * value.type.sizeof) - 1


class Layout:
    """A structure of the debug information, for struct.unpack. Its integers and pointers have names; arrays of these
    are "name[0]" and so on. All else is left out."""
    CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
    KINDS = (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_BOOL)

    def __init__(self, kind):
        self.names, self.size, end = [], kind.sizeof, 0
        form = ">" if "big endian" in gdb.execute("show endian", to_string=True) else "<"
        for field in kind.fields():
            at, count, of = field.bitpos // 8, 1, field.type.strip_typedefs()
            if of.code == gdb.TYPE_CODE_ARRAY:
                count = of.range()[1] + 1
                of = of.target().strip_typedefs()
            if of.code not in self.KINDS or of.sizeof not in self.CODES:
                continue
            self.names += [field.name] if count == 1 else ["%s[%d]" % (field.name, i) for i in range(count)]
            form += "%dx%d%s" % (at - end, count, self.CODES[of.sizeof])
            end = at + count * of.sizeof
        self.unpack = struct.Struct(form + "%dx" % (self.size - end))

    def records(self, data):
        """(number, fields) of each record that is not all zero."""
        nothing = bytes(self.size)
        for at in range(0, len(data) - self.size + 1, self.size):
            if data[at:at + self.size] != nothing:
                yield at // self.size, dict(zip(self.names, self.unpack.unpack_from(data, at)))


class Tracer:
    """mtrace_g_ of the program. `self.g` is its gdb.Value."""

    def __init__(self):
        if gdb.selected_inferior().pid == 0:
            raise Problem("no process and no core file: run the program, or load a core by `core-file`")
        found = tracers()
        running = [symbol for symbol in found if state_of(symbol) != 0]
        self.more = len(running) - 1
        here = module_here()
        running.sort(key=lambda symbol: symbol.symtab.objfile != here)
        self.symbol = (running or found)[0]
        self.g = self.symbol.value()
        self.state = state_of(self.symbol)
        if self.state not in (0, 1, 3):
            raise Problem("the tracer's memory is damaged: its state is %d" % self.state)
        if self.state == 0:
            raise Problem("not tracing: mtrace_start() not called, or stopped")
        self.faults, self.texts, self.constants = [], {}, {}
        self.read_head()

    def read_head(self):
        g, shards = self.g, self.g["shards"]
        self.has_atomics = any(field.name == "owner" for field in shards.type.target().fields())
        self.interval = int(g["sample_interval"])
        self.frames = int(g["frames"])
        self.slots = int(g["mask"]) + 1
        self.first = self.constant("MTRACE_FIRST_")
        self.other_end = self.first + int(g["other_numbers"]["max"])
        self.account_end = self.table_end("account", self.other_end)
        own = int(g["shard_count"]) if self.has_atomics and self.interval == 0 else 0
        self.damaged_if(self.slots & (self.slots - 1) != 0, "its trace table has %d slots" % self.slots)
        self.damaged_if(own > shards.type.range()[1], "it has %d shards" % own)
        self.shards = [shards[i] for i in range(own + 1)]
        self.peak_number = int(g["peak_number"])
        self.size_max = largest(g["peak_number"])
        counters = self.shards[0]["counters"].dereference()
        self.sum_max, self.count_max = largest(counters["total_bytes"]), largest(counters["freed_count"])

    def table_end(self, name, first):
        """All numbers in use in an intern table are below this."""
        table = self.g[name + "_table"]
        end = int(table["number_end"])
        self.damaged_if(end > first + int(table["numbers"]["max"]), "it has %d %ss" % (end, name))
        return end

    def damaged_if(self, is_so, why):
        if is_so:
            raise Problem("the tracer's memory is damaged: " + why)

    def constant(self, name, otherwise=None):
        """An enumerator of mtrace.h. `otherwise` if this configuration has none."""
        if name not in self.constants:
            objfile = self.symbol.symtab.objfile
            symbol = objfile.lookup_static_symbol(name) or objfile.lookup_global_symbol(name)
            self.constants[name] = otherwise if symbol is None else int(symbol.value())
        if self.constants[name] is None:
            raise Problem("no %s in the debug information: this mtrace.h is not of the script's version" % name)
        return self.constants[name]

    def records(self, pointer, count, what):
        """(number, fields) of an array's records that are not all zero."""
        layout = Layout(pointer.type.target().strip_typedefs())
        return layout.records(read_all(int(pointer), count * layout.size, what))

    def fault(self, text):
        self.faults.append(text)
        return b"<damaged>"

    def text(self, address):
        """The name at an address, as bytes. NULL: None."""
        if address == 0:
            return None
        if address not in self.texts:
            name, at = b"", address
            while b"\0" not in name and len(name) < LONGEST_NAME:
                try:  # up to the next page, which may not be there
                    name += read_all(at, 256 - at % 256, "a name")
                except Problem:
                    name = self.fault("no name at 0x%x" % address) + b"\0"
                at = address + len(name)
            self.texts[address] = name.partition(b"\0")[0]
        return self.texts[address]

    # ------------------------------------------------------------------------------------ sites, scopes, domains

    def read_places(self):
        """The locations, the scope nodes and the names of the domains."""
        g = self.g
        parts = [self.constant("MTRACE_NAME_%s_" % part) for part in ("FILE", "FUNCTION", "TYPE")]
        self.places, self.nodes = {}, {}
        for number, location in self.records(g["locations"], self.table_end("location", self.first), "locations"):
            names = [self.location_name(location, part) for part in parts]
            self.places[number] = (*names, location["line"])
        if self.frames > 1:
            self.nodes = dict(self.records(g["nodes"], self.table_end("node", self.first), "scope nodes"))
        self.domain_names = {}
        for i in range(min(int(g["domain_names"]), g["domains"].type.range()[1] + 1)):
            entry = g["domains"][i]  # the last of a domain is its name
            self.domain_names[int(entry["domain"])] = self.text(int(entry["name"].address))

    def location_name(self, location, part):
        """A name that found no room has left its hash."""
        word = location["names[%d]" % part]
        return b"<unknown %08x>" % (word & 0xffffffff) if location["lost"] >> part & 1 else self.text(word)

    def place(self, number):
        """(file, function, type, line) of a location."""
        if number in self.places:
            return self.places[number]
        return (self.fault("no location %d" % number), None, None, 0)

    def scopes(self, node):
        """The places of the scopes around an account, the innermost first."""
        lost = self.constant("MTRACE_NODE_LOST_")
        found = []
        while self.frames > 1 and node > lost and len(found) + 1 < self.frames:
            record = self.nodes.get(node)
            if record is None:
                self.fault("no scope node %d" % node)
                break
            found.append(self.place(record["location"]))
            node = record["parent"]
        return found

    # ----------------------------------------------------------------------------------------------- counters

    def held(self):
        return sum(int(shard["held"]) for shard in self.shards)

    def events(self, name):
        return sum(int(shard["events"][self.constant(name)]) for shard in self.shards)

    def whole(self, count):
        """A count in whole blocks: while sampling counters have fractions."""
        bits = self.constant("MTRACE_COUNT_BITS_")
        return count if self.interval == 0 else (count + (1 << bits - 1)) >> bits

    def sums(self):
        """number -> the sums of an account's counters over all shards, as mtrace_account_sum_ makes them."""
        sums = {}
        for shard in self.shards:
            for number, c in self.records(shard["counters"], self.account_end, "counters"):
                s = sums.setdefault(number, dict.fromkeys(
                    ("total_bytes", "total_count", "bytes", "count", "peak_bytes", "peak_count"), 0))
                live, count = c["total_bytes"] - c["freed_bytes"], c["total_count"] - c["freed_count"]
                saved = c["peak_number"] == self.peak_number  # else nothing has changed since the peak
                s["total_bytes"] += c["total_bytes"]
                s["total_count"] += c["total_count"]
                s["bytes"] += live
                s["count"] += count
                s["peak_bytes"] += c["peak_bytes"] if saved else live
                s["peak_count"] += c["peak_count"] if saved else count
        for s in sums.values():
            for name in s:
                s[name] &= self.count_max if name in ("count", "peak_count") else self.sum_max
        return sums

    def total_bytes(self, account, total):
        """The bytes ever allocated. It stops at the largest number, while the counter wraps."""
        if not self.has_atomics:
            return self.sum_max if account["bytes_overflowed"] else total
        rest = (total - account["large_bytes"]) & LARGEST
        return min(account["large_bytes"] + (rest if rest < 2 ** 63 else 0), LARGEST)


def tracers():
    """The symbols mtrace_g_ of all modules, each with its whole type."""
    found, without = {}, False
    for objfile in gdb.objfiles():
        symbol = objfile.lookup_global_symbol("mtrace_g_") or objfile.lookup_static_symbol("mtrace_g_")
        if symbol is None:
            continue
        kind = symbol.type.strip_typedefs()
        if kind.code == gdb.TYPE_CODE_STRUCT and any(field.name == "slots" for field in kind.fields()):
            found.setdefault(int(symbol.value().address), symbol)
        else:
            without = True
    if not found and (without or is_known("mtrace_g_")):
        raise Problem("mtrace_g_ has no type: compile the file with MTRACE_IMPLEMENTATION with -g (-g1 has no types)")
    if not found:
        raise Problem("no mtrace_g_ in this program: compiled without MTRACE, or stripped")
    return list(found.values())


def module_here():
    """The module of the selected frame. None: unknown."""
    try:
        return gdb.selected_frame().function().symtab.objfile
    except (gdb.error, AttributeError):
        return None


def state_of(symbol):
    """The tracer's state. In a program of one file (MTRACE_API static) it is a variable of its own."""
    alone = symbol.symtab.objfile.lookup_static_symbol("mtrace_state_")
    return int(alone.value()[0] if alone else symbol.value()["state"])


def is_known(name):
    """Is there a symbol, perhaps without debug information?"""
    try:
        gdb.parse_and_eval("&" + name)
        return True
    except gdb.error:
        return False


# ---------------------------------------------------------------------------------------------------- a moment

class Row:
    FIELDS = ("size", "count", "size_diff", "count_diff", "peak_size", "dropped_count", "failed_count",
              "estimated_size")

    def __init__(self, file=None, function=None, kind=None, line=0, domain=0):
        self.file, self.function, self.type, self.line, self.domain = file, function, kind, line, domain
        for name in self.FIELDS:
            setattr(self, name, 0)
        self.failed_size = 0

    def add(self, other):
        for name in self.FIELDS:
            setattr(self, name, min(getattr(self, name) + getattr(other, name), LARGEST))
        self.failed_size = max(self.failed_size, other.failed_size)

    def copy(self):
        new = Row(self.file, self.function, self.type, self.line, self.domain)
        new.add(self)
        return new

    def is_empty(self):
        return not (self.size or self.count or self.size_diff or self.count_diff) and max(
            self.dropped_count, self.failed_count) <= 0


class Moment:
    """The rows of all accounts, and all that a table says beside them: what mtrace_snapshot_take copies."""

    def __init__(self):
        tracer = Tracer()
        tracer.read_places()
        self.tracer, self.interval = tracer, tracer.interval
        self.domain_names = tracer.domain_names
        g, held = tracer.g, tracer.held()
        self.has_baseline = int(g["baseline"]) == int(g["generation"])
        self.counters = (gdb.selected_inferior().pid, int(g["generation"]))  # equal: two moments of the same counters
        self.peak = max(int(g["peak"]), held, 0)
        self.at_peak = held > int(g["peak"])
        self.rows, self.to_other, self.dropped_bytes = [], 0, 0
        sums = tracer.sums()
        nothing = dict.fromkeys(("total_bytes", "total_count", "bytes", "count", "peak_bytes", "peak_count"), 0)
        accounts = tracer.records(g["accounts"], tracer.account_end, "accounts")
        for number, account in accounts:
            if number >= tracer.first and not account.get("is_retired") and account["location"] != 0:
                self.add_row(account, sums.get(number, nothing))
        self.caveats = self.read_caveats()
        self.notes = self.read_notes()

    def add_row(self, account, sums):
        tracer = self.tracer
        row = Row(*tracer.place(account["location"]), account["domain"])
        row.size, row.count = sums["bytes"], tracer.whole(sums["count"])
        row.total_size = tracer.total_bytes(account, sums["total_bytes"])
        row.total_count = tracer.whole(tracer.sum_max if account.get("count_overflowed") else sums["total_count"])
        row.peak_size, row.peak_count = sums["peak_bytes"], tracer.whole(sums["peak_count"])
        if self.at_peak:
            row.peak_size, row.peak_count = row.size, row.count
        row.dropped_count = account["dropped_count"]
        row.failed_count, row.failed_size = account["failed_count"], account["failed_size"]
        row.estimated_size = account.get("estimated_bytes", 0)
        row.size_since = row.size - account["base_bytes"]
        row.count_since = row.count - tracer.whole(account["base_count"])
        row.dropped_since = (account["dropped_count"] - account["base_dropped"]) & tracer.size_max
        self.rows.append(row)
        if account["location"] == tracer.constant("MTRACE_LOCATION_OTHER_"):
            self.to_other += sums["total_count"]
        self.dropped_bytes = min(self.dropped_bytes + account["dropped_bytes"], LARGEST)

    def read_caveats(self):
        """All reasons not to trust the figures fully, as mtrace_put_caveats_ has them."""
        tracer, g, said = self.tracer, self.tracer.g, ""
        dropped = tracer.events("MTRACE_DROPS_")
        if dropped:
            said += "; %s (%s) not traced: rows marked * are too low" % (counted(dropped, "block"),
                                                                        python_size(self.dropped_bytes))
        for count, noun, before, after in (
                (tracer.events("MTRACE_FAILURES_"), "allocation", "", " failed"),
                (tracer.events("MTRACE_FOREIGN_"), "foreign free", "", ""),
                (tracer.events("MTRACE_STALE_"), "stale trace", "", " replaced"),
                (tracer.whole(self.to_other), "allocation", "site table full: ", " charged to <other>"),
                (int(g["lost_scopes"]), "scope", "scope table full: ", " missing from tracebacks")):
            said += "; %s%s%s" % (before, counted(count, noun), after) if count else ""
        said += "; name table full: some names are <unknown>" if int(g["lost_names"]) else ""
        lost = int(g["lost_interned"])
        return said + ("; interned site table full: %s given <other>" % counted(lost, "call") if lost else "")

    def read_notes(self):
        """What only a debugger sees."""
        tracer, g, notes = self.tracer, self.tracer.g, []
        if tracer.state == 1:
            notes.append("the tracer is paused: new blocks are not recorded")
        if tracer.has_atomics:
            inside = sum(int(shard["inside"]) for shard in tracer.shards) + sum(
                int(g["shared_inside"][i]) for i in range(2))
            if inside:
                notes.append("%s of the tracer stopped half way: figures may be off by a block each"
                             % counted(inside, "call"))
        if int(g["generation"]) % 2 != 0:
            notes.append("stopped within mtrace_clear(): figures from before and after it are mixed")
        if tracer.more:
            notes.append("%s in this program, and this is that of %s: select a frame in another module for its own"
                         % (counted(tracer.more, "more tracer runs", "more tracers run"),
                            tracer.symbol.symtab.objfile.filename))
        return notes

    def all_notes(self):
        """With the damage that was found."""
        faults = sorted(set(self.tracer.faults))
        more = ", and %d more faults" % (len(faults) - 3) if len(faults) > 3 else ""
        damage = "the tracer's memory is damaged: %s%s" % (", ".join(faults[:3]), more)
        return self.notes + ([damage] if faults else [])


# ------------------------------------------------------------------------------------------------------ numbers

def root_of(value):
    """The largest whole number with a square of at most `value`."""
    root = 0
    for bit in range(value.bit_length() // 2, -1, -1):
        root += 1 << bit if (root + (1 << bit)) ** 2 <= value else 0
    return root


def standard_error(row, interval):
    """As mtrace_standard_error."""
    size, scale = row.estimated_size, 1
    while size > LARGEST // interval:
        size, scale = size // 4, scale * 2
    root = root_of(size * interval)
    return scale * (root + (size * interval - root * root > root))


def halves_to_even(part, whole):
    quotient, rest = divmod(part, whole)
    return quotient + (2 * rest > whole or 2 * rest == whole and quotient % 2)


def percent(part, whole):
    while part > LARGEST // 1000:
        part, whole = part // 2, whole // 2
    tenths = halves_to_even(part * 1000, whole) if whole else 0
    return "%d.%d" % divmod(tenths, 10)


def table_size(size, sign=""):
    """As mtrace_table_size_: three digits before the point."""
    if size < 1024:
        return sign + "{:,} B".format(size)
    unit, power = 1, 1024
    while unit < 4 and halves_to_even(size * 100, power) >= 100000:
        unit, power = unit + 1, power * 1024
    whole, hundredths = divmod(halves_to_even(size * 100, power), 100)
    return sign + "{:,}.{:02} {}iB".format(whole, hundredths, "KMGT"[unit - 1])


def python_size(size):
    """As tracemalloc._format_size, in sentences."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 100 and unit != "B":
            return "%.1f %s" % (size, unit)
        if size < 10 * 1024 or unit == "TiB":
            return "%.0f %s" % (size, unit)
        size /= 1024
    return ""


def counted(count, noun, plural=None):
    return "{:,} {}".format(count, noun if count == 1 else plural or noun + "s")


def signed(value):
    return "{:+,}".format(value)


def shown(name):
    """A name without characters that command a terminal."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == "\t" or ord(c) > 0xa0 else "".join("\\x%02x" % b for b in c.encode())
                   for c in text)


# ------------------------------------------------------------------------------------------------------- tables

def key_of(row, key):
    """What rows are grouped and ordered by. NULL is an empty name."""
    file = row.file or b""
    return {"line": (file, row.line), "file": file, "function": (file, row.function or b""), "type": row.type or b"",
            "domain": row.domain}[key]


def group(rows, key):
    """One row for each key, in the order of their keys. A group is named by its first row."""
    groups = {}
    for row in rows:
        at = key_of(row, key)
        if at not in groups:
            groups[at] = Row(row.file, row.function, row.type, row.line, row.domain)
        groups[at].add(row)
    return [groups[at] for at in sorted(groups) if not groups[at].is_empty()]


def ranked(rows, is_diff):
    """The largest first, as tracemalloc: (size, count, key), of differences (|size|, size, |count|, count, key)."""
    def rank(i):
        row = rows[i]
        return (abs(row.size_diff), row.size, abs(row.count_diff), row.count, i) if is_diff else (
            row.size, row.count, i)
    return [rows[i] for i in sorted(range(len(rows)), key=rank, reverse=True)]


def seen_as(moment, view):
    """The rows with size and count of a view. Of a peak and a total the error is unknown."""
    for row in moment.rows:
        new = row.copy()
        if view != "live":
            new.size, new.count = getattr(row, view + "_size"), getattr(row, view + "_count")
            new.estimated_size = 0
        yield new


def since_baseline(moment):
    for row in moment.rows:
        new = row.copy()
        new.size_diff, new.count_diff, new.dropped_count = row.size_since, row.count_since, row.dropped_since
        yield new


def between(old, new):
    """The rows of both moments, so that the sum of a group is its change."""
    for row in new.rows:
        plus = row.copy()
        plus.size_diff, plus.count_diff = row.size, row.count
        yield plus
    for row in old.rows:
        minus = Row(row.file, row.function, row.type, row.line, row.domain)
        minus.size_diff, minus.count_diff, minus.estimated_size = -row.size, -row.count, row.estimated_size
        if old.counters == new.counters:
            minus.dropped_count, minus.failed_count = -row.dropped_count, -row.failed_count
        yield minus


def where(row, key, domain_names):
    file = shown(row.file if row.file is not None else UNKNOWN)
    if key == "line":
        line = "" if row.line == 0 else (":0x%x" if row.file == ADDRESS_FILE else ":%d") % row.line
        return file + line + (" " + shown(row.function) if row.function else "")
    if key == "function":
        return "%s (%s)" % (shown(UNKNOWN if row.function is None else row.function), file)
    if key == "type":
        return shown(row.type if row.type is not None else UNTYPED)
    if key == "domain":
        name = domain_names.get(row.domain)
        return "domain %d" % row.domain + (" " + shown(name) if name is not None else "")
    return file


def put_right(line, text, column):
    """Ends before `column`, or follows after one blank."""
    touches = line and len(line) + len(text) >= column
    return line.ljust(column - len(text)) + (" " if touches else "") + text


def put_size(line, text, column):
    """The unit is left-aligned: "400 B  "."""
    return put_right(line, text, column - 2) + "  " if text.endswith(" B") else put_right(line, text, column)


class Table:
    """A table as mtrace_report prints it, but that it cuts no path. `rows` are grouped and ranked."""
    COLUMNS = {  # of a comparison, while sampling: where the figures end, and their heads
        (False, False): ((10, 17, 27, 39), "      SIZE      %     COUNT     AT PEAK"),
        (True, False): ((11, 23, 32, 40), "       DIFF        SIZE     DIFF   COUNT"),
        (False, True): ((10, 23, 31, 43), "      SIZE           +-   COUNT     AT PEAK"),
        (True, True): ((11, 24, 33, 41), "       DIFF           +-     DIFF   COUNT")}

    def __init__(self, moment, rows, key, view="live", old=None, is_diff=False):
        self.moment, self.key, self.view, self.is_diff = moment, key, view, is_diff
        self.total = Row()
        for row in rows:
            self.total.add(row)
        self.rows = [row for row in ranked(rows, is_diff) if not is_diff or row.size_diff or row.count_diff]
        self.interval = max(moment.interval, old.interval if old else 0)
        self.error_interval = self.interval if view == "live" else 0
        self.ends, self.titles = self.COLUMNS[is_diff, self.error_interval != 0]

    def figures(self, row):
        ends, line = self.ends, ""
        if self.is_diff:
            line = put_size(line, table_size(abs(row.size_diff), "-" if row.size_diff < 0 else "+"), ends[0])
        else:
            line = put_size(line, table_size(row.size), ends[0])
        if self.error_interval:
            line = put_size(line, table_size(standard_error(row, self.error_interval), "+-"), ends[1])
        elif self.is_diff:
            line = put_size(line, table_size(row.size), ends[1])
        else:
            line = put_right(line, percent(row.size, self.total.size), ends[1])
        if self.is_diff:
            line = put_right(line, signed(row.count_diff), ends[2])
            line = put_right(line, "{:,}".format(row.count), ends[3])
        else:
            line = put_right(line, "{:,}".format(row.count), ends[2])
            line = put_size(line, table_size(row.peak_size), ends[3])
        return line + (" *" if row.dropped_count > 0 else "  ")

    def head(self, top):
        total, count = self.total, len(self.rows)
        line = "mtrace: %s in %s" % (table_size(total.size), counted(total.count, "block"))
        if self.is_diff:
            sign = "-" if total.size_diff < 0 else "+"
            line += ", %s in %s" % (table_size(abs(total.size_diff), sign), signed(total.count_diff))
        else:
            line += WORDS[self.view]
            line += ", %s at the peak" % table_size(self.moment.peak) if self.view == "live" else ""
        part = "{:,} of {:,} {}{}{}".format(top, count, "changed " if self.is_diff else "", self.key,
                                            "" if count == 1 else "s")
        columns = gdb.parameter("width")
        return line + ("\n        " if columns and len(line) + 2 + len(part) > columns else "; ") + part

    def lines(self, top):
        top = min(top or len(self.rows), len(self.rows))
        yield self.head(top)
        column = self.ends[3] + 2
        yield self.titles.ljust(column) + "WHERE"
        for row in self.rows[:top]:
            yield self.figures(row) + where(row, self.key, self.moment.domain_names)
            if row.failed_count > 0:
                yield " " * (column + 3) + "%s failed, the largest of %s" % (
                    counted(row.failed_count, "allocation"), table_size(row.failed_size))
        if top < len(self.rows):
            other = Row()
            for row in self.rows[top:]:
                other.add(row)
            yield self.figures(other) + "<other: %s>" % counted(len(self.rows) - top, self.key)
        yield self.footer()
        for note in self.moment.all_notes():
            yield "mtrace: note: " + note

    def footer(self):
        said = "mtrace's own memory " + python_size(int(self.moment.tracer.g["own_memory"]))
        if self.interval:
            said += "; sampled every %s: figures are estimates" % python_size(self.interval)
            said += ", +- one standard error" if self.error_interval else ""
        return said + self.moment.caveats


# ------------------------------------------------------------------------------------------------------- blocks

class Block:
    def __init__(self, start, size, is_tracked, account, serial):
        self.start, self.size, self.is_tracked, self.account, self.serial = start, size, is_tracked, account, serial
        self.offset = 0  # of the address in question


class Blocks:
    """The trace table: a walk over all slots, as an address inside of a block has no hash."""

    def __init__(self, tracer):
        self.tracer = tracer
        self.pointer = tracer.g["slots"]
        kind = self.pointer.type.target().strip_typedefs()
        self.layout = Layout(kind)
        self.low_bits = 8 * next(field.type.sizeof for field in kind.fields() if field.name == "size_low")
        self.next_bits = tracer.constant("MTRACE_TRACKED_BIT_")
        self.tracked = 1 << self.next_bits
        self.is_wide = tracer.constant("MTRACE_KEY_BITS_", 0) != 0
        if self.is_wide:
            self.key_bits = tracer.constant("MTRACE_KEY_BITS_")
            self.long_key = 1 << tracer.constant("MTRACE_LONG_KEY_BIT_")
            self.long_bits = tracer.constant("MTRACE_LONG_ACCOUNT_BITS_")

    def untagged(self, address):
        """Without the tag that the top byte of an address may hold."""
        return address & ((1 << self.tracer.constant("MTRACE_TAG_SHIFT_")) - 1) if self.is_wide else address

    def decode(self, slot):
        """(key, size, account)."""
        key, account, high = slot["key"], slot["account"], 0
        if self.is_wide and account & self.long_key:
            high = (account ^ self.long_key) >> self.long_bits
            account &= (1 << self.long_bits) - 1
        elif self.is_wide:
            high = key >> self.key_bits
            key &= (1 << self.key_bits) - 1
        size = slot["size_low"] | (slot["size_next"] & self.tracked - 1) << self.low_bits
        return key, size | high << self.low_bits + self.next_bits, account

    def __iter__(self):
        tracer, size, number = self.tracer, self.layout.size, 0
        piece = size * 256
        nothing = bytes(piece)
        for data in read_pieces(int(self.pointer), tracer.slots * size, piece * 256, "the trace table"):
            for at in range(0, len(data), piece):
                part = data[at:at + piece]
                if part != nothing:  # most of the table was never touched
                    for i, slot in self.layout.records(part):
                        key, length, account = self.decode(slot)
                        if account >= tracer.first:
                            yield number + i, Block(key, length, slot["size_next"] & self.tracked != 0, account, 0)
                number += len(part) // size

    def serial(self, number):
        serials = self.tracer.g["serials"]
        return int((serials + number).dereference()) if int(serials) else 0


def read_pieces(address, size, piece, what):
    for at in range(0, size, piece):
        yield read_all(address + at, min(piece, size - at), what)


def find(tracer, address, accounts):
    """The blocks that the address is in, the innermost first as in mtrace_find_containing, and the heap block that
    ends shortly before it."""
    blocks, inside, before = Blocks(tracer), [], None
    plain = blocks.untagged(address)
    for number, block in blocks:
        at = address if block.is_tracked else plain
        block.offset = at - block.start
        if at == block.start or block.start < at < block.start + block.size:
            block.serial = blocks.serial(number)
            inside.append(block)
        elif not block.is_tracked and 0 <= block.offset - block.size < BEHIND:
            if before is None or block.start > before.start:
                block.serial, before = blocks.serial(number), block
    return sorted(inside, key=lambda block: (-block.start, block.size, block.is_tracked,
                                             accounts.get(block.account, {}).get("domain"))), before


def position(block):
    """"24 bytes into a block of 80 B at 0x1234", as the console of mtrace_ext.h says it."""
    kind = "%s of %s" % ("a tracked key" if block.is_tracked else "a block", python_size(block.size))
    if block.offset == 0:
        return kind
    past = block.offset - block.size
    words = "%s into" % counted(block.offset, "byte") if past < 0 else "right behind" if past == 0 else (
        "%s behind" % counted(past, "byte"))
    return "%s %s at 0x%x" % (words, kind, block.start)


def describe(tracer, address, block, accounts):
    """The lines that tell of a block."""
    account = accounts.get(block.account)
    if account is None:
        tracer.fault("no account %d" % block.account)
        account = {"location": 0, "node": 0, "domain": 0}
    row = Row(*tracer.place(account["location"]), account["domain"])
    said = "0x%x: %s" % (address, position(block))
    said += ", " + where(row, "domain", tracer.domain_names) if row.domain else ""
    yield said + (", allocation %d" % block.serial if block.serial else "")
    yield "  " + where(row, "line", {}) + (
        "" if row.type is None else (", type " if row.function else " type ") + shown(row.type))
    for scope in tracer.scopes(account["node"]):
        yield "  from " + where(Row(*scope), "line", {})
    if account.get("is_retired"):
        yield "  from before mtrace_clear(): in no other figure"


def address_of(text):
    """An expression's address: of a pointer or a number its value, of any other object where it stands."""
    value = gdb.parse_and_eval(text)
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_REF, getattr(gdb, "TYPE_CODE_RVALUE_REF", gdb.TYPE_CODE_REF)):
        value = value.referenced_value()
        kind = value.type.strip_typedefs()
    if kind.code not in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM):
        if value.address is None:
            raise Problem("%s %s" % (text, "has been optimized out" if value.is_optimized_out else
                                     "is no address, and has none"))
        value = value.address
    return int(value) & ((1 << 8 * gdb.lookup_type("char").pointer().sizeof) - 1)


# ----------------------------------------------------------------------------------------------------- commands

SAVED = {}  # name -> Moment, in the order of saving


def write(lines):
    for line in lines:
        try:
            gdb.write(line + "\n")
        except UnicodeError:  # the terminal has fewer characters
            gdb.write(line.encode("ascii", "backslashreplace").decode() + "\n")


def arguments(words, flags=()):
    """([name...], N, key, flag) of the words behind a command."""
    names, top, key, flag = [], 10, "line", None
    while words:
        word = words.pop(0)
        if word == "by":
            key = words.pop(0) if words else ""
            fitting = [name for name in KEYS if name.startswith(key)]
            if len(fitting) != 1:
                raise Problem("`by` takes one of %s" % ", ".join(fitting or KEYS))
            key = fitting[0]
        elif word.isdigit():
            top = int(word)
        elif word in flags:
            flag = word
        else:
            names.append(word)
    return names, top, key, flag


def saved(name):
    if name not in SAVED:
        raise Problem("nothing is saved as `%s`%s" % (name, "; there is: " + ", ".join(SAVED) if SAVED else
                                                      "; `mtrace save %s` does that" % name))
    return SAVED[name]


class Command(gdb.Command):
    """One command. What cannot be done is one line, and never Python's traceback."""
    NAME, COMPLETION = "", gdb.COMPLETE_NONE

    def __init__(self):
        super().__init__(self.NAME, gdb.COMMAND_DATA, self.COMPLETION)

    def invoke(self, argument, _):
        try:
            write(self.run(argument))
        except Problem as problem:
            raise gdb.GdbError("mtrace: %s" % problem) from None
        except gdb.MemoryError as error:
            raise gdb.GdbError("mtrace: %s: the memory is damaged, or the core file is of another program" %
                               str(error).lower()) from None
        except gdb.error as error:
            raise gdb.GdbError("mtrace: %s" % error) from None
        except (LookupError, ValueError, ArithmeticError, MemoryError, TypeError, struct.error) as error:
            raise gdb.GdbError("mtrace: the tracer's memory is damaged, or mtrace.h is not of the script's version "
                               "(%s: %s)" % (type(error).__name__, error)) from None


class TableCommand(Command):
    """A command with words to complete."""
    WORDS = ()

    def __init__(self):
        gdb.Command.__init__(self, self.NAME, gdb.COMMAND_DATA)

    def complete(self, text, word):
        words = text.split()
        before = words[-2:-1] if word else words[-1:]
        options = KEYS if before == ["by"] else (*self.WORDS, *(SAVED if "diff" in self.NAME else ()))
        return [option for option in options if option.startswith(word or "")]


class Top(TableCommand):
    """The rows that hold the most memory.
mtrace top [N] [by line|file|function|type|domain] [peak|total]
N is 10, and 0 shows all rows.
`peak` shows the bytes held when the program held the most, `total` all that was ever allocated.
The columns are those of mtrace_print_top."""
    NAME, WORDS = "mtrace top", ("by", "peak", "total")

    def run(self, argument):
        names, top, key, view = arguments(gdb.string_to_argv(argument), ("peak", "total"))
        if names:
            raise Problem("`%s`? mtrace top [N] [by KEY] [peak|total]" % names[0])
        moment, view = Moment(), view or "live"
        return Table(moment, group(seen_as(moment, view), key), key, view).lines(top)


class Prefix(Top):
    """Memory that mtrace.h traces, read from a process or a core file.
Alone it is `mtrace top`."""
    NAME = "mtrace"

    def __init__(self):
        gdb.Command.__init__(self, self.NAME, gdb.COMMAND_DATA, gdb.COMPLETE_NONE, True)

    def run(self, argument):
        if argument.strip():
            raise Problem("no command `%s`: there are top, diff, save, who, domains" % argument.split()[0])
        return super().run("")


class Diff(TableCommand):
    """The rows that changed, the largest change first, and their size now.
mtrace diff [NAME [NAME]] [N] [by line|file|function|type|domain]
Two names: between these moments of `mtrace save`. One name: from then to now.
No name: since the last `mtrace save`; if nothing was saved, since mtrace_set_baseline().
The name `baseline` always means mtrace_set_baseline()."""
    NAME, WORDS = "mtrace diff", ("by", "baseline")

    def run(self, argument):
        names, top, key, _ = arguments(gdb.string_to_argv(argument))
        if len(names) > 2 or len(names) == 2 and "baseline" in names:
            raise Problem("mtrace diff [NAME [NAME]] [N] [by KEY]: two names are two saved moments")
        if not names:
            names = [list(SAVED)[-1] if SAVED else "baseline"]
        old = None if names[0] == "baseline" else saved(names[0])
        new = saved(names[1]) if names[1:] else Moment()
        if old is None and not new.has_baseline:
            raise Problem("no baseline: mtrace_set_baseline() not called since the start or clear. "
                          "Here `mtrace save NAME` keeps a moment")
        yield "mtrace: changes %s" % ("from %s to %s" % tuple(names) if names[1:] else "since %s" % (
            names[0] if old else "the baseline"))
        rows = group(between(old, new) if old else since_baseline(new), key)
        yield from Table(new, rows, key, old=old, is_diff=True).lines(top)


class Save(Command):
    """Keep this moment for `mtrace diff`, until gdb ends.
mtrace save NAME
Nothing in the program's memory changes. A moment outlives its process or core file, so two runs can be compared."""
    NAME = "mtrace save"

    def run(self, argument):
        names, *_ = arguments(gdb.string_to_argv(argument))
        if len(names) != 1 or names[0] == "baseline":
            raise Problem("mtrace save NAME: a name with a letter, and not `by` or `baseline`")
        moment = Moment()
        SAVED.pop(names[0], None)  # the newest is the last
        SAVED[names[0]] = moment
        size, count = sum(row.size for row in moment.rows), sum(row.count for row in moment.rows)
        yield "mtrace: saved as %s: %s in %s held" % (names[0], table_size(size), counted(count, "block"))


class Who(Command):
    """The block that an address is in.
mtrace who EXPR
Shows its file, line, function, type, domain and serial, and the scopes around.
EXPR is a pointer or a number; of any other object its own address. An address may be anywhere in a block, or shortly
behind its end."""
    NAME, COMPLETION = "mtrace who", gdb.COMPLETE_EXPRESSION

    def run(self, argument):
        if not argument.strip():
            raise Problem("mtrace who EXPR: a pointer or an address")
        tracer = Tracer()
        try:
            address = address_of(argument)
        except gdb.error as error:
            raise Problem(error) from None
        tracer.read_places()
        accounts = dict(tracer.records(tracer.g["accounts"], tracer.account_end, "accounts"))
        inside, before = find(tracer, address, accounts)
        for block in inside or ([before] if before else []):
            yield from describe(tracer, address, block, accounts)
        if not inside and not before:
            yield "mtrace: no traced block there" + (
                ": one block per %s is traced" % python_size(tracer.interval) if tracer.interval else "")
        if tracer.faults:
            yield "mtrace: note: the tracer's memory is damaged: " + ", ".join(sorted(set(tracer.faults))[:3])


class Domains(Command):
    """Every domain, with its name: the bytes and blocks it holds, and its bytes at the peak.
mtrace domains"""
    NAME = "mtrace domains"

    def run(self, argument):
        if argument.strip():
            raise Problem("mtrace domains takes no argument")
        moment = Moment()
        yield from Table(moment, group(seen_as(moment, "live"), "domain"), "domain").lines(0)
        held = {row.domain for row in moment.rows if not row.is_empty()}
        empty = [number for number in sorted(moment.domain_names) if number not in held]
        if empty:
            yield "named, and nothing held: " + ", ".join(
                "%d %s" % (number, shown(moment.domain_names[number])) for number in empty)


for command in (Prefix, Top, Diff, Save, Who, Domains):
    command()
