"""Doxygen's view of a header: reference.py HEADER prints it, for docs/Doxyfile.

The headers have plain comments. A function, type or macro gets the comment right above it or its group of lines, or
the one behind it. A macro without one gets the last comment of its section that names it. A function without a
contract gets the last contract of its section that names it. Sections are groups. Left out are private names, which
end in "_", bodies, the implementation, and switches, which are macros that the manual names. All lines keep their
numbers. Names of the API in comments become links, so a name that does not exist is a warning."""
import html
import re
import sys
import textwrap

PUBLIC = r"\b(?:mtrace|MTRACE|MT)_\w*[a-zA-Z0-9]\b(?!\.h\b)"
PRIVATE = re.compile(r"_$|_H$|_IF_[01]$|^MTRACE_.*[a-z]")
BANNER = re.compile(r"/\* =+ \*/\n/\* \[(?:SECTION|CHAPTER)\] (.*?) *\*/\n/\* =+ \*/")
PARENTHESES = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
PART = re.compile(  # a comment, a macro, a type, a function; else an empty line
    r"(?P<comment>/\*.*?\*/)|^#define (?P<macro>\w+)(?:[^\n]*\\\n)*[^\n/]*|"
    r"^typedef (?:struct|enum) \w+ \{(?P<body>.*?)^\} (?P<type>\w+);|^enum \{(?P<values>[^}]*)\};|"
    r"^typedef [^;{]*?[ *(](?P<typedef>\w+)(?:\)\([^;]*)?;|"
    r"^(?:MTRACE_\w*API_? |static inline )[^;(]*?(?P<function>\w+)(?:\([^;]*|\[1\])?;|\n(?=\n)", re.M | re.S)
FIELDS = {  # that mean the same everywhere
    "file": "The name of the file.", "function": "The name of the function.", "type": "The name of the type.",
    "line": "The number of the line.", "domain": "The domain.", "write": "The callback for the text.",
    "user": "Is passed to the callback.", "write_user": "Is passed to write.",
}


def blank(text):
    return "\n" * text.count("\n")


def without_implementation(text):
    """Without what an #if asks the implementation for."""
    out, depth, since = [], 0, 0
    for line in text.split("\n"):
        directive = "".join(re.findall(r"^# *(if|endif)", line))
        depth += directive == "if"
        if directive == "if" and not since and re.search(r"MTRACE_\w*IMPLEMENT", line):
            since = depth
        ends = directive == "endif" and since == depth
        out.append("#if 0" if since == depth and directive == "if" else "" if since and not ends else line)
        if directive == "endif":
            since = 0 if ends else since
            depth -= 1
    return "\n".join(out)


def without_bodies(text):
    text = re.sub(r"^MTRACE_OFF_(BEGIN|END)_$", "", text, flags=re.M)
    text = re.sub(r"\s*MTRACE_\w*OFF_" + PARENTHESES + "(?=;)", lambda found: blank(found[0]), text)
    return re.sub(r"/\*.*?\*/|\) \{(?P<body>\n.*?^)\}$",
                  lambda found: found[0] if found["body"] is None else ");" + blank(found["body"]), text,
                  flags=re.M | re.S)


def inline(text):
    """Escapes, `code` and links."""
    text = re.sub(r"[\\@%#$\"]|::", r"\\\g<0>", html.escape(text, quote=False))
    text = re.sub("`([^`]*)`", r"<tt>\1</tt>", text)
    return re.sub(r"(?<![\w/])((?:mtrace|MT)_\w*[a-zA-Z0-9]\b(?!\.h\b))(\.\w+)?",
                  lambda found: rf'\ref {found[0].replace(".", "::")} "{found[0]}"', text)


def render(comment):
    """A comment in one line of Doxygen's markup."""
    first, *rest = comment[2:-2].split("\n")
    margin = min([len(line) - len(line.lstrip()) for line in rest if line.strip()] or [0])
    out = []
    for paragraph in re.split(r"\n{2,}", "\n".join([first.strip(), *(line[margin:].rstrip() for line in rest)])):
        if re.fullmatch(r"[A-Z][A-Z ]+", paragraph):
            out.append(f"<h2>{paragraph.capitalize()}</h2>")
        elif re.search(r"^ {2}|\S {2,}\S", paragraph, re.M) and not re.search("^Errors:", paragraph, re.M):
            out.append("<pre>" + inline(textwrap.dedent(paragraph)).replace("\n", "<br>") + "</pre>")
        else:
            paragraph = re.sub(r"\n +", " ", paragraph)
            out.append(re.sub(r"(?:\n|^)(Errors|Cost|Context|Python|Source): ", r" \\par \1 \\ilinebr ",
                              inline(paragraph)).replace("\n", " "))
    return " <p> ".join(out).replace("</pre> <p> <pre>", "<br><br>")


def names_in(comment):
    """The public names in a text, also "mtrace_malloc_at, _calloc_at"."""
    names = set(re.findall(PUBLIC, comment))
    heads = {name[:at.start()] for name in names for at in re.finditer("_", name)}
    return names | {head + short for short in re.findall(r"(?<!\w)_\w+", comment) for head in heads}


def fields(text):
    """Of a struct or an enum: a comment is of the field before it in its line, else of the next one."""
    def document(found):
        if text[:found.start()].rpartition("\n")[2].strip():
            return f"/**< {render(found[0])} */" + blank(found[0])
        return blank(found[0]) + f"/** {render(found[0])} */"

    def complete(line, above):
        found = re.fullmatch(r"    (?:const )?(\w+) \**(\w+);", line)
        if not found or above.lstrip().startswith("/** "):
            return line
        kind, name = found.groups()
        counted = name.endswith("_count") and f"The number of {name[:-6]}s."
        said = FIELDS.get(name) or counted or re.match("mtrace_", kind) and f"See {kind}."
        return f"{line} /**< {inline(said)} */" if said else line

    text = re.sub(r"^ *\w+_ = .*$", "", text, flags=re.M)
    text = re.sub(r"/\*.*?\*/", document, text, flags=re.S)
    lines = text.split("\n")
    return "\n".join(map(complete, lines, ["", *lines]))


def view(text, prefix):
    manual, text = re.match(r"(/\*.*?\*/)(.*)", text, re.S).groups()
    switches = {name for name in names_in(manual) if name.startswith("MTRACE_")}
    page = "page ext mtrace_ext.h" if prefix else "mainpage mtrace.h"
    out = ["/** @file */ ", rf"/** @{page} \ilinebr {render(manual)} */", blank(manual)]
    text = BANNER.sub(r"/* @@\1 */\n\n", without_bodies(without_implementation(text)))
    above, contracts, loose, title, begins, at = "", [], False, "", 0, 0

    def end_section():
        """Only a section with something in it is a group. Comments that stand alone are about the section."""
        if any("/**" in part for part in out[begins + 1:]):
            group = prefix + re.sub(r"\W+", "_", title.split(" - ")[0].lower())
            about = " <p> ".join(render(comment) for comment, _, alone in contracts[::-1] if alone)
            out[begins] = rf"/** @defgroup {group} {title} \ilinebr {about} @{{ */"
            out.append("/** @} */ ")

    for part in PART.finditer(text):
        between, at = text[at:part.start()], part.end()
        out.append(between)
        if between.strip():
            loose = False
        if part[0].startswith("/* @@"):
            if title:
                end_section()
            title, begins, above, contracts, loose = part[0][5:-3], len(out), "", [], False
            out.append("")
        elif part["comment"]:
            if not text[text.rfind("\n", 0, part.start()) + 1:part.start()].strip():
                above, loose = part[0], True
                contracts.insert(0, [above, names_in(above), False])
            out.append(blank(part[0]))
        elif part.lastgroup is None:
            if loose:
                contracts[0][2] = True
            above, loose = "", False
            out.append(part[0])
        else:
            loose = False
            name = part["macro"] or part["type"] or part["typedef"] or part["function"] or ""
            if PRIVATE.search(name) or part["macro"] in switches:
                out.append(blank(part[0]))
                continue
            behind = re.match(r" *(/\*.*?\*/)", text[at:], re.S)
            said = [above]
            if part["macro"] and not above or part["function"] and "   Errors: " not in above:
                said += [text[text.find("   Errors: "):] if above else text for text, names, _ in contracts
                         if name in names and (part["macro"] or "   Errors: " in text)][:1]
            if behind and not any(said):
                said = [behind[1]]
            out.append(f"/** {' <p> '.join(map(render, filter(None, said)))} */ " * any(said))
            body = part["body"] or part["values"]
            plain = re.sub(r"^(MTRACE_\w*API_?|static inline) ", "", part[0])
            out.append(plain.replace(body, fields(body)) if body else plain)
    out.append(text[at:])
    end_section()
    return "".join(out) + "\n"


path = sys.argv[1]
sys.stdout.write(view(open(path, encoding="utf-8").read(), "ext_" * path.endswith("_ext.h")))
