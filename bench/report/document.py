"""Tables in Markdown, and their places in a document of words.

A table stands between <!-- NAME --> and <!-- /NAME --> and is replaced; the words around it are
not touched.
"""
import re
import sys


def table(header, rows, align):
    """A Markdown table; align is a string of l and r."""
    rule = ["---:" if side == "r" else "---" for side in align]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def replace_tables(text, tables):
    for name, content in tables.items():
        pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        block = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
        text, n_replaced = pattern.subn(lambda _, block=block: block, text)
        if n_replaced != 1:
            sys.exit(f"{name}: {n_replaced} places in the document, want one")
    return text
