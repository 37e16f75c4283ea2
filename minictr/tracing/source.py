"""The source says which statements a function has, which comments at their ends, which equations its docstring."""

import ast
import functools
import inspect
import linecache
import re
import sys
import tokenize

BLOCKS = (ast.stmt, ast.ExceptHandler, ast.match_case)          # what can hold statements


@functools.cache
def statements_of(code):
    """Return the simple statements of a function: {line number: (statements on it,)}, and at 0 the ``def`` itself.

    The lines of one statement all have the same tuple.

    Raises: ValueError where the source cannot be read.
    """
    lines = linecache.getlines(code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        lines, tree = [], ast.Module([], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name and code.co_firstlineno == min(
                part.lineno for part in (node, *node.decorator_list)):
            break
    else:
        raise ValueError(f"the source of {code.co_name} in {code.co_filename} cannot be read, and a trace shows each "
                         "array with its line: put the class into a file, or into a notebook's cell")
    by_line, blocks = {0: (node,)}, [node]
    while blocks:
        for child in ast.iter_child_nodes(blocks.pop()):
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)) or not isinstance(child, BLOCKS):
                continue
            if not any(isinstance(inner, ast.stmt) for inner in ast.walk(child) if inner is not child):
                statements = (*by_line.get(child.lineno, ()), child)
                by_line.update(dict.fromkeys(range(child.lineno, child.end_lineno + 1), statements))
            else:
                blocks.append(child)
    return by_line


@functools.cache
def _comments(file):
    """The comments at the ends of a file's lines: {line number: text}."""
    lines = iter(linecache.getlines(file))
    return {token.start[0]: token.string.lstrip("# ") for token in tokenize.generate_tokens(lambda: next(lines, ""))
            if token.type == tokenize.COMMENT and token.line[:token.start[1]].strip()}


AXES = re.compile(r"\(((?:[\w' .*+-]|\([^()]*\))*,[^=]*?)\)(?: each)?(?:\s+|$)(.*)")


def comment_of(file, statement):
    """Return (shape claimed, equation) of a statement's comment: "(B, k)  w . x" gives ("(B, k)", "w . x")."""
    lines = range(statement.lineno, statement.end_lineno + 1)
    if isinstance(statement, ast.FunctionDef):
        lines = range(statement.lineno, statement.lineno + 1)
    text = " ".join(_comments(file)[line] for line in lines if line in _comments(file))
    axes = AXES.fullmatch(text)
    return (f"({axes[1]})", axes[2]) if axes else ("", text)


AUTHORS = re.compile(r"([A-Z][\w-]+(?: et al\.|(?:, [A-Z][\w-]+)* & [A-Z][\w-]+)?),?(?: [A-Z]+)? (\d{4})")
NUMBER = re.compile(r"(?:eq\. \d[\d, -]*\d|eq\. \d|lemma [\d.]*\d|algorithm \d+)")


@functools.cache
def equations_of(cls):
    """Return the equations of a class's docstring before its backward, as [(left side, right side, citation)].

    An equation without a number of its own belongs to the one before it; the first ones to the one after them.
    """
    text = inspect.cleandoc(cls.__doc__ or "").partition("Backward")[0]     # from Python 3.13 on it is clean already
    authors = AUTHORS.search(getattr(sys.modules.get(cls.__module__), "__doc__", None) or "")
    authors, found, citation, uncited = " ".join(authors.groups()) if authors else "", [], "", []
    for line in text.splitlines():
        new_authors, number = AUTHORS.search(line), NUMBER.search(line)
        authors = " ".join(new_authors.groups()) if new_authors else authors
        if number:
            citation = f"{authors}, {number[0]}".lstrip(", ")
            line = line[:line[:number.start()].rfind("(")]
        parts = re.split(r"\s{2,}", re.sub(r"\s+= ", " = ", line.strip()))
        sides = [part.rstrip(",. ").split(" = ", 1) for part in parts if " = " in part] if line[:4].isspace() else []
        uncited += sides if not citation else []
        if citation:
            found += [(left, right, citation) for left, right in (*uncited, *sides)]
            uncited = []
    return found


@functools.cache
def derivatives_of(cls):
    """Return the equations that stand after "Backward" in a class's docstring, as [(left side, right side)].

    >>> from minictr.layers import Dense
    >>> derivatives_of(Dense)
    [('dW', 'x^T dout'), ('db', 'sum_b dout'), ('dx', 'dout W^T')]
    """
    text = inspect.cleandoc(cls.__doc__ or "").partition("Backward")[2]
    text = re.split(r"\n(?:Parameters|Shapes|Source|Units)|\n *>>>", text)[0]
    lines = re.sub(r"[ ]+= ", " = ", text).splitlines()
    parts = [part.strip(",. ") for line in lines for part in re.split(r"\s{2,}", line)]
    return [tuple(part.split(" = ", 1)) for part in parts if re.match(r"d[^ ]+ = ", part)]


def computes(statement):
    """Return whether a statement works something out, rather than fetch what there is already or pass it on."""
    return isinstance(statement, (ast.AugAssign, ast.Return)) or (isinstance(statement, ast.Assign) and any(
        isinstance(node, (ast.Call, ast.BinOp)) for node in ast.walk(statement)))


def targets_of(statement):
    """Return the names that a statement assigns ("self.grads" for what it puts there), and whether it does in place."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        targets = [statement.target] if isinstance(statement, (ast.AugAssign, ast.AnnAssign)) else []
    targets = [*targets, *(keyword.value for node in ast.walk(statement) if isinstance(node, ast.Call)
                           for keyword in node.keywords if keyword.arg == "out")]
    in_place = not isinstance(statement, (ast.Assign, ast.AnnAssign))
    names = []
    while targets:
        target = targets.pop(0)
        if isinstance(target, (ast.Tuple, ast.List)):
            targets = [*target.elts, *targets]
            continue
        while isinstance(target, (ast.Subscript, ast.Starred, ast.Attribute)):
            in_place = in_place or isinstance(target, ast.Subscript)
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                target = ast.Name(f"{target.value.id}.{target.attr}")
            else:
                target = target.value
        if isinstance(target, ast.Name):
            names.append(target.id)
    return names, in_place
