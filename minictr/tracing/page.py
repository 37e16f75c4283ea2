"""The trace is a page for notebooks: its tables fold, small arrays are coloured cells, and there is no script."""

import html

import numpy as np

from .text import SMALL, full_name, number_format, numbers_text, shape_text

# Colours lie thinly over the notebook's own background, and text keeps the notebook's colour: so both light and dark
# notebooks stay readable.
STYLE = """<style>
.minictr-trace details {margin: 2px 0; border-left: 3px solid #8C8C8C; padding-left: 8px}
.minictr-trace summary {cursor: pointer}
.minictr-trace table {border-collapse: collapse; margin: 2px 0}
.minictr-trace td, .minictr-trace th {text-align: left; vertical-align: top; padding: 2px 8px; background: none}
.minictr-trace td.n {text-align: right; padding: 1px 5px; font-variant-numeric: tabular-nums}
.minictr-trace code, .minictr-trace pre {background: none; color: inherit; white-space: pre-wrap}
</style>"""
BELOW, ABOVE = "0, 114, 178", "213, 94, 0"        # blue and vermillion, which colour-blind readers can tell apart


def group_html(phase, heading, steps, layer, model):
    """Return the steps of one layer as HTML, folded away for the update, which has one group for each parameter."""
    rows = "".join(_step_html(step, "" if step.layer in (layer, model) else step.layer) for step in steps)
    titles = "".join(f"<th>{title}</th>" for title in ("", "array", "shape", "equation", "line", "numbers"))
    return (f"<details{'' if phase == 'update' else ' open'}><summary><b>{phase}</b>: {html.escape(heading)}</summary>"
            f"<table><tr>{titles}</tr>{rows}</table></details>")


def _step_html(step, inner):
    turns = f"after {step.times} turns" if step.times > 1 else ""
    equation = "<br>".join(html.escape(text) for text in (step.equation, step.paper, turns) if text)
    values = f"= step {step.same_as}" if step.same_as else numbers_html(step.value)
    name = html.escape(f"{inner}: {full_name(step)}" if inner else full_name(step))
    return (f"<tr><td>{step.number}</td><td><b>{name}</b></td><td>{html.escape(shape_text(step))}</td>"
            f"<td>{equation}</td>"
            f"<td>{html.escape(step.line)}<br><code>{html.escape(step.source)}</code></td><td>{values}</td></tr>")


def numbers_html(array):
    """A small array as coloured cells, 0 without colour; of one with more than two axes, a table for each matrix."""
    if array.size > SMALL or array.size == 0:
        return html.escape(numbers_text(array)[0])
    written, largest = number_format(array), _largest(array)
    tables = []
    for index in np.ndindex(array.shape[:-2]):
        rows = "".join(f"<tr>{''.join(_cell_html(number, written, largest) for number in row)}</tr>"
                       for row in np.atleast_2d(array[index]))
        label = f"[{', '.join(map(str, index))}]" if index else ""
        tables.append(f"{label}<table>{rows}</table>")
    return "".join(tables)


def _largest(array):
    """The size that gets the full colour; 0, so none, where numbers have no sign: ids and True or False."""
    return float(np.abs(array).max()) if array.dtype.kind == "f" else 0.0


def _cell_html(number, written, largest):
    share = abs(float(number)) / largest if largest > 0 and np.isfinite(largest) else 0.0
    colour = f' style="background: rgba({ABOVE if number > 0 else BELOW}, {0.6 * share:.2f})"' if share else ""
    return f'<td class="n"{colour}>{written(number)}</td>'
