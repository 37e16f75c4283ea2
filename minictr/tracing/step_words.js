// ---- numbers and sums in words
const MINUS = "−", B = data.X.length;

// A number in few signs: 0, 2, 1.24, .042, −.0031, 3.1e−5.
function short(x, digits = 2) {
  if (!isFinite(x)) return isNaN(x) ? "not a number" : x < 0 ? `${MINUS}∞` : "∞";
  const size = Math.abs(x);
  let text;
  if (Number.isInteger(x) && size < 1e5) text = String(size);
  else if (size < 9.95e-4 || size >= 1e5) text = size.toExponential(digits - 1).replace("e-", `e${MINUS}`).replace("e+", "e");
  else text = size.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(Number(size.toPrecision(digits)))))).replace(/^0\./, ".");
  return (x < 0 && text !== "0" ? MINUS : "") + text;
}

for (const array of arrays) {
  array.letters = array.axes.replace(/^\(|\)$/g, "").split(",").map(axis => axis.trim()).filter(Boolean);
}
const axesOf = array => array.letters;
const hasRows = array => array.shape[0] === B && (array.labels?.[0]?.[0] === "row 1" || axesOf(array)[0] === "B"
  || (!array.axes && ["forward", "loss"].includes(array.phase) && ["array", "input"].includes(array.kind)));
const inHeads = array => axesOf(array)[1] === "H" && axesOf(array)[3] === "d" && array.shape.length === 4;
const heads = Math.max(0, ...arrays.filter(inHeads).map(array => array.shape[1]));
const labelsOf = (array, axis) => array.labels?.[axis] ?? Array.from({length: array.shape[axis]}, (_, i) =>
  axis === 0 && hasRows(array) ? `row ${i + 1}` : heads && axesOf(array)[axis] === "H" ? `head ${i + 1}` : String(i + 1));
const places = [];                                                // of each cell, once it was asked for
const nameOf = cell => places[cell] ??= placeOf(cell);
function placeOf(cell) {
  const array = arrays[arrayOf[cell]], at = [];
  let rest = cell - first[arrayOf[cell]];
  for (let axis = array.shape.length - 1; axis >= 0; axis--) {
    const index = rest % array.shape[axis];
    rest = Math.floor(rest / array.shape[axis]);
    if (array.labels?.[axis] || array.shape[axis] > 1) at.unshift(labelsOf(array, axis)[index]);
  }
  const numbered = at.findIndex(name => /^\d+$/.test(name));     // "number 2 of v": it has no other name
  if (numbered >= 0) at[numbered] = `number ${at[numbered]}`;
  return at.join(", ");
}
// The statements that made an array, without the comments at their ends.
const statements = array => array.source.split("\n").map(line => line.split(/\s+#\s/)[0].trim()).filter(line => line && !line.startsWith("def "));
const called = array => array.notation || array.symbol;
const logitArray = arrays.findLastIndex(array => array.phase === "forward" && array.symbol === "s" && array.shape.length === 1);
const targets = arrays.findIndex(array => array.starts_from === "y");
const logitOf = row => values[nodeOf[first[logitArray] + row]];
const targetOf = row => targets < 0 ? data.y[row] : values[nodeOf[first[targets] + row]];
const describe = cell => {
  const array = arrays[arrayOf[cell]], where = nameOf(cell);
  return `${called(array)} of ${array.layer}${where ? `, ${where}` : ""}: ${short(values[nodeOf[cell]], 3)}`;
};

// The arithmetic of a cell as tokens: texts, and {cell, node} for the numbers that it reads. ``most``: terms of a sum.
function arithmetic(cell, most) {
  const a = arrayOf[cell], notes = [];
  const FUNCTIONS = {sqrt: "√", absolute: "abs", maximum: "max", minimum: "min", fmax: "max", fmin: "min"};
  const SIGNS = {greater: ">", greater_equal: "≥", less: "<", less_equal: "≤", equal: "=", not_equal: "≠"};
  const is = (node, op) => opOf[node] === op && foundIn(node, a) === undefined;
  const isConst = (node, value) => opOf[node] === "const" && nodes[node][1] === value;
  const number = (node, tight, read) => {
    const token = {cell: read, node};
    return tight > 1 && values[node] < 0 ? ["(", token, ")"] : [token];
  };
  const bracket = (tokens, needed) => needed ? ["(", ...tokens, ")"] : tokens;

  // A + B - C as [sign, tokens of each]; sums within sums are opened up, and a 0 to start from is left out
  function terms(node, sign = 1) {
    if (is(node, "add") || is(node, "sum")) return argsOf[node].flatMap(arg => terms(arg, sign));
    if (is(node, "subtract")) return [...terms(argsOf[node][0], sign), [-sign, [argsOf[node][1]]]];
    if (is(node, "dot")) {
      return argsOf[node].flatMap((arg, i) => i % 2 ? [] : [[sign, [arg, argsOf[node][i + 1]]]]);
    }
    return isConst(node, 0) ? [] : [[sign, [node]]];
  }
  function total(parts, tight) {
    if (!parts.length) return ["0"];
    const shown = parts.length > most ? [...parts.slice(0, most - 1), null, parts.at(-1)] : parts;
    const tokens = shown.flatMap((part, i) => {
      if (!part) return [" + …"];
      const sign = part[0] > 0 ? i ? " + " : "" : i ? ` ${MINUS} ` : MINUS;
      const inside = part[1].flatMap((factor, j) => [j ? "·" : "", ...say(factor, part[1].length > 1 || part[0] < 0 || i ? 2 : 1)]);
      return [sign, ...inside];
    });
    if (parts.length > most) notes.push(`${parts.length} terms in the sum`);
    return bracket(tokens, tight > 1 && parts.length > 1);
  }
  // tight: how closely what stands around binds: 0 nothing, 1 in a sum, 2 in a product, 3 below a line or in a power
  function say(node, tight, top = false) {
    const read = foundIn(node, a);
    if (read !== undefined) return number(node, tight, read);
    const op = opOf[node], args = argsOf[node];
    if (op === "leaf" || op === "const") return number(node, tight);
    if (["add", "sum", "subtract", "dot"].includes(op)) {
      const parts = terms(node);
      const single = parts.length === 1 && parts[0][0] > 0 && parts[0][1].length === 1;
      return single ? say(parts[0][1][0], tight) : total(parts, tight > 1 ? 2 : 0);
    }
    if (op === "multiply") {
      const factors = args.filter(arg => !isConst(arg, 1));
      if (factors.length < 2) return say(factors[0] ?? args[0], tight);
      return bracket([...say(factors[0], 2), "·", ...say(factors[1], 2)], tight > 2);
    }
    if (op === "divide") return bracket([...say(args[0], 2), " / ", ...say(args[1], 3)], tight > 1);
    if (op === "negative") return bracket([MINUS, ...say(args[0], 2)], tight > 1);
    if (op === "square") return [...say(args[0], 3), "²"];
    if (op === "power" || op === "float_power") return [...say(args[0], 3), isConst(args[1], 2) ? "²" : "^",
      ...(isConst(args[1], 2) ? [] : say(args[1], 3))];
    if (op in SIGNS) {
      const told = [...say(args[0], 1), ` ${SIGNS[op]} `, ...say(args[1], 1)];
      notes.push(["(", ...told, `) = ${values[node]}, ${values[node] ? "true" : "false"}`]);
      return ["(", ...told, ")"];
    }
    if ((op === "max" || op === "min") && !top) {                 // subtracted before exp, and the same for all
      notes.push(`${op} = ${short(values[node])}, the ${op === "max" ? "largest" : "smallest"} of ${args.length}`);
      return [op];
    }
    const listed = args.length > most ? [...args.slice(0, most - 1), null, args.at(-1)] : args;
    return [FUNCTIONS[op] ?? op, "(", ...listed.flatMap((arg, i) =>
      [i ? ", " : "", ...(arg === null ? ["…"] : say(arg, 0))]), ")"];
  }
  const tokens = reads[cell].length === 1 && foundIn(nodeOf[cell], a) !== undefined
    ? [{cell: reads[cell][0], node: nodeOf[cell]}] : say(nodeOf[cell], 0, true);
  return {tokens, notes: [...new Map(notes.map(note => [String(plainText([note].flat())), note])).values()]};
}
const plainText = tokens => tokens.map(token => typeof token === "string" ? token : short(values[token.node])).join("");

// Of the logit also what its terms add up.
const partsOf = cell => arrayOf[cell] !== logitArray ? [] : reads[cell].filter(read => !isGiven(read)).map(read =>
  [`${arrays[arrayOf[read]].symbol} = `, ...arithmetic(read, 5).tokens]);

// The longest form of the arithmetic that fits into a line or two.
function explained(cell) {
  for (const most of [6, 4, 3]) {
    const told = arithmetic(cell, most);
    if (most > 3 && plainText(told.tokens).length > 90) continue;
    return {...told, notes: [...told.notes, ...partsOf(cell)]};
  }
}

// ---- what a line does, in words, where its form is a well-known one
function formOf(cell) {
  const a = arrayOf[cell], array = arrays[a], node = nodeOf[cell], args = argsOf[node];
  if (isSum(array)) return "rows that looked it up";
  if (isGiven(cell)) return array.kind === "input" ? "input" : array.kind === "state" ? "state" : "parameter";
  if (a === logitArray) return "logit";
  if (array.phase === "loss" && array.symbol === "row_losses") return "loss of a row";
  if (array.phase === "loss" && array.cells.length === 1) return "loss";
  if (foundIn(node, a) !== undefined) return "passed on";
  const is = (n, ...names) => names.includes(opOf[n]) && foundIn(n, a) === undefined;
  if (is(node, "divide") && is(args[0], "exp") && is(args[1], "sum", "add")) return "softmax";
  if (is(node, "multiply") && is(args[1], "subtract") && is(argsOf[args[1]][1], "sum", "add")) return "softmax backwards";
  if (is(node, "multiply") && args.some(n => is(n, "greater"))) return "relu backwards";
  if (is(node, "maximum")) return "relu";
  const [p, q] = reads[cell].map(read => arrays[arrayOf[read]]);
  const both = is(node, "add") && reads[cell].length === 2 && p !== q;
  if (both && p.phase === "backward" && q.phase === "backward" && p.shape.join() === q.shape.join()) return "two uses";
  if (is(node, "divide") && is(args[0], "subtract") && is(argsOf[args[0]][0], "divide")) return "error";
  const sums = is(node, "dot", "sum", "add") && reads[cell].length > 1;
  return sums && array.phase === "backward" && byId.get(array.gradient_of)?.kind === "parameter" ? "all uses" : "";
}
const FORMS = {
  input: "Given: change it, and see what it does.",
  parameter: "A parameter, as training has left it so far: change it, and see what it does.",
  state: "What the optimizer remembers of the steps before.",
  "passed on": "The same number, in another place.",
  softmax: "Softmax: its share of all the exps.",
  "softmax backwards": "Softmax, backwards: what counts is how far its own gradient lies above the weighted mean of all, " +
    "since one share can only grow at the cost of the others.",
  loss: "The loss: the mean of the rows' losses. Training makes it smaller, and every ∂L/∂ is how fast it grows with that number.",
  relu: "ReLU: what is below 0 becomes 0.",
  "relu backwards": "ReLU, backwards: the gradient passes where the number was above 0, and stops elsewhere.",
  error: "Sigmoid of the logit, less the target: how wrong the row is, as its share of the batch.",
  "rows that looked it up": "A value's gradient is the sum over the rows that looked it up: a row with another value adds nothing.",
  "all uses": "All that used this parameter on the way forward adds its part: every row, and every pair or field."};
function inWords(cell) {
  const form = formOf(cell);
  if (form === "softmax") return `${FORMS.softmax} ${ofShares(cell)}`;
  const typed = held.has(nodeOf[cell]) && !isGiven(cell);
  if (form === "logit" || (form === "loss of a row" && !typed)) return ofPrediction(form, cell - first[arrayOf[cell]], typed);
  if (typed) return "";
  if (form !== "two uses") return FORMS[form] ?? "";
  const [one, other] = reads[cell].map(read => arrays[arrayOf[read]].symbol);
  return `${called(arrays[arrayOf[cell]]).replace("dL/d", "")} is used twice on the way forward, so two gradients come back, ` +
    `${one === other ? "one by each way" : `${one} and ${other}`}: they are added.`;
}

// What a change does to the shares of one softmax: to each number that is divided by the same sum.
function ofShares(cell) {
  const {cells} = arrays[arrayOf[cell]], [, whole] = argsOf[nodeOf[cell]];
  const shares = cells.filter(node => opOf[node] === "divide" && argsOf[node][1] === whole);
  const score = called(arrays[arrayOf[reads[cell][0]]]), typed = shares.filter(node => held.has(node));
  if (!typed.length) return `Raise one score (${score}), and its share grows while all others shrink.`;
  const total = short(shares.reduce((sum, node) => sum + values[node], 0), 3);
  return `${held.has(nodeOf[cell]) ? "The number typed here" : "A number typed in this row"} now stands in the place of the `
    + `softmax's, and the other shares stay as they are: they sum to ${total}${total === "1" || total === "1.00" ? "" : ", no longer to 1"}. `
    + `To see all shares move, change a score ${score} instead.`;
}

// What the logit of a row says of it, beside what happened; and how wrong that is.
function ofPrediction(form, row, typed) {
  const y = targetOf(row);
  if (data.loss !== "log loss") {
    return form === "logit" ? `s is the prediction for row ${row + 1}; its y is ${short(y, 3)}.`
      : `The loss of row ${row + 1}: the square of how far s lies from y.`;
  }
  const p = 1 / (1 + Math.exp(-logitOf(row))), predicts = `sigmoid(s) = ${short(p, 3)} is p, the predicted chance of a click`;
  if (form === "logit") {
    return `s is the logit of row ${row + 1}${typed ? "" : ": the model's terms, added up"}. ${predicts}; y = ${short(y, 3)}`
      + (y === 1 ? ": it was clicked." : y === 0 ? ": it was not clicked." : ".");
  }
  const of = y === 1 ? `−log(p) = −log(${short(p, 3)}), since y = 1` : `−log(1 − p) = −log(1 − ${short(p, 3)}), since y = 0`;
  return `How wrong row ${row + 1} is: ${predicts}.` + (y === 1 || y === 0 ? ` The loss is ${of}.` : "");
}
