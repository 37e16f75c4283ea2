// ---- where everything stands: forward from left to right, each gradient below its array, the update at the end
const el = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};
const typeset = (tag, attributes, markup) => {                    // markup: MathML and escaped text, made with the page
  const element = el(tag, attributes);
  element.innerHTML = markup;
  return element;
};
const sideBySide = array => axesOf(array).at(-1) === "H d";

// Slots: a forward array (or none) and the gradients below it, in groups by layer. A parameter's summed gradient, with
// which the update begins, stands there too.
const isSum = array => array.phase === "update" && array.symbol === "grad" && (array.parameter ?? null) !== null;
function slotsOf() {
  const slots = [], slotOf = new Map();
  arrays.forEach((array, a) => {
    if (array.phase !== "forward" && array.phase !== "loss") return;
    const slot = {layer: array.layer.split(".")[0], kind: array.layer_class, top: a, below: []};
    slots.push(slot);
    slotOf.set(array.id, slot);
  });
  let latest = slots.at(-1);
  arrays.forEach((array, a) => {
    if (array.phase !== "backward" && !isSum(array)) return;
    const layer = array.layer.split(".")[0];
    const above = other => other.top !== null && other.layer === layer && array.notation === `dL/d${arrays[other.top].notation}`;
    let slot = slotOf.get(isSum(array) ? array.parameter : array.gradient_of) ?? slots.findLast(above);
    if (!slot) {                                                  // of nothing that is shown: beside the one before it
      slot = {layer, kind: array.layer_class, top: null, below: []};
      let place = slots.indexOf(latest);
      if (latest.layer !== layer) {                               // at the right end of its own layer, else at its left one
        const left = slots.findLastIndex((other, i) => i < place && other.layer === layer);
        const right = slots.findIndex(other => other.layer === layer);
        place = left >= 0 ? left + 1 : right >= 0 ? right : place;
      }
      slots.splice(place, 0, slot);
      slotOf.set(array.id, slot);
    }
    slot.below.unshift(a);                                        // the flow runs to the left
    latest = slot;
  });
  return slots;
}

// The tables of an array: [{row of the batch or null, heading, cells (lines of cells), sides, tops (their labels)}]
function tablesOf(a, split) {
  const array = arrays[a], axes = axesOf(array), rows = hasRows(array);
  const labels = array.shape.map((_, axis) => labelsOf(array, axis));
  const textual = axis => labels[axis].some(label => !/^\d*$/.test(label));
  const inner = array.shape.map((_, axis) => axis).slice(rows ? 1 : 0);
  const steps = array.shape.map((_, axis) => array.shape.slice(axis + 1).reduce((p, q) => p * q, 1));
  const tables = [];
  for (let row = 0; row < (rows ? B : 1); row++) {
    const start = first[a] + (rows ? row * steps[0] : 0), of = {row: rows ? row : null, heading: ""};
    if (inner.length < 2) {
      const axis = inner[0], size = inner.length ? array.shape[axis] : 1;
      const cells = Array.from({length: size}, (_, i) => start + i), names = inner.length ? labels[axis] : [""];
      const down = inner.length && (["P", "M", "T", "S"].includes(axes[axis]) || textual(axis));
      tables.push(down ? {...of, cells: cells.map(cell => [cell]), sides: names, tops: [""]}
        : {...of, cells: [cells], sides: [""], tops: names});
      continue;
    }
    const [r, c] = inner.slice(-2), outer = inner.slice(0, -2);
    const size = outer.reduce((product, axis) => product * array.shape[axis], 1);
    const matrices = Array.from({length: size}, (_, i) => start + i * array.shape[r] * array.shape[c]);
    const lines = Array.from({length: array.shape[r]}, (_, i) => i);
    const columns = Array.from({length: array.shape[c]}, (_, i) => i);
    const line = (from, i) => columns.map(j => from + i * steps[r] + j * steps[c]);
    if (inHeads(array) && !split) {                               // the heads of a field side by side, as the line above
      tables.push({...of, cells: lines.map(i => matrices.flatMap(from => line(from, i))), sides: labels[r],
        tops: matrices.flatMap(() => labels[c])});
    } else {
      matrices.forEach((from, i) => tables.push({...of, heading: outer.length ? labels[outer.at(-1)][i % array.shape[outer.at(-1)]] : "",
        cells: lines.map(i => line(from, i)), sides: labels[r], tops: labels[c]}));
    }
  }
  return tables.map(table => ({...table, columnsTextual: inner.length > 1 && textual(inner.at(-1)),
    linesTextual: table.sides.some(side => !/^\d*$/.test(side))}));
}

const boxes = [];                                                 // of each cell: its <td>
const cellIn = new WeakMap();                                     // and back
// Which head a number belongs to, where the heads stand side by side or apart; else -1.
function headOf(cell) {
  const array = arrays[arrayOf[cell]], index = cell - first[arrayOf[cell]], last = array.shape.at(-1);
  if (!heads) return -1;
  if (axesOf(array)[1] === "H") return Math.floor(index / array.shape.slice(2).reduce((p, q) => p * q, 1)) % heads;
  return sideBySide(array) ? Math.floor((index % last) / (last / heads)) : -1;
}

function drawTable(a, table, split, labelled) {
  const array = arrays[a], body = el("tbody"), box = el("table", {role: "grid", "aria-label":
    `${called(array)} of ${array.layer}${table.row === null ? "" : `, row ${table.row + 1}`}${table.heading && `, ${table.heading}`}`});
  if (table.heading) box.append(el("caption", {}, table.heading));
  if (table.columnsTextual) {
    const head = el("tr", {}, ...(labelled ? [el("td")] : []),
      ...table.tops.map(top => el("th", {scope: "col", title: top}, top.slice(0, 5))));
    box.append(el("thead", {"aria-hidden": "true"}, head));
  }
  table.cells.forEach((line, i) => {
    const row = el("tr", {role: "row"});
    if (labelled) row.append(el("th", {scope: "row", title: table.sides[i]}, shortened(table.sides[i])));
    line.forEach((cell, j) => {
      const td = boxes[cell] ?? el("td", {role: "gridcell", tabindex: "-1"}, el("span"));
      td.className = "cell";
      const head = headOf(cell);
      if (head >= 0) td.classList.add(`head${head % 4}`);
      td.classList.toggle("apart", head > 0 && j > 0 && headOf(line[j - 1]) !== head);
      boxes[cell] = td;
      cellIn.set(td, cell);
      row.append(td);
    });
    body.append(row);
  });
  box.append(body);
  return box;
}
// What stands beside a line: "parent" for user_segment=parent, "user × ad" for a pair (cut where it is long, on a phone
// sooner), "1 device" for row 1, device.
const NARROW = innerWidth <= 704;
const cut = (text, most) => text.length > most ? `${text.slice(0, most - 1)}…` : text;
const shortened = name => {
  const [, row, rest] = name.match(/^(?:row (\d+), )?(.*)$/), value = rest.match(/^[^=]*=(.*\D.*)$/);
  const parts = rest.split(" × "), most = Math.floor((NARROW ? 18 : 30) / parts.length);
  return (row ? `${row} ` : "") + (value ? cut(value[1], 15) : parts.map(part => cut(part, most)).join(" × "));
};

function fillBlocks(a, blocks, split, labelled) {
  const tables = tablesOf(a, split);
  for (const block of blocks) {
    block.replaceChildren();
    block.classList.toggle("stacked", split && inHeads(arrays[a]));
  }
  for (const table of tables) {
    const block = blocks[table.row ?? 0], sides = table.linesTextual && (labelled || table.columnsTextual);
    block.append(drawTable(a, table, split, sides && (split || !block.childElementCount)));
  }
}

const cards = [];                                                 // of each array: {card, blocks, labelled}
function drawCard(a, labelled) {
  const array = arrays[a], rows = hasRows(array);
  const plainName = called(array) === array.symbol && array.symbol.length > 1;
  const norm = el("span", {class: "norm"});
  const head = el("h3", {}, typeset("span", {class: "name"}, array.name_math), ...(snapshots.length > 1 ? [norm] : []),
    el("small", {}, ...(plainName ? [] : [el("code", {}, array.symbol), " "]), array.axes || array.shape.join(" × ") || "one number"));
  const blocks = Array.from({length: rows ? B : 1}, (_, row) => el("div", {class: "block", "data-row": rows ? `row ${row + 1}` : " "}));
  const equation = el("div", {class: "equation"});
  if (isSum(array)) equation.append(el("p", {}, "the sum over the rows that looked it up"));
  else if (array.derivative_math) equation.append(typeset("p", {}, array.derivative_math));
  else if (array.equation_math) {
    equation.append(typeset("p", {class: array.phase === "backward" ? "from" : ""}, array.equation_math));
  }
  const card = el("article", {class: `card ${array.kind} ${isSum(array) ? "backward" : array.phase}`}, head, equation, ...blocks,
    el("p", {class: "code"}, el("code", {}, statements(array).at(-1) ?? ""), el("small", {}, `${array.file.split("/").at(-1)}:${array.line}`)));
  if (!rows) card.classList.add("whole");
  fillBlocks(a, blocks, false, labelled);
  cards[a] = {card, blocks, labelled, norm};
  return card;
}

// The flow as one grid: the lines of all its tables stand level, so that a pair's line goes right across.
function drawFlow() {
  const flow = el("div", {class: "flow", role: "region", "aria-label": "Forward and backward", tabindex: "-1"});
  const slots = slotsOf(), sections = [];
  let column = 1;
  for (const slot of slots) {
    const width = Math.max(1, slot.below.length);
    let section = sections.at(-1);
    if (!section || section.layer !== slot.layer) {
      section = {layer: slot.layer, kind: slot.kind, from: column, arrays: []};
      sections.push(section);
    }
    Object.assign(slot, {from: column, width, section});
    column += width;
    section.to = column;
    section.arrays.push(...(slot.top === null ? [] : [slot.top]), ...slot.below);
  }
  const place = (a, slot, from, width, band) => {
    const lines = tablesOf(a, false).filter(table => table.linesTextual).map(table => table.sides.join()).at(0) ?? "";
    // The names of the lines come again before those to the left are out of sight.
    const named = slot.section[band], labelled = lines !== "" && (named?.lines !== lines || from - named.from >= (NARROW ? 1 : 3));
    if (labelled) slot.section[band] = {lines, from};
    const card = drawCard(a, labelled);
    const start = band === "top" ? 2 : 6 + B;
    card.style.gridColumn = `${from} / span ${width}`;
    card.style.gridRow = `${start} / span ${3 + B}`;
    card.style.setProperty("--blocks", `span ${B}`);
    flow.append(card);
  };
  for (const section of sections) {
    const head = el("h2", {class: "layer"}, el("span", {}, section.layer,
      ...(section.kind && section.kind !== section.layer ? [" ", el("small", {}, section.kind)] : [])));
    head.style.gridColumn = `${section.from} / ${section.to}`;
    section.head = head;
    flow.append(head);
  }
  for (const slot of slots) if (slot.top !== null) place(slot.top, slot, slot.from, slot.width, "top");
  const back = el("p", {class: "back"}, el("span", {}, "← backward: each gradient below its array"));
  back.style.gridArea = `${5 + B} / 1 / auto / ${column}`;
  flow.append(back);
  for (const slot of slots) slot.below.forEach((a, i) => place(a, slot, slot.from + i, 1, "bottom"));
  flow.style.gridTemplateRows = `auto [top] auto auto repeat(${B}, auto) auto auto auto auto repeat(${B}, auto) auto`;
  return {flow, sections};
}

function drawUpdate() {
  const parts = new Map();
  arrays.forEach((array, a) => {
    if (array.phase !== "update" || isSum(array)) return;
    if (!parts.has(array.layer)) parts.set(array.layer, []);
    parts.get(array.layer).push(a);
  });
  if (!parts.size) return {update: null, tellSteps() {}};
  const update = el("section", {class: "update", "aria-label": "Update"}, el("h2", {}, "update ",
    el("small", {}, data.optimizer)));
  const tellers = [];
  for (const [name, own] of parts) {
    const inside = el("div", {class: "cards"}, ...own.map(a => drawCard(a, true)));
    const after = own.findLast(a => arrays[a].kind === "array" && [arrays[a], ...(arrays[a].names ?? [])].some(each => each.symbol === "param"));
    const before = arrays.findIndex(array => array.id === arrays[own[0]].parameter), part = el("details", {}, el("summary", {}, name));
    if (before >= 0 && after !== undefined && arrays[before].cells.length === arrays[after].cells.length) {
      const {table, tellSteps} = drawSteps(before, after);
      part.append(el("div", {class: "steps"}, table));
      tellers.push(tellSteps);
    }
    part.append(inside);
    update.append(part);
  }
  return {update, tellSteps: () => tellers.forEach(teller => teller())};
}

// A parameter before the step, the step, and after it, side by side: copies, to read; the cards below are to touch.
function drawSteps(before, after) {
  const {name_math: name} = arrays[before], waiting = [], body = el("tbody");
  let width = 1;
  for (const {cells, sides, heading} of tablesOf(before, false)) {
    if (heading) body.append(el("tr", {}, el("th", {}, heading)));
    cells.forEach((line, i) => {
      width = line.length;
      const row = el("tr", {}, el("th", {scope: "row", title: sides[i]}, shortened(sides[i])));
      for (const say of [v => v, (v, w) => w - v, (v, w) => w]) {
        line.forEach((cell, j) => {
          const td = el("td", {class: j ? "" : "apart"});
          waiting.push([td, nodeOf[cell], nodeOf[cell - first[before] + first[after]], say]);
          row.append(td);
        });
      }
      body.append(row);
    });
  }
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("th"), ...[`${name} before`, "+ the step", `= ${name} after`].map(markup =>
    typeset("th", {scope: "col", colspan: width, class: "apart"}, markup)))), body);
  return {table, tellSteps: () => waiting.forEach(([td, old, now, say]) => {td.textContent = short(say(values[old], values[now]), 3)})};
}
