"""The pages of source with notes: every line is there, and each line of backward knows which of forward it inverts."""

import ast
import doctest
import functools
import html
import re
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import minictr
from minictr.tracing.source import AXES

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import inverses  # noqa: E402
import links  # noqa: E402

MISSING = [name for name in ("docutils", "pygments", "latex2mathml") if not find_spec(name)]
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"no page was made: {', '.join(MISSING)} not installed")
if not MISSING:
    import annotated
    import notes
    import traced

PATHS = [path for pattern in ("layers/*.py", "models/*.py", "losses.py", "optim.py", "training/step.py")
         for path in sorted((ROOT / "minictr").glob(pattern))]
each_file = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(ROOT / "minictr").as_posix())


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


comments_of, inverses_of = functools.cache(inverses.comments_of), functools.cache(inverses.inverses)


def statement(path, line):
    """The statement that begins at a line, without comments, on one line."""
    return ast.unparse(next(node for node in ast.walk(parsed(path))
                            if isinstance(node, ast.stmt) and node.lineno == line))


# ------------------------------------------------------------------------------------- what a line inverts

def classes_and_functions(path):
    """{name of the class, and of a function outside of classes itself: [lines of the backward pass]} of a file."""
    tree = parsed(path)
    owners = {function: node.name for node in tree.body if isinstance(node, ast.ClassDef) for function in node.body}
    comments = comments_of(path)
    found = {}
    for _, backward in inverses.passes_of(tree):
        owner = owners.get(backward, backward.name)
        found.setdefault(owner, []).extend(inverses.lines_of(backward, comments))
    return found


def inverted(path, owner):
    """{statement of the backward pass: [statements of the forward pass]} of a class."""
    found = inverses_of(path)
    return {statement(path, line.first): [statement(path, other) for other in found.get(line.first, ())]
            for line in classes_and_functions(path)[owner] if line.whole}


@each_file
def test_a_line_that_names_an_equation_or_calls_a_backward_finds_its_line_of_forward(path):
    found = inverses_of(path)
    for owner, lines in classes_and_functions(path).items():
        for line in lines:
            names_one = line.equation[0] or line.text.startswith("the same")
            calls_one = ".backward(" in ast.unparse(line.node)
            if line.whole and (names_one or calls_one):
                assert found.get(line.first), f"{path.name}:{line.first}: {owner}: {line.text}"


# The other lines of backward passes that compute something and invert nothing, and why.
NOTHING = {
    "AttentionPooling": ["return dpij_pool + dpij_score"],                                # adds what two uses gave
    "CIN": ["ends = np.cumsum(self.widths)", "dE, dX_back = (np.zeros_like(E), 0)",       # where gradients are gathered
            "dW, dX_back = (np.zeros_like(W), np.zeros_like(X_before))",
            "dX = np.zeros_like(X) + dpooled[:, :, None] + dX_back", "return dE + dX_back"],
    "Concatenate": ["parts, start = ([], 0)", "start += n", "return parts"],
    "CrossNetwork": ["dx0, dx = (np.zeros_like(x0), dout)", "dx = dx + dc[:, None] * w", "return dx0 + dx"],
    "FFM": ["P = self.products.cache['out'].shape[1]"],
    "FieldAwareProducts": ["i, j = field_pairs(E.shape[1])", "dE = np.zeros_like(E)", "return dE"],
    "FirstOrderTerms": ["self.grads['w'] = RowGradient(slots, dw.reshape(-1))"],          # Linear's forward looks w up
    "InnerProducts": ["i, j = field_pairs(M)", "D = np.zeros((B, M, M), dout.dtype)"],
    "InteractingLayer": ["return dE"],
    "LayerNorm": ["rows = tuple(range(dout.ndim - 1))"], "MLP": ["return dx"],
    "PairProduct": ["dE = np.zeros_like(E)", "return dE"],
    "ResidualUnit": ["return dz2 + dz1 @ self.params['W_1'].T"],                          # adds what two uses gave
    "TriplePooling": ["pairs = 0.5 * (s1 ** 2 - s2)",                                     # parts of the last line
                      "pairs_of_others = pairs[:, None] - s1[:, None] * E + E ** 2"],
    "AutoInt": ["B, M, k = (len(ds), self.interacting[0].cache['E'].shape[1], self.embedding_dim)", "dE = de"],
}
# what fetches an array or a size, and computes nothing
FETCHES = re.compile(r"= \(?self\.(cache|params)\[|\(self\.cache\[name\] for name in|= \w+(\[0\])?\.(shape|size)$")


@each_file
def test_what_inverts_nothing_is_known(path):
    for owner in classes_and_functions(path):
        nothing = [line for line, others in inverted(path, owner).items() if not others]
        unknown = [line for line in nothing if line not in NOTHING.get(owner, ()) and not FETCHES.search(line)]
        assert not unknown, f"{owner}: say at the line's end which equation it inverts, or list it"


def test_the_list_of_what_inverts_nothing_has_no_line_too_many():
    found = {owner: inverted(path, owner) for path in PATHS for owner in classes_and_functions(path)}
    for owner, lines in NOTHING.items():
        for line in lines:
            assert found[owner][line] == [], f"{owner}: {line}"


def test_what_the_lines_of_attention_invert():
    found = inverted(ROOT / "minictr/layers/attention_pooling.py", "AttentionPooling")
    z, s = "z = pij @ W + b", "s = r @ h"
    out = "out = (weight[:, :, None] * pij).sum(axis=1)"
    assert {line: others for line, others in found.items() if others} == {
        "dweight = (dout[:, None, :] * pij).sum(axis=2)": [out],
        "dpij_pool = weight[:, :, None] * dout[:, None, :]": [out],
        "daij = self.dropout.backward(dweight)": ["weight = self.dropout.forward(aij)"],
        "ds = softmax_backward(daij, aij, axis=1)": ["aij = softmax(s, axis=1)"],
        "self.grads['h'] = np.tensordot(r, ds, axes=ROWS_AND_PAIRS)": [s], "dr = ds[:, :, None] * h": [s],
        "dz = relu_backward(dr, z)": ["r = relu(z)"],
        "self.grads['b'] = dz.sum(axis=(0, 1))": [z],
        "self.grads['W'] = np.tensordot(pij, dz, axes=ROWS_AND_PAIRS)": [z], "dpij_score = dz @ W.T": [z]}


def test_what_the_lines_of_self_attention_invert():
    found = inverted(ROOT / "minictr/layers/self_attention.py", "InteractingLayer")
    joined, S = "e = join_heads(weight @ V)", "S = self.scale * (Q @ K.swapaxes(2, 3))"
    z = "z = e + self._project('Res', E) if self.residual else e"
    assert {line: others for line, others in found.items() if others} == {
        "dout = self.norm.backward(dout)": ["return self.norm.forward(out) if self.norm else out"],
        "dz = relu_backward(dout, z)": ["out = relu(z)"], "de = split_heads(dz, self.H)": [z],
        "dweight = de @ V.swapaxes(2, 3)": [joined], "dV = weight.swapaxes(2, 3) @ de": [joined],
        "da = self.dropout.backward(dweight)": ["weight = self.dropout.forward(a)"],
        "dS = softmax_backward(da, a, axis=3)": ["a = softmax(S, axis=3)"],
        "dQ = self.scale * (dS @ K)": [S], "dK = self.scale * (dS.swapaxes(2, 3) @ Q)": [S],
        "dE = self._project_backward('V', join_heads(dV))": ["V = split_heads(self._project('V', E), self.H)"],
        "dE = dE + self._project_backward('K', join_heads(dK))": ["K = split_heads(self._project('K', E), self.H)"],
        "dE = dE + self._project_backward('Q', join_heads(dQ))": ["Q = split_heads(self._project('Q', E), self.H)"],
        "dE = dE + self._project_backward('Res', dz)": [z],
        "dout = relu_backward(dout, self.cache[f'relu_{name}'])":
            ["out = self.cache[f'relu_{name}'] = relu(out + self.params[f'b_{name}'])"],
        "self.grads[f'b_{name}'] = dout.sum(axis=(0, 1))":
            ["out = self.cache[f'relu_{name}'] = relu(out + self.params[f'b_{name}'])"],
        "self.grads[f'W_{name}'] = np.tensordot(self.cache['E'], dout, axes=((0, 1), (0, 1)))":
            ["out = E @ self.params[f'W_{name}']"],
        "return dout @ self.params[f'W_{name}'].T": ["out = E @ self.params[f'W_{name}']"]}


def test_what_the_lines_of_models_invert():
    assert inverted(ROOT / "minictr/models/deepfm.py", "DeepFM") == {
        # s is the sum of both parts: each line inverts its part, and the sum that its comment names
        "da0 = self.mlp.backward(ds)": ["s_DNN = self.mlp.forward(E.reshape(len(E), -1))", "return s_FM + s_DNN"],
        "dpooled = self.factor_sum.backward(ds)":
            ["s_FM = self.linear.forward(slots) + self.factor_sum.forward(pooled)"],
        "dE_FM = self.pooling.backward(dpooled)": ["pooled = self.pooling.forward(E)"],
        "self.embedding.backward(dE_FM + da0.reshape(dE_FM.shape))": ["E = self.embedding.forward(slots)"],
        "self.linear.backward(ds)": ["s_FM = self.linear.forward(slots) + self.factor_sum.forward(pooled)"]}
    found = inverted(ROOT / "minictr/models/wide_deep.py", "WideDeep")
    assert found["self.crossed.backward(ds)"] == ["wide = wide + self.crossed.forward(slots)"]
    assert found["self.linear.backward(ds)"] == ["wide = self.linear.forward(slots)"]


GRADIENT = re.compile(r"self\.grads\[(.*?)\] = ")


def test_the_gradient_of_a_parameter_inverts_lines_that_read_it_and_its_comment_says_the_same():
    """Two ways to the line of forward, by the parameter and by the comment, which must not contradict each other."""
    both = 0
    for path in PATHS:
        tree, comments = parsed(path), comments_of(path)
        for forward, backward in inverses.passes_of(tree):
            lines = inverses.lines_of(forward, comments)
            for line in inverses.lines_of(backward, comments):
                if GRADIENT.match(ast.unparse(line.node)) and line.equation[0]:
                    [named], reading = inverses.named_by(line.equation, lines), inverses.reading(line, lines)
                    assert named in reading, f"{path.name}:{line.first}"
                    both += 1
    assert both > 10


LAYER = '''
class Own(Layer):
    def forward(self, x):
        W = self.params["W"]
        u = x @ W                        # (B, t)  u = x W
        v = np.tanh(u)                   # (B, t)  tanh(u)
        return v.sum(axis=1)             # (B,)

    def backward(self, dout):
        v, x = self.cache["v"], self.cache["x"]
        dv = np.repeat(dout, v.shape[1]).reshape(v.shape)       # (B, t)  out = sum_t v
        du = dv * (1 - v ** 2)           # {comment}
        self.grads["W"] = x.T @ du
        return du @ self.params["W"].T   # (B, k)
'''


@pytest.mark.parametrize("comment, expected", [
    ("v = tanh(u)", ["v = np.tanh(u)"]), ("u_b = x_b W", ["u = x @ W"]), ("the same", ["return v.sum(axis=1)"]),
    ("(B, t)", ["return v.sum(axis=1)"]), ("w = x + 1", []), ("by the chain rule", [])])
def test_a_layer_of_ones_own_and_other_comments(tmp_path, comment, expected):
    path = tmp_path / "own.py"
    path.write_text(LAYER.replace("{comment}", comment), encoding="utf-8")
    found = inverted(path, "Own")
    assert found["du = dv * (1 - v ** 2)"] == expected
    assert found["self.grads['W'] = x.T @ du"] == ["u = x @ W"]
    assert found["v, x = (self.cache['v'], self.cache['x'])"] == []


# ---------------------------------------------------------------------------------------------- the pages

@pytest.fixture(scope="module")
def numbers():
    return traced.traced_lines()


@pytest.fixture(scope="module")
def bodies(numbers):
    return {path: annotated.page_body(path, numbers) for path in PATHS}


class Lines(HTMLParser):
    """The text of each line of code, and of all notes and shapes."""

    def __init__(self, text):
        super().__init__()
        self.code, self.notes, self.line, self.maths, self.numbers = {}, [], None, False, 0
        self.depth = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.depth += tag == "div"
        if tag == "div" and attrs.get("class") == "line":
            self.line = int(attrs["id"].removeprefix("L")), self.depth
            self.code[self.line[0]] = ""
        if tag == "div" and attrs.get("class") == "numbers":
            self.numbers = self.depth
        if tag == "math":
            self.maths = True
            self.notes.append(attrs["alttext"])

    def handle_endtag(self, tag):
        if tag == "div":
            if self.line and self.line[1] == self.depth:
                self.line = None
            self.numbers = 0 if self.numbers == self.depth else self.numbers
            self.depth -= 1
        self.maths = self.maths and tag != "math"

    def handle_data(self, data):
        if self.line:
            self.code[self.line[0]] += data
        elif not self.maths and not self.numbers:
            self.notes.append(data)


@needs_tools
@each_file
def test_every_line_has_one_place_and_all_of_its_code(path, bodies):
    page = links.Page(bodies[path])
    source = path.read_text(encoding="utf-8").splitlines()
    assert page.twice == []
    assert {f"L{at}" for at in range(1, len(source) + 1)} <= page.places
    assert {address.removeprefix("#") for _, address in page.links if address.startswith("#")} <= page.places
    comments, shown = comments_of(path), Lines(bodies[path]).code
    described = {at for node in ast.walk(ast.parse("\n".join(source))) if isinstance(node, annotated.DOCUMENTED)
                 and ast.get_docstring(node) for at in range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    assert shown.keys() == set(range(1, len(source) + 1)) - described
    for at, text in shown.items():
        code = source[at - 1]
        without = code[:comments[at][0]].rstrip() if at in comments else code
        assert text in (f"{at}{without}", f"{at}{code}")


@needs_tools
@each_file
def test_no_word_of_a_comment_or_docstring_is_lost(path, bodies):
    page = Lines(bodies[path])
    notes_shown = re.findall(r"\w+", " ".join(page.notes).replace("_", " "))
    code_shown = " ".join(page.code.values())
    for at, (_, comment) in comments_of(path).items():
        words = re.findall(r"\w+", comment.replace("_", " "))
        assert set(words) <= set(notes_shown) or comment in code_shown, f"line {at}: {comment}"
    for node in ast.walk(parsed(path)):
        if isinstance(node, annotated.DOCUMENTED):
            words = re.findall(r"\w+", (ast.get_docstring(node) or "").replace("_", " "))
            assert set(words) <= set(notes_shown), set(words) - set(notes_shown)


@needs_tools
@each_file
def test_shapes_stand_in_their_column(path, bodies):
    """Each comment that begins with a shape, but for those beside a docstring: once, in the lines' order."""
    shown = re.findall(r'class="shape">(?:<summary>)?(.*?)<', bodies[path])
    tree = parsed(path)
    wanted = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name != "__init__"):
        for line in range(function.lineno, function.end_lineno + 1):
            axes = AXES.fullmatch(comments_of(path).get(line, (0, ""))[1])
            wanted += [(line, html.escape(f"({axes[1]})"))] if axes else []
    texts = iter(shown)
    assert all(any(text == shape for text in texts) for _, shape in sorted(wanted))


@needs_tools
def test_pointing_works_both_ways_by_the_pages_style(bodies):
    path = ROOT / "minictr/layers/attention_pooling.py"
    rules = re.findall(r":has\(\.block:hover #L(\d+), #L\1:focus-within, #L\1:target\) #L(\d+)", bodies[path])
    pairs = {(line, other) for line, others in inverses_of(path).items() for other in others}
    assert {(int(one), int(two)) for one, two in rules} == pairs | {(two, one) for one, two in pairs}
    z, dW = (next(at for at, line in enumerate(path.read_text().splitlines(), 1) if start in line)
             for start in ("z = pij @ W + b", 'self.grads["W"] = np'))
    assert re.search(rf'inverts <span [^>]*>line </span><a href="#L{z}" title="z = pij @ W', bodies[path])
    assert re.search(rf'inverted by <span [^>]*>line </span>.*?<a href="#L{dW}" title="self.grads', bodies[path])


@needs_tools
def test_the_numbers_of_a_page_are_those_of_a_trace(bodies):
    """Of AFM's attention: each array of the traced step stands at its line."""
    body = bodies[ROOT / "minictr/layers/attention_pooling.py"]
    values, symbols = {}, set()
    for step in traced.traced_step("AFM", {}).steps:
        if step.file.endswith("attention_pooling.py"):
            values.setdefault(step.lineno, []).append(step.value)
            symbols.add(step.symbol)
    assert {"z", "r", "s", "aij", "dz", "dW"} <= symbols
    for line, arrays in values.items():
        [block] = [block for block in body.split('<div class="block')[1:] if f'id="L{line}"' in block]
        cells = iter([float(number) for number in re.findall(r'<td class="n"[^>]*>([^<]*)</td>', block)])
        for array in arrays:
            shown = [next(cells) for _ in range(array.size)]
            np.testing.assert_allclose(shown, array.ravel(), atol=np.abs(array).max() / 1000)
        assert next(cells, None) is None


@needs_tools
def test_lines_of_layers_with_a_shape_have_numbers(numbers):
    missing = []
    for path in (path for path in PATHS if path.parent.name == "layers"):
        for owner, lines in classes_and_functions(path).items():
            missing += [(owner, statement(path, line.first)) for line in lines if line.shape and line.whole
                        and (path.relative_to(ROOT).as_posix(), line.first) not in numbers]
    # what these return has been shown under its name just before, or is the way back while predicting
    assert missing == [("BatchNorm", "return dxhat / deviation"), ("MLP", "return dx"),
                       ("InteractingLayer", "return dE")]


@needs_tools
def test_docstrings_and_comments_as_html():
    shown = notes.docstring_html(minictr.layers.AttentionPooling.__doc__, lambda name: f"#{name}")
    assert shown.startswith("<p>Weigh the pair vectors")
    assert "alttext=\"a'_ij = h . relu(W^T p_ij + b)\"" in html.unescape(shown)
    assert '<pre class="example" tabindex="0"><span' in shown and "<code>dropout</code>" in shown
    linked = notes.docstring_html("See ``AFM`` and ``x``.", {"AFM": "models.html#AFM"}.get)
    assert linked == '<p>See <a href="models.html#AFM"><code>AFM</code></a> and <code>x</code>.</p>'
    assert notes.docstring_html("Backward (in words): as before.").count("</strong> (in words)") == 1
    assert doctest.testmod(notes).failed == 0


@needs_tools
@pytest.mark.parametrize("comment, shown", [
    ("z_ij = W^T p_ij + b", "[z_ij = W^T p_ij + b]"), ("a'_ij = h . r_ij; no logit", "[a'_ij = h . r_ij]; no logit"),
    ("a_ij, over the pairs", "[a_ij], over the pairs"), ("w_0 + sum_i w_i x_i", "[w_0 + sum_i w_i x_i]"),
    ("the same, with respect to W", "the same, with respect to [W]"), ("one value a slot", "one value a slot"),
    ("the same, with respect to X^0_j", "the same, with respect to [X^0_j]"), ("a < b & c", "a &lt; b &amp; c"),
    ("s = first_order + ...", "s = first_order + ..."), ("x_l is in x_{l+1}: add", "[x_l] is in [x_{l+1}]: add"),
    ("the same: de_i = dout_ij e_j", "the same: [de_i = dout_ij e_j]")])
def test_of_a_comment_what_is_maths_is_typeset(comment, shown):
    text = notes.comment_html(comment)
    maths = r'<math [^>]*?alttext="([^"]*)".*?</math>'
    assert re.sub(maths, lambda found: f"[{html.unescape(found[1])}]", text).replace("  ", " ") == shown


@needs_tools
def test_which_files_have_notes():
    assert annotated.annotated_paths() == PATHS
