"""declarations.py - reads the declarations of a C header, as far as lint needs it.

A small scanner, not a parser: comments and strings are blanked out, then the text is cut into
top-level declarations at ';' and at the closing brace of inline functions.
"""

import re


def blank(text):
    """The same text with comments, strings and preprocessor lines turned into spaces."""
    def spaces(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', spaces, text, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", spaces, text, flags=re.MULTILINE)
    return re.sub(r'\bextern\s+\{', spaces, text)


def scan(text):
    """(first line, last line, code) of each top-level declaration; lines count from 0."""
    code, depth, start = blank(text), 0, None
    line = 0
    for at, char in enumerate(code):
        if char == "\n":
            line += 1
            continue
        if char.isspace():
            continue
        if start is None:
            if char in "};":
                continue  # end of extern "C", stray semicolon
            start, start_line = at, line
        depth += (char in "{(") - (char in "})")
        ends = depth == 0 and (char == ";" or (char == "}" and is_function(code[start:at + 1])))
        if ends:
            yield start_line, line, " ".join(code[start:at + 1].split())
            start = None


def is_function(code):
    """True if code up to its closing brace is a function definition."""
    head = code.split("{", 1)[0]
    return bool(re.search(r"\)\s*(__attribute__\s*\(\(.*\)\)\s*)?$", head))


def is_declaration(code):
    """Worth a comment: not a forward declaration, not a call of a table macro."""
    if re.match(r"(struct|union|enum)\s+\w+\s*;$", code):
        return False
    return not re.match(r"(_Static_assert|static_assert|[A-Z][A-Z0-9_]*\s*\()", code)


def starts(lines, number):
    """First line of the paragraph (no blank line inside) that a line stands in."""
    while number > 0 and lines[number - 1].strip():
        number -= 1
    return number


def undocumented(text, strict):
    """(line, code) of each declaration that no comment speaks of.

    A comment may stand directly above, on the declaration's own lines (members of a struct), or at
    the head of its paragraph: neighbours that belong together share one. Strict, for public
    headers: a function needs its own.
    """
    lines = text.split("\n")
    for first, last, code in scan(text):
        if not is_declaration(code) or any("/*" in line for line in lines[first:last + 1]):
            continue
        above = first - 1
        while above >= 0 and re.match(r"\s*#", lines[above]):
            above -= 1  # a comment above an #ifdef counts
        if above >= 0 and lines[above].rstrip().endswith("*/"):
            continue
        if not strict and re.match(r"\s*/\*", lines[starts(lines, first)]):
            continue
        yield first + 1, code[:90]


def function_names(text):
    """(line, name) of each function that a header declares or defines."""
    for first, _, code in scan(text):
        code = re.sub(r"__attribute__\s*\(\(.*?\)\)+\s*", "", code)
        if code.startswith("typedef") or re.match(r"(struct|union|enum)\s+\w+\s*\{", code):
            continue
        match = re.match(r"[^{(=]*?(\w+)\s*\(", code)
        if match and is_declaration(code):
            yield first + 1, match.group(1)
