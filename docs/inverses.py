"""Which lines of ``forward`` a line of ``backward`` inverts, found in the source itself.

A line of ``backward`` says so three ways: it calls the ``backward`` of a layer whose ``forward`` is called there, it
assigns the gradient of a parameter that is read there, and the comment at its end names an equation that is worked out
there. Where the source says none of this, as in ``return dE``, a line inverts nothing.
"""

import ast
import dataclasses
import re
import tokenize

from minictr.tracing.source import AXES, computes, targets_of

BLOCKS = (ast.stmt, ast.ExceptHandler)                            # what can hold statements
RESULTS = {"out", "s", "L"}                                       # what equations call that which forward returns
GOES_ON = re.compile(r"the same\b|and via\b")


@dataclasses.dataclass(eq=False)
class Line:
    """A statement without others in it, or the head of one that has them, with the comment at its end.

    ``shape`` is what the comment claims, ``text`` the rest of it. ``guards`` are the conditions that it stands under.
    """

    node: ast.stmt
    first: int
    last: int
    shape: str
    text: str
    guards: tuple

    @property
    def whole(self):
        """Whether this is a statement, not only the head of one."""
        return self.last == self.node.end_lineno

    @property
    def equation(self):
        """(Left side, right side) of the equation that the comment names; (None, None) if it names none."""
        for piece in re.split(r"\s{2,}", self.text):
            left, equals, right = re.split(r"[:;] |, over ", piece)[0].partition(" = ")
            if equals and not left.startswith("the same"):
                return left.strip(), right.strip()
        return None, None

    @property
    def formula(self):
        """What the comment says is worked out: the right side of its equation, or all that it says."""
        return self.equation[1] or re.split(r"[:;] |, ", self.text)[0].strip()


def lines_of(function, comments):
    """The lines of a function's body, in their order; ``comments`` as ``comments_of`` gives them."""
    found = []

    def visit(block, guards):
        for node in block:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue                                          # the docstring
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, BLOCKS)]
            last = inner[0].lineno - 1 if inner else node.end_lineno
            text = " ".join(comments[line][1] for line in range(node.lineno, last + 1) if line in comments)
            axes = AXES.fullmatch(text)
            shape, text = (f"({axes[1]})", axes[2]) if axes else ("", text)
            found.append(Line(node, node.lineno, last, shape, text, guards))
            if isinstance(node, ast.If):
                visit(node.body, (*guards, ast.unparse(node.test)))
                visit(node.orelse, (*guards, f"not ({ast.unparse(node.test)})"))
            else:
                visit(inner, guards)

    visit(function.body, ())
    return found


def comments_of(path):
    """The comments that stand behind code: {line: (column, text)}."""
    with tokenize.open(path) as file:
        return {token.start[0]: (token.start[1], token.string.lstrip("# "))
                for token in tokenize.generate_tokens(file.readline)
                if token.type == tokenize.COMMENT and token.line[:token.start[1]].strip()}


def passes_of(tree):
    """Pairs (forward, backward) of functions of a file: methods, their helpers, and functions such as softmax."""
    for place in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        functions = {node.name: node for node in place.body if isinstance(node, ast.FunctionDef)}
        for name, function in functions.items():
            forward = "forward" if name == "backward" else name.removesuffix("_backward")
            if forward != name and forward in functions:
                yield functions[forward], function


def inverses(path):
    """{line of a backward pass: [lines of the forward pass that it inverts]} of a file, by their first lines."""
    comments = comments_of(path)
    found = {}
    for forward, backward in passes_of(ast.parse(path.read_text(encoding="utf-8"))):
        found |= inverted_by(lines_of(forward, comments), lines_of(backward, comments))
    return found


def inverted_by(forward, backward):
    """The same for the lines of one forward and one backward pass."""
    forward = [line for line in forward if line.whole]
    found, said = {}, []                                          # said: the lines of the equation that was named last
    for line in backward:
        if not line.whole:
            continue
        named = named_by(line.equation, forward)
        lines = calling(line, forward)
        if lines:
            # beside the call that it inverts: the line that goes on with what the call returned
            made = {name for other in lines for name in targets_of(other.node)[0]}
            lines += [other for other in named if other not in lines
                      and made & names_in(other.node) and not made & written_as(line.equation[0])]
        else:
            lines = reading(line, forward) or under_the_same_guard(line, forward) or named
        if line.equation[0]:
            said = lines
        elif not lines and (GOES_ON.match(line.text) or (line.shape and not line.text and computes(line.node))):
            lines = said                                          # a line with nothing but its shape goes on too
        if not lines and len(backward) == 1:                      # a function of one line, such as relu_backward
            lines = [other for other in forward if isinstance(other.node, ast.Return)]
        if lines:
            found[line.first] = sorted(other.first for other in lines)
    return found


def calling(line, forward):
    """The lines that call what this line calls the ``backward`` of: ``self.pairs.forward`` or ``self._project``."""
    wanted = []
    for call in calls_in(line.node):
        if isinstance(call.func, ast.Attribute) and call.func.attr.endswith("backward"):
            name = call.func.attr.removesuffix("backward").rstrip("_") or "forward"
            # of a helper, the call with the same first argument: _project("Q", E)
            helper = ast.unparse(call.args[0]) if name != "forward" else None
            wanted.append((f"{ast.unparse(call.func.value)}.{name}", helper))
    return [other for other in forward if any(
        (ast.unparse(call.func), first) in wanted for call in calls_in(other.node)
        for first in (None, ast.unparse(call.args[0]) if call.args else ""))]


def reading(line, forward):
    """The lines that read the parameter of which this line assigns the gradient."""
    if not isinstance(line.node, ast.Assign) or not isinstance(line.node.targets[0], ast.Subscript):
        return []
    target = line.node.targets[0]
    if ast.unparse(target.value) != "self.grads":
        return []
    parameter = f"self.params[{ast.unparse(target.slice)}]"
    names, found = set(), []
    for other in forward:
        fetched = set()
        if isinstance(other.node, ast.Assign):                    # W, b = self.params["W"], self.params["b"]
            pairs = zip(elements(other.node.targets[0]), elements(other.node.value), strict=False)
            fetched = {ast.unparse(target) for target, value in pairs if ast.unparse(value) == parameter}
        reads = names & names_in(other.node) or any(ast.unparse(node) == parameter for node in ast.walk(other.node))
        if reads and not fetched and not isinstance(other.node, ast.Expr):        # check_ids(len(V)) only looks at it
            found.append(other)
        names |= fetched
    return found


def under_the_same_guard(line, forward):
    """The line that stands alone under the condition that this one stands under: if slots.x is not None."""
    found = [other for other in forward if line.guards and other.guards == line.guards]
    return found if len(found) == 1 else []


def named_by(equation, forward):
    """The line that works out an equation: by the equation, its right side or its left side, in this order."""
    left, right = equation
    if left is None:
        return []
    said = [other for other in forward if other.equation == equation] or [
        other for other in forward if other.formula == right] or [
        other for other in forward if other.equation[0] == left]
    if said:
        return said[:1]
    written = written_as(left)
    made = [other for other in forward if computes(other.node) and written & set(targets_of(other.node)[0])]
    if made:
        return [max(made, key=lambda other: (alike(right, other.formula), other.first))]
    if left.partition("_")[0] in RESULTS:
        return [other for other in forward if isinstance(other.node, ast.Return)]
    return []


def written_as(symbol):
    """The names that an equation's symbol may have in the code: a_ij is aij, z_ij is z, z_1 is z1, s_FM is s_FM."""
    plain = re.sub(r"[~'{}]", "", symbol)
    return {plain, re.sub(r"[_^]", "", plain), re.split(r"[_^]", plain)[0]}


def alike(one, other):
    """How much two formulas have in common: the share of names that stand in both, without what hangs on them."""
    one, other = ({re.split(r"[_^]", name)[0] for name in re.findall(r"[A-Za-z][\w^']*", text)}
                  for text in (one, other))
    return len(one & other) / max(1, len(one | other))


def calls_in(node):
    """All calls in a statement."""
    return [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]


def names_in(node):
    """All names that a statement reads."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)}


def elements(node):
    """What stands in a tuple, or the thing itself."""
    return node.elts if isinstance(node, ast.Tuple) else [node]
