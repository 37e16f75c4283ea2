"""What the page of a step computes from its data, in Python: the values of all nodes, and what each cell reads."""

import functools

import numpy as np

NARY = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum, "all": np.logical_and,
        "any": np.logical_or}


def computed(op, values):
    """The value of a node from those of its arguments."""
    if op == "dot":
        return np.float64(sum(a * b for a, b in zip(values[::2], values[1::2], strict=True)))
    if op == "where":
        return values[1] if values[0] else values[2]
    return functools.reduce(NARY[op], values) if op in NARY else getattr(np, op)(*values)


class Numbers:
    """The data of a page, ready to be computed."""

    def __init__(self, data):
        self.data, self.ops = data, data["ops"]
        self.leaf_places = {name: i for i, name in enumerate(data["leaf_names"])}
        self.args = [() if self.ops[node[0]] in ("leaf", "const") else tuple(node[1:]) for node in data["nodes"]]
        self.homes = {}                                           # of each node: the steps after which it stands where
        for array in data["arrays"]:
            for step in (array["step"], *(name["step"] for name in array["names"])):
                for node in array["cells"]:
                    self.homes.setdefault(node, []).append((step, array["id"]))

    def values(self, changed=(), leaves=None):
        """The values of all nodes, with some of them ``changed`` to others: {node: value}."""
        if leaves is None:
            leaves = self.data["snapshots"][self.data["snapshot"]]["leaves"]
        changed, values = dict(changed), []
        for number, node in enumerate(self.data["nodes"]):
            if number in changed:
                values.append(np.float64(changed[number]))
            elif number < len(leaves):
                values.append(np.float64(leaves[number]))
            elif self.ops[node[0]] == "const":
                values.append(np.float64(node[1]))
            else:
                values.append(computed(self.ops[node[0]], [values[arg] for arg in node[1:]]))
        return np.array(values, np.float64)

    def array(self, layer, symbol, phase="forward"):
        """The last array of this name, under whichever of its names."""
        return [each for each in self.data["arrays"] if each["phase"] == phase and (layer, symbol) in (
            (each["layer"], each["symbol"]), *((name["layer"], name["symbol"]) for name in each["names"]))][-1]

    def reads(self, array, cell):
        """What the line of an array reads for one of its cells: {(array's number, node)}; -1 for a leaf of no array."""
        found, waiting, first = set(), [array["cells"][cell]], True
        while waiting:
            node = waiting.pop()
            homes = [home for home in self.homes.get(node, ()) if home[0] < array["step"] and home[1] != array["id"]]
            if homes:
                found.add((max(homes)[1], node))
            elif not self.args[node] and self.ops[self.data["nodes"][node][0]] == "leaf" and not first:
                found.add((-1, node))
            else:
                waiting += self.args[node]
            first = False
        return found

    def places(self, array, cell):
        """The same in words: {(symbol of an array, place in it)}."""
        found = set()
        for number, node in self.reads(array, cell):
            if number < 0:
                found.add((self.data["leaf_names"][node], ()))
                continue
            home = self.data["arrays"][number]
            for flat, each in enumerate(home["cells"]):
                if each == node:
                    found.add((home["symbol"], tuple(int(i) for i in np.unravel_index(flat, home["shape"]))))
        return found

    def dependents(self, start, held=()):
        """All nodes that depend on this one, without a way through those that are held as they are."""
        found = {start}
        for number, args in enumerate(self.args):
            if number not in held and any(arg in found for arg in args):
                found.add(number)
        return found
