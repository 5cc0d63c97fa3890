"""Counts what tests/house.sh says, and holds the counts to its table, which comes on stdin."""
import collections
import glob
import itertools
import math
import re
import statistics
import sys
import textwrap

sys.path.insert(0, "bench")
sys.dont_write_bytecode = True
import reached  # noqa: E402

HEADERS = ("mtrace.h", "mtrace_ext.h")
COUNTS = {  # what a row of each kind counts
    "text": ("what/who/whose/which in 1,000 words", "% of sentences over 30 words", "dialect phrases"),
    "lines": ("lines",),
    "functions": ("functions", "lines, median", "lines, longest"),
    "names": ("functions", "types", "MT_ macros", "MTRACE_ switches"),
    "count": ("of them",),
}
LONG_SENTENCE, LONGEST_CHAPTER, SAME_LINES = 30, 1000, 4
DIALECT = re.compile(r"\b(straight way|whole way|wholly|passed over|(is|are) told|of late|who is alone|turned away|"
                     r"comes? to a line|its own way|so many|those of|that which|mended|meanwhile|lanes?|the house|"
                     r"blocks? that (came|comes?|went|goes))\b", re.I)
TOKEN = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


# ---------------------------------------------------------------------------------------------- texts

def markdown_lines(text):
    """(number, line); fenced code and tables are empty."""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        yield number, "" if fence or fenced or line.lstrip().startswith("|") else line.lstrip("#")
        if line.startswith("#"):
            yield number, ""


def comment_lines(text):
    """(number, line) of each comment, without the indentation that its lines share; lines of code are empty."""
    for found in TOKEN.finditer(text):
        if found[0].startswith("/*"):
            number = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start()) + 2
            for number, line in enumerate((" " * column + found[0][3:-2]).split("\n"), number):
                line = re.sub(r"^ {0,%d}" % column, "", line.rstrip())
                code = re.match(r"#|.*[{}]$", line.strip())
                yield number, "" if code else re.sub(r"^\[(?:SECTION|CHAPTER)\] [A-Z ]*[A-Z]\b( - )?", "", line)
            yield number, ""


def paragraphs(name, text):
    """(number, text) of each, items of lists and rows of tables apart. Left out are blocks of code: after an empty line,
    4 columns to the right of the text around."""
    number, words, blank, code, margin = 0, "", True, False, 0
    for at, line in (markdown_lines if name.endswith(".md") else comment_lines)(text + "\n"):
        depth = len(line) - len(line.lstrip())
        empty = not re.search("[A-Za-z]", line)
        if blank and not empty:
            margin = min(margin, depth)
            code = depth >= margin + 4
        item = not code and re.match(r" *([-*]|\d+\.) +|(Errors|Cost|Context|Python):", line)
        if item and item[1]:
            margin = item.end()
        if words and (empty or item or re.search(r"\S {2,}\S", line)):
            yield number, words
            words = ""
        if not empty and not code:
            number = number if words else at
            words += " " + (line[item.end():] if item else line).strip()
        blank = empty


def sentences(name, text):
    """(number, sentence, its words). Of a fragment, which has no full stop, the sentence is empty."""
    for number, paragraph in paragraphs(name, text):
        plain = re.sub(r"`+[^`]*`+", "X", re.sub(r"\]\([^)]*\)", "]", paragraph))
        plain = re.sub(r"\b(e\.g|i\.e|etc|cf|vs|al)\.", r"\1", plain)
        for piece in re.split(r"(?<=[.!?])[)\"'*\]]*\s+", plain.strip()):
            words = [word for word in piece.split() if re.search("[A-Za-z0-9]", word)]
            whole = len(words) > LONG_SENTENCE or len(words) > 2 and re.search(r"[.!?:][)\"'*\]]*$", piece)
            yield number, piece if whole else "", words


def dialect(name, text):
    return [(number, found[0]) for number, paragraph in paragraphs(name, text)
            for found in DIALECT.finditer(re.sub(r"`[^`]*`", "X", paragraph))]


# ----------------------------------------------------------------------------------------------- code

def code_of(text):
    """The same lines without comments and without the text of strings."""
    return TOKEN.sub(lambda found: re.sub(r"[^\n]" if found[0][0] == "/" else r"[^\n\"']", " ", found[0]), text)


def functions(code):
    """(name, first line, last line, lines with #if and its like) of each function as clang-format writes it: "{" ends
    the line before its body, "}" in column 0 ends the body."""
    head, start, name, conditionals, goes_on = [], 0, "", [], False
    for number, line in enumerate(code.split("\n"), 1):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if directive or goes_on:
            goes_on = line.endswith("\\")
            if start and directive and re.match("if|el|endif", directive[1]):
                conditionals.append(number)
        elif start and line.startswith("}"):
            yield name, start, number, conditionals
            head, start = [], 0
        elif not start:
            head = head + [line] if line.strip() else []
            begins = re.search(r"(\w+)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)[\s\w]*\{(\}?)$", " ".join(head))
            if begins and not line.startswith("extern"):
                start = number - next((back for back, above in enumerate(head[::-1]) if above[0] != " "), 0)
                name, conditionals = begins[1], []
                if begins[2]:
                    yield name, start, number, []
                    start = 0
            if re.search(r"[;{}]$", line):
                head = []


def public_names(code):
    """Four sets, as COUNTS has them; a switch is a name that an #if asks for."""
    names = set(re.findall(r"\bmtrace_\w*[a-z0-9]\b", code))
    types = set(re.findall(r"^(?:\}|struct|typedef [^;{]*?[ *(])\s?(mtrace_\w*[a-z0-9])\b(?=;|\)\(| \{)", code, re.M))
    asked = " ".join(re.findall(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b((?:.*\\\n)*.*)", code, re.M))
    return [names - types, types, set(re.findall(r"^\s*#\s*define (MT_\w*[A-Z0-9])\b", code, re.M)),
            set(re.findall(r"\bMTRACE(?:_\w*[A-Z0-9])?\b", asked)) - {"MTRACE_H", "MTRACE_EXT_H"}]


def core_names(texts):
    core, ext = (set(re.findall(r"\b(?:mtrace|MTRACE)_\w*_\b", code_of(texts[name]))) for name in HEADERS)
    return core & ext


def swappable(texts):
    """"name a b" for each public function with two arguments that a compiler takes in either order on some machine."""
    of_32_bits = {"mtrace_key_type": "uint32_t", "size_t": "uint32_t", "uintptr_t": "uint32_t"}
    of_64_bits = {"mtrace_key_type": "uint32_t", "size_t": "uint64_t", "uintptr_t": "uint64_t"}
    result = set()
    for header in HEADERS:
        for name, arguments in re.findall(r"^(?:MTRACE_(?:EXT_)?API_?|static inline)\b[^;{()]*?\b(mtrace_\w*[a-z0-9])\("
                                          r"((?:[^()]|\([^()]*\))*)\)", code_of(texts[header]), re.M):
            pairs = re.findall(r"\s*((?:[^,()]|\([^()]*\))*?)\s*(\w+)\s*(?:,|$)", arguments)
            for (one, a), (other, b) in itertools.combinations(pairs, 2):
                if any(same.get(one, one) == same.get(other, other) for same in (of_32_bits, of_64_bits)):
                    result.add(f"{name} {a} {b}")
    return result


def measure(texts, tests):
    """(kind, name) -> (counts, what else to say)."""
    result, conditionals, same, split, known = {}, [], [], [], [set()] * 4
    for name, text in texts.items():
        parts = list(sentences(name, text))
        words = [word for *_, of_it in parts for word in of_it]
        asked = len(re.findall(r"\b(what|who|whose|which)\b", " ".join(words), re.I))
        lengths = [len(of_it) for _, sentence, of_it in parts if sentence] or [0]
        phrases = dialect(name, text)
        result["text", name] = (
            (asked * 1000 / len(words), sum(n > LONG_SENTENCE for n in lengths) * 100 / len(lengths), len(phrases)),
            f"{len(words)} words, {len(lengths)} sentences" + "".join(f", line {at}: {said}" for at, said in phrases[:3]))
    for name in HEADERS:
        result["lines", name] = (texts[name].count("\n"),), ""
        _, *parts = re.split(r"^/\* +\[(?:SECTION|CHAPTER)\] ([A-Z ]*[A-Z])\b", texts[name], flags=re.M)
        for title, part in zip(parts[::2], parts[1::2]):
            key, lines = ("lines", f"{name} {title}"), part.count("\n")
            if key in result:
                split.append(key[1])
                lines += result[key][0][0]
            result[key] = (lines,), ""
        code, bodies = code_of(texts[name]), {}
        every, lines = list(functions(code)), texts[name].split("\n")
        sizes = [(end - start + 1, function) for function, start, end, _ in every]
        result["functions", name] = (len(sizes), statistics.median_high(sizes)[0], max(sizes)[0]), max(sizes)[1]
        for function, start, end, inside in every:
            conditionals += [f"{name}:{line}" for line in inside]
            body = " ".join(" ".join(lines[start - 1:end]).partition("{")[2].split())
            if bodies.setdefault(body, function) != function and end - start > SAME_LINES:
                same.append(f"{bodies[body]} and {function}")
        public = [found - before for found, before in zip(public_names(code), known)]
        result["names", name] = tuple(map(len, public)), ""
        known = public
    said = [f"{name}:{at}: {phrase}" for name, text in tests.items() for at, phrase in dialect(name, text)]
    for what, found in (("dialect phrases in comments of tests", said),
                        ("lines with #if or its like inside of functions", conditionals),
                        ("pairs of functions with one body", same), ("chapters in more than one place", split)):
        result["count", what] = (len(found),), ", ".join(found[:3])
    return result


# ---------------------------------------------------------------------------------------------- limits

def read_table(file):
    """(kind, name) -> [(limit, aim)] in the order of the rows, and what is allowed: names of the core, swaps."""
    rows, allowed, chapters = {}, {"core": set(), "swap": set()}, {header: [] for header in HEADERS}

    def add(kind, words):
        pairs = [[float(number) for number in word.split(">")] for word in words[:len(COUNTS[kind])]]
        rows[kind, " ".join(words[len(pairs):])] = [(pair[0], pair[1] if pair[1:] else math.inf) for pair in pairs]

    for line in file:
        kind, *words = line.split() or "#"
        if kind == "core":
            allowed[kind] |= set(words)
        elif kind == "swap":
            allowed[kind] |= set(" ".join(words).rstrip(",").split(", "))
        elif kind == "chapters":
            chapters[words[0]] += words[1:]
        elif kind != "#":
            add(kind, words)
    for header, words in chapters.items():
        for chapter in " ".join(words).split(", "):
            limit, title = chapter.split(" ", 1)
            add("lines", [limit, header, *title.split()])
    for (kind, name), limits in rows.items():
        if kind == "text":
            rows[kind, name] = [(limit, aim) for (limit, _), (aim, _) in zip(limits, rows["text", "*"])]
    return rows, allowed


def titles(keys, header):
    return [name[len(header) + 1:] for kind, name in keys if kind == "lines" and name.startswith(header + " ")]


def judge(texts, measured, rows, allowed):
    """(name of a check, why it fails or "", what it found)."""
    for key in {**measured, **rows}.keys() - {("text", "*")}:
        kind, name = key
        limits = rows.get(key) or kind == "text" and rows["text", "*"] or ()
        counts, more = measured.get(key, ((), ""))
        shown = [f"{round(value, 1):g} {label}, at most {limit:g}" + f", aim {aim:g}" * (aim < limit)
                 for value, label, (limit, aim) in zip(counts, COUNTS[kind], limits)]
        why = [text for text, value, limit in zip(shown, counts, limits) if value > limit[0]]
        if not limits or not counts:
            why = ["not in the table" if counts else "in the table alone"]
        elif kind == "lines" and name not in HEADERS and limits[0][0] > LONGEST_CHAPTER:
            why = [f"the table gives a chapter more than {LONGEST_CHAPTER} lines"]
        yield f"{kind} {name}", "; ".join(why), "; ".join([*shown, more]).strip("; ")
    for header in HEADERS:
        pairs = itertools.zip_longest(titles(measured, header), titles(rows, header))
        differ = [f"{found} where the table has {wanted}" for found, wanted in pairs if found != wanted]
        yield f"order of chapters in {header}", "".join(differ[:1]), "the table's"
    for what, used, listed in (("names of the core in mtrace_ext.h", core_names(texts), allowed["core"]),
                               ("pairs of arguments that can be swapped", swappable(texts), allowed["swap"])):
        why = [f"{name} is not in the list" for name in sorted(used - listed)]
        why += [f"{name} is in the list alone" for name in sorted(listed - used)]
        yield what, "; ".join(why[:3]), f"{len(used)} of them"


def print_table(measured, rows, core, swaps):
    def numbers(key):
        for at, value in enumerate(measured[key][0]):
            limit, aim = rows.get(key, rows["text", "*"] if key[0] == "text" else [(math.inf, math.inf)] * 4)[at]
            least = math.ceil(value / 10) * 10 if key[0] == "lines" else math.ceil(value)
            tight = min(limit, max(least, aim if aim < math.inf else 0))
            yield f"{tight:g}" + f">{aim:g}" * (aim < tight and key[0] != "text")

    for kind, labels in COUNTS.items():
        print(f"# {kind}:", ", ".join(labels))
        for key in [("text", "*")] * (kind == "text") + [key for key in measured if key[0] == kind]:
            cells = [f"{limit:g}" for limit, _ in rows[key]] if key[1] == "*" else list(numbers(key))
            above = kind != "text" or key[1] == "*" or cells != [f"{aim:g}" for aim, _ in rows["text", "*"]]
            if above and (kind != "lines" or key[1] in HEADERS):
                print(kind, *(f"{cell:8}" for cell in cells), key[1])
    lists = {f"chapters {header} ": ", ".join(
        f"{next(numbers(('lines', f'{header} {title}')))} {title}".replace(" ", "\xa0")
        for title in titles(measured, header)) for header in HEADERS}
    lists["swap "] = ", ".join(swap.replace(" ", "\xa0") for swap in sorted(swaps))
    for start, text in {**lists, "core ": " ".join(sorted(core))}.items():
        print(textwrap.fill(text, 118, initial_indent=start, subsequent_indent=start).replace("\xa0", " "))


FAULTS = (  # appended to a file, the check that must find it, and a part of its words
    ("README.md", "\n\nWhat one is, who has, whose it is, which it was." * 200, "text README.md", "what/who"),
    ("docs/FAQ.md", ("\n\nIt is" + " and one more word" * 10 + ".") * 200, "text docs/FAQ.md", "over 30"),
    ("docs/NEW.md", "It is passed\nover.", "text docs/NEW.md", "dialect"),
    ("CHANGELOG.md", "\n- It is wholly\n  new.", "text CHANGELOG.md", "dialect"),
    ("tests/test_text.c", "/* The blocks that\n   came. */\n", "count dialect phrases", "of them"),
    ("mtrace.h", "/* A block that came is\n   wholly free. */\n" * 99, "text mtrace.h", "dialect"),
    ("mtrace.h", "/* [SECTION] TYPES */" + "\n" * 9000, "lines mtrace.h TYPES", "lines"),
    ("mtrace.h", "", "lines mtrace.h", "lines"),
    ("mtrace_ext.h", "/* [SECTION] NEW */\n", "lines mtrace_ext.h NEW", "not in the table"),
    ("mtrace_ext.h", "", "order of chapters in mtrace_ext.h", "NEW"),
    ("mtrace_ext.h", "/* [SECTION] FILES */\n" * 20, "count chapters", "of them"),
    ("mtrace.h", "int a_(int (*a)(int),\n    int b) {\n" + "    a();\n" * 99 + "}\n", "functions mtrace.h", "longest"),
    ("mtrace_ext.h", "int b_(void) {\n#ifdef X\n    b();\n#endif\n}\n", "count lines with #if", "of them"),
    ("mtrace_ext.h", "".join(f"int c{i}_(void) {{\n    c();\n\n\n\n}}\n" for i in range(60)), "count pairs", "of them"),
    ("mtrace.h", "".join(f"MTRACE_API int mtrace_d{i}(void);\n" for i in range(99)), "names mtrace.h", "functions"),
    ("mtrace_ext.h", "".join(f"#define MT_E{i}(a) \\\n    a\n" for i in range(99)), "names mtrace_ext.h", "macros"),
    ("mtrace_ext.h", "".join(f"#ifdef MTRACE_F{i}\n#endif\n" for i in range(99)), "names mtrace_ext.h", "switches"),
    ("mtrace_ext.h", "int g = mtrace_g_ + MTRACE_CAST_(0);\n", "names of the core", "is not in the list"),
    ("mtrace.h", "MTRACE_API int mtrace_a(int (*b)(int), const char *c,\n    const char *d);\n", "pairs", "mtrace_a c d"),
    ("mtrace_ext.h", "static inline int mtrace_e(size_t f, int i, uint32_t g) {\n}\n", "pairs", "mtrace_e f g"),
)


def main():
    option = "".join(sys.argv[1:2])
    names = ["README.md", "CHANGELOG.md", *sorted(glob.glob("docs/*.md")), *HEADERS]
    texts, tests = ({name: open(name, encoding="utf-8").read() for name in some} for some in (
        names, sorted(glob.glob("tests/**/*.[ch]", recursive=True) + glob.glob("tests/**/*.cpp", recursive=True))))
    if option == "--show":
        for name in sys.argv[2:] or [*names, *tests]:
            for number, phrase in dialect(name, {**texts, **tests}[name]):
                print(f"{name}:{number}: {phrase}")
            for number, sentence, words in sentences(name, texts.get(name, "")):
                if sentence and len(words) > LONG_SENTENCE:
                    print(f"{name}:{number}: {len(words)} words: {sentence}")
        return 0
    rows, allowed = read_table(sys.stdin)
    measured = measure(texts, tests)
    measured["count", "functions of mtrace.h that one MT_MALLOC reaches"] = (len(reached.by_malloc()),), ""
    if option == "--tighten":
        print_table(measured, rows, core_names(texts), swappable(texts))
        return 0
    spoilt, spoilt_tests = collections.defaultdict(str, texts), collections.defaultdict(str, tests)
    for name, fault, *_ in FAULTS:
        (spoilt_tests if name.startswith("tests/") else spoilt)[name] += fault
    said = list(judge(spoilt, measure(spoilt, spoilt_tests), rows, allowed))
    checks = sorted(judge(texts, measured, rows, allowed))
    for name, _, check, part in FAULTS:
        seen = any(other.startswith(check) and part in why for other, why, _ in said)
        checks.append((f"a fault in {name}: {check}, {part}", "" if seen else "not found", "found"))
    for name, why, found in checks:
        print(f"not ok {name}: {why} ({found})" if why else f"ok {name}: {found}")
    return any(why for _, why, _ in checks)


if __name__ == "__main__":
    sys.exit(main())
