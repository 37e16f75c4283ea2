const main = document.querySelector("main"), said = document.querySelector("[role=status]");
const say = text => {said.textContent = text};

// ---- tables that sort and filter
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  heads.forEach((head, column) => {
    const button = document.createElement("button"), number = head.classList.contains("n");
    const name = head.textContent;
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const way = now ? (now === "ascending" ? "descending" : "ascending") : number ? "descending" : "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way);
      const sign = way === "ascending" ? 1 : -1;
      body.append(...rows.sort((a, b) => {
        const p = key(a, column), q = key(b, column);
        if (p === "" || q === "") return (p === "") - (q === "");                 // none at the end
        return sign * (isNaN(p) || isNaN(q) ? p.localeCompare(q) : p - q);
      }));
      say(`Sorted by ${name}, ${way}.`);
    });
  });
  if (rows.length < 10) continue;
  const box = document.createElement("input"), count = document.createElement("span");
  const label = document.createElement("label"), line = document.createElement("p");
  box.type = "search";
  label.append("Show only lines with: ", box);
  box.placeholder = "part of a name or value";
  line.className = "controls";
  const texts = new Map(rows.map(row => {                         // of a row of data, its values too, which its article has
    const link = row.querySelector("th a[href^='#row-']");
    const values = link ? document.querySelector(link.hash + " > p").textContent : "";
    return [row, (row.textContent + " " + values).toLowerCase()];
  }));
  line.append(label, " ", count);
  table.parentNode.before(line);
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      row.hidden = !words.every(word => texts.get(row).includes(word));
    }
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
    say(count.textContent);
  });
}

// ---- articles of which one of a group is shown: links lead to them, so that Back and Forward work too
const panels = [...document.querySelectorAll(".panel")];
const linksTo = panel => document.querySelectorAll(`a[href="#${panel.id}"]`);
function show(panel) {
  for (const other of panels.filter(other => other.dataset.group === panel.dataset.group)) {
    if (other === panel) other.removeAttribute("hidden");
    else other.setAttribute("hidden", "until-found");             // what a browser's search finds is shown
    for (const link of linksTo(other)) {
      if (other === panel) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }
}
let from = null;                                                  // the link that was followed, to come back to
function follow() {
  if (!location.hash) showFirst();                                // Back to where the page began
  const panel = panels.find(panel => "#" + panel.id === location.hash);
  if (!panel) return;
  show(panel);
  const head = panel.querySelector("h3");
  head.focus({preventScroll: true});
  panel.scrollIntoView({block: "start"});
  say(`${head.textContent} is shown.`);
}
function showFirst() {
  for (const group of new Set(panels.map(panel => panel.dataset.group))) {
    show(panels.find(panel => panel.dataset.group === group));
  }
}
showFirst();
main.classList.add("ready");
for (const panel of panels) {
  panel.addEventListener("beforematch", () => show(panel));
  panel.addEventListener("keydown", event => {
    if (event.key !== "Escape" || !(from && from.hash === "#" + panel.id || linksTo(panel).length)) return;
    (from && from.hash === "#" + panel.id ? from : linksTo(panel)[0]).focus();
  });
}
document.addEventListener("click", event => {
  const link = event.target.closest("a[href^='#']");
  if (!link) return;
  from = link;
  if (link.hash === location.hash) follow();                      // chosen again: the browser itself does nothing
});
addEventListener("hashchange", follow);
follow();

// ---- in a map, Tab reaches one cell and the arrow keys the others
for (const map of document.querySelectorAll("table.pairs")) {
  const links = [...map.querySelectorAll("a")];
  if (!links.length) continue;
  const at = link => [link.closest("tr").rowIndex, link.closest("td").cellIndex];
  const reach = link => links.forEach(other => {other.tabIndex = other === link ? 0 : -1});
  const reachCurrent = () => reach(links.find(link => link.hasAttribute("aria-current"))
    ?? links.find(link => link.tabIndex === 0) ?? links[0]);
  reachCurrent();
  addEventListener("hashchange", reachCurrent);                  // after follow, which says which one is current
  map.addEventListener("focusin", event => {if (links.includes(event.target)) reach(event.target)});
  map.addEventListener("keydown", event => {
    const way = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
    if (!way || !links.includes(event.target)) return;
    event.preventDefault();
    let [row, column] = at(event.target), cell;
    while ((cell = map.rows[row += way[0]]?.cells[column += way[1]]) && row > 0) {
      const link = cell.querySelector("a");
      if (link) return link.focus();
    }
  });
  const hint = document.createElement("p");
  hint.className = "controls caption";
  hint.textContent = "Keys: arrows go from cell to cell, Enter opens one, Escape comes back.";
  map.parentNode.before(hint);
}
