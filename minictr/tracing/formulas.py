"""Which equation stands above an array of a step's page: one that says what this array is, or none."""

import re

from ..typeset import formula, translate
from .source import derivatives_of, equations_of

INDEX = re.compile(r"_(ij|i|mk|m|k)$")


def equations_above(arrays, layers, model):
    """Give each array its "equation": a whole one whose left side is the array, or that a gradient comes from, or "".

    Parameters
    ----------
    arrays : (entry of the page, the steps that have it, the best first) of each array, in order; an entry's
        "equation" is set.   layers : the model's layers by name.   model : it too has equations in its docstring.
    """
    said_backwards, above = {}, {}
    for entry, steps in arrays:
        layer, found = steps[0].layer, ""
        comments = [step.equation for step in steps if step.layer == layer]
        if steps[0].phase == "backward":
            found = next(filter(None, map(stated, comments)), "")
            if not found and any(comment.startswith("the same") for comment in comments):
                found = above.get(layer, "")                      # the equation that the line above goes back through
            elif found:
                above[layer] = found
            said_backwards.setdefault((layer, found.partition(" = ")[0]), found)
        elif steps[0].phase in ("forward", "loss"):
            found = forward_equation(entry, steps, comments, layers.get(layer), model)
        else:                                                     # the optimizer's lines
            found = next(filter(None, map(stated, comments)), "")
        entry["equation"] = as_in(layers.get(layer), found)
    latest = {(entry["layer"], name): entry for entry, steps in arrays
              if steps[0].phase in ("forward", "loss") and entry["kind"] == "array" for name in names_of(steps)}
    whole = {entry["equation"]: entry for entry, _ in arrays
             if entry["phase"] == "forward" and entry["layer"] not in layers}
    for entry, _ in arrays:                                       # s grows line by line: the equation is of the last
        last = whole.get(entry["equation"])
        if entry["phase"] == "forward" and last not in (None, entry) and entry["notation"] == last["notation"]:
            entry["equation"] = ""
    for (layer, name), entry in latest.items():                   # a gradient's line says what it goes back through
        if not entry["equation"] and (layer, name) in said_backwards:
            right = said_backwards[layer, name].partition(" = ")[2]
            entry["equation"] = as_in(layers.get(layer), f"{entry['notation'] or entry['symbol']} = {right}")


def forward_equation(entry, steps, comments, layer, model):
    """What the line's comment says of this array, or else the docstring of the layer or of the model."""
    names = names_of(steps)
    if entry["kind"] != "array":
        return ""
    name = entry["notation"] or entry["symbol"]
    for comment in map(without_remark, comments):
        whole = stated(comment)
        if whole and bare(whole.partition(" = ")[0]) in map(bare, names):
            return whole
        is_part = whole or "..." in comment or comment.startswith(("+", "-")) or comment in names
        if comment and not is_part and formula(comment):
            return f"{name} = {comment}"
    for described in filter(None, (layer, model)):
        for left, right, _ in equations_of(type(described)):
            if left in names or (bare(left) == "out" in names and described is layer):
                return f"{name} = {right}"
    return ""


def names_of(steps):
    """How an array is called, in the code and in the papers."""
    return list(dict.fromkeys(name for step in steps for name in (step.notation, step.symbol) if name))


def derivative(step, named, layer):
    """The equation of a gradient, "dW = sum_ij p_ij dz_ij^T", from the docstring of the layer; "" if it has none."""
    if layer is None:
        return ""
    wanted = [name.removeprefix("dL/") for each in (named, step) for name in (each.notation, each.symbol)]
    for same in (str, bare):                                      # with its index, or without
        for left, right in derivatives_of(type(layer)):
            left = as_in(layer, left)
            if same(left) in map(same, wanted):
                other = same(left) not in map(same, wanted[:2])   # dx, of a vector that the model calls pooled
                return f"{wanted[0] if other else left} = {as_in(layer, right)}"
    return ""


def as_in(layer, text):
    """The text with a readout's own letter, which is p in AFM, and without a bias if it has none."""
    letter = getattr(layer, "symbol", "w")
    text = re.sub(r"\b(d?)w\b", lambda w: f"{w[1]}{letter}", text)
    return text if layer is None or "b" in layer.params else text.replace(f"x . {letter} + b", f"x . {letter}")


def stated(comment):
    """The equation in a comment, with its left side and without remarks; "" if there is none, or only a part of it.

    >>> stated("p_ij = e_i * e_j; the same, with respect to e_j"), stated("out = w_0 + ..."), stated("over the pairs")
    ('p_ij = e_i * e_j', '', '')
    """
    comment = without_remark(comment)
    if " = " not in comment or re.search(r"[+-] \.\.\.|= \.\.\.", comment):
        return ""
    rows = translate([comment])
    return comment if rows and len(rows) == 1 and not rows[0].remark else ""


def without_remark(comment):
    """A comment up to what is only said about the equation.

    >>> without_remark("a'_ij = h . relu(z_ij); no logit"), without_remark("[e_1; ...; e_M]")
    ("a'_ij = h . relu(z_ij)", '[e_1; ...; e_M]')
    """
    return re.split(r"; (?=[a-z]+ |[a-z]+, )|\s{2,}|, (?=over |no |with |by )| of all heads$", comment)[0].strip()


def bare(name):
    """A name without its index."""
    return INDEX.sub("", name)
