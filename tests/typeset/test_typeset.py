"""Equations in ASCII become LaTeX, and that becomes MathML."""

import re
import xml.etree.ElementTree as ET

import pytest

from minictr.typeset import NotTypeset, inline, mathml, symbol, translate


@pytest.mark.parametrize("ascii_text, latex", [
    ("a'_ij = h . relu(W^T p_ij + b)", r"a'_{ij} = h \cdot \operatorname{relu}(W^{\top} p_{ij} + b)"),
    ("a_ij  = exp(a'_ij) / sum over all pairs of exp(a')",
     r"a_{ij} = \frac{\exp(a'_{ij})}{\sum_{\text{ all pairs }} \exp(a')}"),
    ("dh  = sum_ij da'_ij relu(z_ij)", r"\mathrm{d}h = \sum_{ij} \, \mathrm{d}a'_{ij} \operatorname{relu}(z_{ij})"),
    ("p_ij = e_i * e_j", r"p_{ij} = e_{i} \circ e_{j}"),
    ("s = sum_{i<j} <v_i, v_j> x_i x_j", r"s = \sum_{i < j} \langle v_{i}, v_{j} \rangle x_{i} x_{j}"),
    ("e~_m  = sum_k a_mk W_V e_k", r"\tilde{e}_{m} = \sum_{k} a_{mk} W_{V} e_{k}"),
    ("w = w - lr m^ / (sqrt(v^) + eps)", r"w = w - \frac{\mathrm{lr} \, \hat{m}}{\sqrt{\hat{v}} + \epsilon}"),
    ("m^ = m / (1 - beta1^t)", r"\hat{m} = \frac{m}{1 - \beta_{1}^{t}}"),
    ("a^{l+1} = relu(a^l W^l)", r"a^{l + 1} = \operatorname{relu}(a^{l} W^{l})"),
    ("s = w . [e^L_1; ...; e^L_M] + b", r"s = w \cdot [e_{1}^{L}; \dots; e_{M}^{L}] + b"),
    ("dL/ds_b = c_b (sigmoid(s_b) - y_b) / B",
     r"\frac{\partial L}{\partial s_{b}} = \frac{c_{b} (\operatorname{sigmoid}(s_{b}) - y_{b})}{B}"),
    ("out = 1/2 [(sum_i e_i)^2 - x]",
     r"\mathrm{out} = \frac{1}{2} \left[ \left( \sum_{i} e_{i} \right)^{2} - x \right]"),
    ("mask = 0 with probability rate, else 1 / (1 - rate)",
     r"\mathrm{mask} = 0 \text{ with probability } \mathrm{rate} ,\;\text{ else } \frac{1}{1 - \mathrm{rate}}"),
    ("a_mk  = softmax over k of  (W_Q e_m) . (W_K e_k)",
     r"a_{mk} = \underset{k}{\operatorname{softmax}} (W_{Q} e_{m}) \cdot (W_{K} e_{k})"),
    ("L = x + ||W||^2", r"L = x + \left\lVert W \right\rVert^{2}"),
    ("x = a (b) / (c) (d)", r"x = \frac{a (b)}{c} (d)"),
    ("x = 1 - a - b / c", r"x = 1 - a - \frac{b}{c}"),
    ("s = sum_{i<j} <v_{i,f(j)}, v_{j,f(i)}>", r"s = \sum_{i < j} \langle v_{i, f(j)}, v_{j, f(i)} \rangle"),
    ("out = sum_{i,j} e_i e_j^T = f f^T", r"\mathrm{out} = \sum_{i, j} e_{i} e_{j}^{\top} = f f^{\top}"),
    ("w = 0 where |z| <= l1, else -(z - sign(z) l1) / (l2)",
     r"w = 0 \text{ where } \left\lvert z \right\rvert \le l_{1} ,\;\text{ else } - "
     r"\frac{z - \operatorname{sign}(z) l_{1}}{l_{2}}"),
])
def test_an_equation_in_ascii_as_latex(ascii_text, latex):
    [row] = translate([ascii_text])
    assert f"{row.left} {row.right}" == latex
    assert row.source == re.sub("  +", " ", ascii_text)


def test_two_equations_on_a_line_and_remarks():
    rows = translate(["G = G + g^2,   w = w - g     G starts at 0", "", "y   = a", "      + b   (eq. 3)"])
    assert [(row.left, row.right, row.remark) for row in rows] == [
        ("G", "= G + g^{2},", ""), ("w", "= w - g", "G starts at 0"), ("y", "= a + b", "(eq. 3)")]


@pytest.mark.parametrize("line", [
    "add(block, rows)      one block, and the numbers of its rows for messages",
    "read -> check -> encode -> gather windows      on a thread of its own",
    "x = y == z", "x = (a", "x = a)", "x = $y", "just words", "{'a': 1}", "x = [1, 2", "x = sum over all pairs"])
def test_what_is_no_equation_stays_as_it_is(line):
    assert translate([line]) is None


@pytest.mark.parametrize("ascii_text, element", [
    ("a'_ij", ('<msub><mrow><mi>a</mi><mo lspace="0" rspace="0">′</mo></mrow>'
                "<mrow><mi>i</mi><mi>j</mi></mrow></msub>")),
    ("W^T", "<msup><mi>W</mi><mi>⊤</mi></msup>"),
    ("dL/dp_ij", '<mfrac><mrow><mi>∂</mi><mi>L</mi></mrow>'
                 "<mrow><mi>∂</mi><msub><mi>p</mi><mrow><mi>i</mi><mi>j</mi></mrow></msub></mrow></mfrac>"),
    ("e~_m", '<msub><mover accent="true"><mi>e</mi><mo stretchy="false">~</mo></mover><mi>m</mi></msub>'),
    ("sum_i", '<munder><mo movablelimits="false">∑</mo><mi>i</mi></munder>'),
])
def test_a_symbol_as_mathml(ascii_text, element):
    found = mathml(symbol(ascii_text) or inline(ascii_text), plain="it")
    assert found == f'<math alttext="it" display="inline">{element}</math>'


def test_signs_that_mean_something_in_html_are_escaped():
    element = mathml(inline("s = sum_{i<j} x_i"), plain="a < b & \"c\"")
    assert 'alttext="a &lt; b &amp; &quot;c&quot;"' in element and "<mo>&lt;</mo>" in element
    assert ET.fromstring(element).get("alttext") == 'a < b & "c"'


def test_a_bracket_around_a_fraction_is_as_high_as_the_fraction():
    [row] = translate(["x = (a / b)"])
    assert mathml(row.right).count('stretchy="true"') == 2
    [row] = translate(["x = f(a)"])
    assert 'stretchy="true"' not in mathml(row.right)


@pytest.mark.parametrize("latex", [r"\nosuchcommand x", r"\frac{a", "a & b", "a}", r"\left( a", r"x_", r"\hat x"])
def test_latex_of_another_kind_is_an_error(latex):
    with pytest.raises(NotTypeset):
        mathml(latex)
