for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  heads.forEach((head, column) => {
    const button = document.createElement("button"), number = head.classList.contains("n");
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
        if (!number) return sign * p.localeCompare(q);
        return p === "" || q === "" ? (p === "") - (q === "") : sign * (p - q);     // none at the end
      }));
    });
  });
  const box = document.createElement("input"), count = document.createElement("span");
  const label = document.createElement("label"), line = document.createElement("p");
  box.type = "search";
  count.setAttribute("aria-live", "polite");
  label.append("Show rows with: ", box);
  line.className = "controls";
  line.append(label, " ", count);
  table.parentNode.before(line);
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
  });
}
