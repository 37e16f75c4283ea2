// ---- the step as numbers that remember: each node is a leaf, a constant, or an operation on earlier nodes
const data = JSON.parse(document.querySelector("#data").textContent);
const {nodes, ops, snapshots} = data;                             // a snapshot has the leaves after an epoch
// Left out: a gradient that is only laid out anew, a line for each slot, before its rows are summed; and zeros to start from.
const arrays = data.arrays.filter(array => !(array.phase === "backward" && array.axes.startsWith("(B * S")
  && (array.copied_from ?? null) !== null) && array.cells.some(node => ops[nodes[node][0]] !== "const"));
const byId = new Map(arrays.map(array => [array.id, array]));
for (const array of arrays) {                                     // what is shaped like its parameter has its labels
  const like = byId.get(array.parameter ?? array.gradient_of);
  if (like && like.shape.join() === array.shape.join()) array.labels = array.labels?.some(Boolean) ? array.labels : like.labels;
}

const ONE = {positive: a => a, negative: a => -a, square: a => a * a, sqrt: Math.sqrt, cbrt: Math.cbrt, exp: Math.exp,
  exp2: a => 2 ** a, expm1: Math.expm1, log: Math.log, log2: Math.log2, log10: Math.log10, log1p: Math.log1p,
  tanh: Math.tanh, sin: Math.sin, cos: Math.cos, absolute: Math.abs, sign: Math.sign, reciprocal: a => 1 / a,
  floor: Math.floor, ceil: Math.ceil, logical_not: a => +!a};
const TWO = {add: (a, b) => a + b, subtract: (a, b) => a - b, multiply: (a, b) => a * b, divide: (a, b) => a / b,
  power: (a, b) => a ** b, float_power: (a, b) => a ** b, maximum: Math.max, minimum: Math.min, fmax: Math.max,
  fmin: Math.min, remainder: (a, b) => a - b * Math.floor(a / b),
  logaddexp: (a, b) => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))),
  greater: (a, b) => +(a > b), greater_equal: (a, b) => +(a >= b), less: (a, b) => +(a < b),
  less_equal: (a, b) => +(a <= b), equal: (a, b) => +(a === b), not_equal: (a, b) => +(a !== b),
  logical_and: (a, b) => +(a && b && 1), logical_or: (a, b) => +(a || b ? 1 : 0)};
const MANY = {
  sum: (v, args) => args.reduce((total, n) => total + v[n], 0),
  prod: (v, args) => args.reduce((total, n) => total * v[n], 1),
  mean: (v, args) => args.reduce((total, n) => total + v[n], 0) / args.length,
  all: (v, args) => +args.every(n => v[n]),
  any: (v, args) => +args.some(n => v[n]),
  max: (v, args) => args.reduce((most, n) => Math.max(most, v[n]), -Infinity),
  min: (v, args) => args.reduce((least, n) => Math.min(least, v[n]), Infinity),
  dot: (v, args) => {
    let total = 0;
    for (let i = 0; i < args.length; i += 2) total += v[args[i]] * v[args[i + 1]];
    return total;
  },
  where: (v, [condition, yes, no]) => v[condition] ? v[yes] : v[no]};

const CONSTANTS = {inf: Infinity, "-inf": -Infinity, nan: NaN};   // what JSON has no number for
const opOf = nodes.map(node => ops[node[0]]), argsOf = nodes.map((node, n) => opOf[n] === "const" ? [] : node.slice(1));

// The values of all nodes, from those of the leaves; the nodes in ``held`` have the values given there.
function evaluate(leaves, held) {
  const v = new Float64Array(nodes.length);
  let leaf = 0;
  for (let n = 0; n < nodes.length; n++) {
    const op = opOf[n], args = argsOf[n];
    if (op === "leaf") v[n] = leaves[leaf++];
    else if (op === "const") v[n] = CONSTANTS[nodes[n][1]] ?? nodes[n][1];
    else if (op in TWO) v[n] = TWO[op](v[args[0]], v[args[1]]);
    else if (op in ONE) v[n] = ONE[op](v[args[0]]);
    else v[n] = MANY[op](v, args);
    if (held.size && held.has(n)) v[n] = held.get(n);
  }
  return v;
}

// ---- cells: the numbers of the arrays, counted through. A node may stand in several arrays
const first = [], arrayOf = [], nodeOf = [];
const cellsOf = new Map();                                        // of a node: its cells, the earliest first
arrays.forEach((array, a) => {
  first.push(nodeOf.length);
  for (const node of array.cells) {
    if (!cellsOf.has(node)) cellsOf.set(node, []);
    cellsOf.get(node).push(nodeOf.length);
    arrayOf.push(a);
    nodeOf.push(node);
  }
});
const wordsOf = arrays.map(array => new Set(array.source.match(/\w+/g)));
const symbolsOf = arrays.map(array => [array.symbol, ...(array.names ?? []).map(other => other.symbol)]);

// The cell of an earlier array in which a line finds this node: in one that the line names, else in the latest.
function foundIn(node, a) {
  const before = (cellsOf.get(node) ?? []).filter(cell => arrayOf[cell] < a);
  return before.findLast(cell => symbolsOf[arrayOf[cell]].some(symbol => wordsOf[a].has(symbol))) ?? before.at(-1);
}

// What a cell reads: its expression, down to the nodes that earlier arrays hold. A number passed on reads itself.
function readsOf(cell) {
  const a = arrayOf[cell], found = new Set(), seen = new Set(), waiting = [];
  const look = node => {
    const read = foundIn(node, a);
    if (read !== undefined) found.add(read);
    else if (!seen.has(node)) waiting.push(...[...argsOf[node]].reverse()), seen.add(node);
  };
  look(nodeOf[cell]);
  while (waiting.length) look(waiting.pop());
  return [...found];
}
const reads = nodeOf.map((_, cell) => readsOf(cell)), readers = nodeOf.map(() => []);
reads.forEach((found, cell) => found.forEach(read => readers[read].push(cell)));

// All that depends on a cell, through however many lines.
function dependents(cell) {
  const found = new Set(readers[cell]);
  for (const next of found) readers[next].forEach(reader => found.add(reader));
  return [...found];
}
const isGiven = cell => opOf[nodeOf[cell]] === "leaf" && !reads[cell].length;

// ---- what is shown: a snapshot's leaves, and what the reader of the page changed
const held = new Map();
let snapshot = data.snapshot, values, plain;
const plainValues = snapshots.map(({leaves}) => evaluate(leaves, new Map()));
function compute() {
  plain = plainValues[snapshot];
  values = held.size ? evaluate(snapshots[snapshot].leaves, held) : plain;
}
compute();
const differs = (a, b) => a !== b && !(Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b)))
  && !(isNaN(a) && isNaN(b));
const isChanged = cell => differs(values[nodeOf[cell]], plain[nodeOf[cell]]);
