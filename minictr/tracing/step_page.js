// ---- the page: what is drawn once, and what changes with the pointer, a number or an epoch
const main = document.querySelector("main");
const {flow, sections} = drawFlow(), {update, tellSteps} = drawUpdate(), {inputs, tellInputs} = drawInputs();
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

// A switch of a few choices, of which one holds.
function choice(label, name, options, chosen, changed) {
  const set = el("fieldset", {class: "choice"}, el("legend", {}, label));
  for (const [value, text] of options) {
    const input = el("input", {type: "radio", name, value, checked: value === chosen});
    input.addEventListener("change", () => changed(value));
    set.append(el("label", {}, input, el("span", {}, text)));
  }
  return set;
}
let follow = "reads";
const controls = el("div", {class: "controls"},
  choice("Show", "show", [["both", "both ways"], ["forward", "forward"], ["backward", "backward"]], "both",
    way => {main.dataset.show = way}),
  choice("as", "as", [["numbers", "numbers"], ["colours", "colours"]], "numbers", as => {main.dataset.as = as}),
  choice("Light up", "follow", [["reads", "what a number reads"], ["readers", "all that depends on it"]], "reads",
    way => {follow = way; if (at !== null) point(at)}));
if (heads > 1) {
  controls.append(choice("Heads", "heads", [["joined", "side by side"], ["apart", "split"]], "joined", splitHeads));
}
main.dataset.show = "both";
main.dataset.heads = "joined";
main.dataset.as = "numbers";

// ---- the layers as a line of buttons, which say where cells are lit up, also far to the right
const map = el("nav", {class: "map", "aria-label": "Layers"});
for (const section of [...sections, ...(update ? [{layer: "update", head: update, arrays: arrays.flatMap((array, a) =>
  array.phase === "update" && !isSum(array) ? [a] : [])}] : [])]) {
  const button = el("button", {type: "button"}, section.layer, el("b", {"aria-hidden": "true"}));
  button.addEventListener("click", () => {
    if (section.head === update) update.scrollIntoView({block: "nearest", behavior: calm ? "auto" : "smooth"});
    else scroller.scrollTo({left: section.head.offsetLeft - 8, behavior: calm ? "auto" : "smooth"});
  });
  section.button = button;
  for (const a of section.arrays) cards[a].button = button;
  map.append(button);
}
const scroller = el("div", {class: "scroller"}, flow);

// ---- what is said about a cell
const told = {
  name: el("p", {class: "what"}), sum: el("p", {class: "sum"}),
  words: el("span", {class: "words"}), source: el("p", {class: "source"})};
const slider = el("input", {type: "range", "aria-label": "Change the number"});
const box = el("input", {class: "box", inputmode: "decimal", size: 9, "aria-label": "The number"});
const release = el("button", {type: "button"}, "as it was");
const editing = el("div", {class: "editing", hidden: ""}, el("label", {}, "Change it ", slider), box, release);
const hint = el("p", {class: "hint"}, matchMedia("(pointer: coarse)").matches ? "Tap a number to hold on to it and change it here." :
  "Click to hold on to a number and change it, or drag it sideways. " +
  "Keys: arrows, Enter to change, Alt and an arrow to change a little, Escape.");
const history = el("p", {class: "history", hidden: ""});
const changes = el("p", {class: "changes", role: "status"}), reset = el("button", {type: "button", class: "reset", hidden: ""}, "Reset all");
const panel = el("section", {class: "panel", "aria-label": "The number pointed at"},
  el("div", {class: "told", role: "status", "aria-atomic": "true"}, told.name, told.sum, told.source),
  el("div", {class: "side"}, hint, editing, history, el("div", {class: "state"}, changes, reset)));

// ---- where to begin
function examples() {
  const found = [], add = (text, cell, way = "reads") => cell >= 0 && found.push([text, cell, way]);
  const where = (phase, test) => nodeOf.findIndex((_, cell) => arrays[arrayOf[cell]].phase === phase && test(cell));
  const kind = (phase, name) => where(phase, cell => formOf(cell) === name);
  add("a share of a softmax", kind("forward", "softmax"));
  add("its way back", kind("backward", "softmax backwards"));
  add("a gradient in two parts", kind("backward", "two uses"));
  add("how the logit adds up", logitArray < 0 ? -1 : first[logitArray]);
  add("how wrong it is", where("loss", cell => arrays[arrayOf[cell]].symbol === "row_losses"));
  add("what one number of a vector reaches", where("forward", cell => arrays[arrayOf[cell]].symbol === "V" && isGiven(cell)),
    "readers");
  return found.slice(0, 5);
}
const tries = el("p", {class: "tries"}, "To begin with: ");
for (const [text, cell, way] of examples()) {
  const button = el("button", {type: "button"}, text);
  button.addEventListener("click", () => {
    controls.querySelector(`input[value=${way}]`).click();
    show(cell);
  });
  tries.append(button, " ");
}
panel.prepend(tries);
// What a number reads stands to its left (or, of a gradient, to its right) if it is far away: then it goes to the edge.
function inlineFor(cell) {
  const x = td => td.getBoundingClientRect().x, here = x(boxes[cell]);
  const far = reads[cell].map(read => x(boxes[read]) - here).filter(distance => 2 * Math.abs(distance) > scroller.clientWidth - 100);
  return far.length ? far[0] < 0 ? "end" : "start" : "center";
}
// Bring a cell into view and hold on to it.
function show(cell) {
  boxes[cell].closest("details")?.setAttribute("open", "");
  if (!boxes[cell].checkVisibility()) controls.querySelector("input[value=both]").click();
  if (flow.contains(boxes[cell])) map.scrollIntoView({block: "start"});
  boxes[cell].scrollIntoView({block: "nearest", inline: inlineFor(cell), behavior: calm ? "auto" : "smooth"});
  boxes[cell].focus({preventScroll: true});
  pin(cell);
}

// ---- epochs
const epochs = el("div", {class: "epochs"});
const play = el("button", {type: "button"}, "Play"), dial = el("input", {type: "range", min: 0, max: snapshots.length - 1,
  step: 1, value: snapshot, "aria-label": "Epoch"}), epochText = el("output"), present = el("span", {class: "present"});
const epochName = number => snapshots[number].epoch === null ? "the traced step" : snapshots[number].epoch
  ? `after epoch ${snapshots[number].epoch}` : "before training";
let playing = null;
function setEpoch(number) {
  snapshot = number;
  dial.value = number;
  dial.setAttribute("aria-valuetext", epochName(number));
  epochText.textContent = epochName(number);
  refresh();
}
function pause() {
  clearInterval(playing);
  playing = null;
  play.textContent = "Play";
}
if (snapshots.length > 1) {
  epochs.append(play, el("label", {}, "Training ", dial), epochText, present);
  dial.addEventListener("input", () => {pause(); setEpoch(+dial.value)});
  play.addEventListener("click", () => {
    if (playing) return pause();
    if (snapshot === snapshots.length - 1) setEpoch(0);
    play.textContent = "Pause";
    playing = setInterval(() => {
      if (snapshot === snapshots.length - 1) pause();
      else setEpoch(snapshot + 1);
    }, calm ? 1500 : 700);
  });
}

const headNote = el("p", {class: "headnote", hidden: ""});
if (heads > 1) {
  const size = arrays.find(inHeads).shape[3];
  headNote.append(`(B, M, H d) becomes (B, H, M, d): of each line the first ${size} numbers go to head 1, `
    + `the next ${size} to head 2${heads > 2 ? ", and so on" : ""}; each head is a table of all fields.`);
}

main.append(inputs, el("div", {class: "bar"}, controls), headNote, el("div", {class: "top"}, map, epochs), scroller, ...(update ? [update] : []), panel);

// The heads of each field side by side, as they are computed, or apart; the numbers slide from the one place to the other.
function splitHeads(way) {
  const moving = nodeOf.map((_, cell) => cell).filter(cell => inHeads(arrays[arrayOf[cell]]));
  const before = moving.map(cell => boxes[cell].getBoundingClientRect());
  arrays.forEach((array, a) => {
    if (inHeads(array)) fillBlocks(a, cards[a].blocks, way === "apart", cards[a].labelled);
  });
  main.dataset.heads = way;
  headNote.hidden = way !== "apart";
  if (!calm) {
    moving.forEach((cell, i) => {
      const {x, y} = boxes[cell].getBoundingClientRect();
      boxes[cell].animate([{transform: `translate(${before[i].x - x}px, ${before[i].y - y}px)`}, {transform: "none"}],
        {duration: 700, easing: "ease-in-out"});
    });
  }
  reachable();
}

// ---- numbers and colours: the scale of an array is the same after each epoch
const norms = arrays.map(array => plainValues.map(v => Math.sqrt(array.cells.reduce((sum, node) => sum + v[node] ** 2, 0))));
const largest = arrays.map(array => Math.max(...plainValues.map(v => Math.max(...array.cells.map(node => Math.abs(v[node]))))));
const inCell = value => isNaN(value) ? "nan" : value && Math.abs(value) < 9.5e-10 ? "≈ 0" : short(value, Math.abs(value) < 9.95e-4 ? 1 : 2);
const written = new Array(nodeOf.length);
function refresh() {
  compute();
  let changed = 0;
  nodeOf.forEach((node, cell) => {
    const value = values[node], altered = isChanged(cell), td = boxes[cell];
    changed += altered;
    if (written[cell] !== value) {
      const share = largest[arrayOf[cell]] ? Math.min(1, Math.abs(value) / largest[arrayOf[cell]]) : 0;
      td.firstChild.textContent = inCell(value);
      td.style.setProperty("--l", `${Math.round(66 * share)}%`);
      td.classList.toggle("up", value > 0);
      td.classList.toggle("down", value < 0);
      td.setAttribute("aria-label", describe(cell));
      written[cell] = value;
    }
    td.classList.toggle("changed", altered);
    td.classList.toggle("held", held.has(node));
  });
  drawNorms();
  tellInputs();
  tellSteps();
  const loss = arrays.findIndex(array => array.phase === "loss" && array.cells.length === 1 && array.symbol === "L");
  const text = loss < 0 ? "" : ` The loss goes from ${short(plain[nodeOf[first[loss]]], 4)} to ${short(values[nodeOf[first[loss]]], 4)}.`;
  changes.textContent = held.size ? `${changed} of ${nodeOf.length} numbers changed.${text}` : "";
  reset.hidden = !held.size;
  if (at !== null) tell(at);
}

// Beside the name of each array its size after each epoch, as a small line with a dot where the page is.
const heights = norms.map(sizes => norm => Math.max(1, 11 - 10 * norm / (Math.max(...sizes) || 1)).toFixed(1));
const along = number => (1 + 38 * number / (snapshots.length - 1)).toFixed(1);
if (snapshots.length > 1) {
  norms.forEach((sizes, a) => {
    cards[a].norm.innerHTML = `<svg viewBox="0 0 40 12" aria-hidden="true"><polyline points="${sizes.map((norm, i) =>
      `${along(i)},${heights[a](norm)}`).join(" ")}"/><circle r="1.6"/></svg><span></span>`;
    cards[a].norm.title = "The root of the sum of the squares of its numbers, after each epoch";
  });
}
function drawNorms() {
  if (snapshots.length < 2) return;
  arrays.forEach((array, a) => {
    const now = Math.sqrt(array.cells.reduce((sum, node) => sum + values[node] ** 2, 0));
    const [{lastChild: dot}, text] = cards[a].norm.children;
    dot.setAttribute("cx", along(snapshot));
    dot.setAttribute("cy", heights[a](now));
    text.textContent = short(now);
  });
}

// What a number was after each epoch, as training left it: a line from its first value to its last.
function tellHistory(cell) {
  history.hidden = !pinned || snapshots.length < 2;
  if (history.hidden) return;
  const past = plainValues.map(v => v[nodeOf[cell]]), low = Math.min(...past), reach = Math.max(...past) - low || 1;
  const across = number => (2 + 116 * number / (past.length - 1)).toFixed(1), high = value => (18 - 16 * (value - low) / reach).toFixed(1);
  history.innerHTML = `<span></span><svg viewBox="0 0 120 20" aria-hidden="true"><polyline points="${past.map((value, i) =>
    `${across(i)},${high(value)}`).join(" ")}"/><circle r="2.5" cx="${across(snapshot)}" cy="${high(past[snapshot])}"/></svg><span></span>`;
  const brief = number => snapshots[number].epoch === null ? "as traced:" : `epoch ${snapshots[number].epoch}:`;
  history.firstChild.textContent = `${brief(0)} ${short(past[0], 3)}`;
  history.lastChild.textContent = `${brief(past.length - 1)} ${short(past.at(-1), 3)}`;
}

// ---- pointing
let at = null, pinned = false, lit = [];
function point(cell) {
  for (const td of lit) td.classList.remove("read", "reader", "at");
  for (const {button} of cards) if (button) button.classList.remove("lit");
  at = cell;
  main.classList.toggle("pointing", cell !== null);
  if (cell === null) {
    present.textContent = "";
    history.hidden = editing.hidden = true;
    hint.hidden = false;
    lit = [];
    return;
  }
  const forwards = follow === "readers" || !reads[cell].length;
  const found = forwards ? dependents(cell) : reads[cell];
  lit = [cell, ...found].map(each => boxes[each]);
  boxes[cell].classList.add("at");
  for (const each of found) boxes[each].classList.add(forwards ? "reader" : "read");
  for (const each of [cell, ...found]) cards[arrayOf[each]].button.classList.add("lit");
  tell(cell);
}

function sayTokens(tokens, holder) {
  const named = new Set();
  for (const token of tokens) {
    if (typeof token === "string") {
      holder.append(token);
      continue;
    }
    const number = el("span", {class: "number"}, short(values[token.node]));
    if (token.cell !== undefined) {
      const array = arrays[arrayOf[token.cell]];
      number.dataset.cell = token.cell;
      number.title = describe(token.cell);
      if (!named.has(array)) {
        number.dataset.name = array.symbol;
        number.style.setProperty("--n", array.symbol.length);
      }
      named.add(array);
    }
    holder.append(number);
  }
}
function tell(cell) {
  const array = arrays[arrayOf[cell]], node = nodeOf[cell], where = nameOf(cell);
  const named = typeset("span", {}, array.name_math);
  told.name.replaceChildren(el("span", {}, named, ` of ${array.layer}${where ? `, ${where}` : ""}`), told.words);
  told.sum.replaceChildren();
  const value = el("strong", {}, short(values[node], 3));
  if (held.has(node)) told.sum.append(`${called(array)} = `, value, ", held there by you: what made it no longer counts");
  else if (isGiven(cell)) told.sum.append(`${called(array)} = `, value);
  else {
    const {tokens, notes} = explained(cell);
    told.sum.append(`${called(array)} = `);
    sayTokens(tokens, told.sum);
    if (plainText(tokens) !== short(values[node])) told.sum.append(" = ", value);
    notes.forEach((note, i) => {
      told.sum.append(i ? "; " : "   with ");
      sayTokens([note].flat(), told.sum);
    });
  }
  if (isChanged(cell)) told.sum.append(el("span", {class: "was"}, ` (was ${short(plain[node], 3)})`));
  told.words.textContent = inWords(cell);
  told.source.replaceChildren(el("code", {}, statements(array).join("; ")),
    el("span", {}, ` ${array.file}:${array.line}`), ...(array.paper ? [el("span", {}, ` ${array.paper}`)] : []));
  present.replaceChildren(...named.cloneNode(true).childNodes, ` = ${short(values[node], 3)}`);
  tellHistory(cell);
  editing.hidden = !pinned;
  hint.hidden = pinned;
  if (pinned) {
    release.hidden = !held.has(node);
    if (document.activeElement !== box) box.value = Number(values[node].toPrecision(6));
    if (document.activeElement !== slider) {
      const reach = 2 * (largest[arrayOf[cell]] || 1);
      Object.assign(slider, {min: plain[node] - reach, max: plain[node] + reach, step: reach / 200});
      slider.value = values[node];
    }
  }
}

// ---- changing
function change(cell, value) {
  if (!isFinite(value)) return;
  held.set(nodeOf[cell], value);
  refresh();
}
function restore(nodes) {
  for (const node of nodes) held.delete(node);
  refresh();
}
slider.addEventListener("input", () => change(at, +slider.value));
const typed = () => box.value.trim() && change(at, Number(box.value.replace(MINUS, "-").replace(",", ".")));
box.addEventListener("input", typed);
release.addEventListener("click", () => {restore([nodeOf[at]]); boxes[at].focus()});
reset.addEventListener("click", () => restore([...held.keys()]));
box.addEventListener("keydown", event => {
  if (event.key === "Enter" || event.key === "Escape") boxes[at].focus();
});

// ---- the mouse and the finger: pointing lights up, a click holds on, a drag changes
const pin = cell => {pinned = cell !== null; point(cell)};
const cellAt = event => cellIn.get(event.target.closest?.("td.cell"));
let drag = null;
main.addEventListener("pointerover", event => {
  const cell = cellAt(event);
  if (cell !== undefined && !pinned && !drag && event.pointerType !== "touch") point(cell);
  const number = event.target.closest?.(".number[data-cell]");
  if (number) boxes[number.dataset.cell].classList.add("pulse");
});
main.addEventListener("pointerout", event => {
  const number = event.target.closest?.(".number[data-cell]");
  if (number) boxes[number.dataset.cell].classList.remove("pulse");
});
main.addEventListener("pointerdown", event => {
  const cell = cellAt(event);
  if (cell === undefined || event.button !== 0 || event.pointerType === "touch") return;
  drag = {cell, x: event.clientX, value: values[nodeOf[cell]], moved: false};
});
addEventListener("pointermove", event => {
  if (!drag) return;
  const distance = event.clientX - drag.x;
  if (!drag.moved && Math.abs(distance) < 4) return;
  if (!drag.moved) pin(drag.cell);
  drag.moved = true;
  main.classList.add("dragging");
  change(drag.cell, drag.value + distance / 100 * (largest[arrayOf[drag.cell]] || 1));
});
addEventListener("pointerup", () => {
  main.classList.remove("dragging");
  if (drag?.moved) addEventListener("click", event => event.stopPropagation(), {capture: true, once: true});
  drag = null;
});
main.addEventListener("click", event => {
  const cell = cellAt(event);
  if (cell !== undefined) {
    pin(pinned && at === cell ? null : cell);
    // not under the panel, which may have grown
    if (pinned) boxes[cell].scrollIntoView({block: "nearest", inline: "nearest"});
  } else if (event.target.closest(".number[data-cell]")) show(+event.target.dataset.cell);
  else if (event.target.closest(".scroller, .update") && !event.target.closest("summary")) pin(null);
});
main.addEventListener("focusin", event => {
  const cell = cellAt(event);
  if (cell === undefined) return;
  const table = boxes[cell].closest("table");
  for (const other of table.querySelectorAll("td.cell[tabindex='0']")) other.tabIndex = -1;
  boxes[cell].tabIndex = 0;
  if (!boxes[cell].matches(":focus-visible")) return;
  pin(cell);
});

// ---- keys: arrows go to the nearest number that way, Enter changes one, Escape lets go
const WAYS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
function nearest(cell, [dx, dy]) {
  const middle = td => {
    const {x, y, width, height} = td.getBoundingClientRect();
    return width ? [x + width / 2, y + height / 2] : null;
  };
  const [x, y] = middle(boxes[cell]);
  let best = null, least = Infinity;
  boxes.forEach((td, other) => {
    const there = middle(td);
    if (!there || other === cell) return;
    const along = (there[0] - x) * dx + (there[1] - y) * dy, across = Math.abs((there[0] - x) * dy) + Math.abs((there[1] - y) * dx);
    const far = along + 4 * across;
    if (along > 4 && far < least) [best, least] = [other, far];
  });
  return best;
}
main.addEventListener("keydown", event => {
  const cell = cellAt(event);
  if (event.key === "Escape") {
    if (!event.target.closest(".panel")) pin(null);
    return;
  }
  if (cell === undefined || event.ctrlKey || event.metaKey) return;
  const way = WAYS[event.key];
  if (way && (event.altKey || event.shiftKey)) {
    const step = (largest[arrayOf[cell]] || 1) * (event.altKey && event.shiftKey ? 0.5 : 0.05);
    change(cell, values[nodeOf[cell]] + step * (way[0] - way[1]));
  } else if (way) {
    const next = nearest(cell, way);
    if (next !== null) {
      boxes[next].focus({preventScroll: true});
      boxes[next].scrollIntoView({block: "nearest", inline: "nearest"});
    }
  } else if (event.key === "Enter" || /^[-.\d]$/.test(event.key)) {
    pin(cell);
    box.focus();
    if (event.key === "Enter") box.select();
    else {
      box.value = event.key;
      typed();
    }
  } else if (event.key === "Backspace" || event.key === "Delete") restore([nodeOf[cell]]);
  else return;
  event.preventDefault();
});

// Tab reaches one number of each table, the arrow keys the others.
function reachable() {
  for (const table of main.querySelectorAll(".card table")) {
    if (!table.querySelector("td.cell[tabindex='0']")) table.querySelector("td.cell").tabIndex = 0;
  }
}
reachable();
setEpoch(snapshot);
// Within another page it begins with the layer that has a softmax, if there is one, and without its own heading.
if (parent !== window) {
  document.documentElement.classList.add("framed");
  const softmax = nodeOf.findIndex((_, cell) => formOf(cell) === "softmax");
  const section = sections.find(each => softmax >= 0 && each.arrays.includes(arrayOf[softmax]));
  if (section) scroller.scrollLeft = section.head.offsetLeft - 8;
}
