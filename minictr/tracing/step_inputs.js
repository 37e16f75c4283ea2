// ---- what goes in and what comes out: the rows' values, y, and the prediction as it is now
const PREDICTION = data.loss === "log loss" ? "p = sigmoid(s)" : "s";
const predicted = row => data.loss === "log loss" ? 1 / (1 + Math.exp(-logitOf(row))) : logitOf(row);

function drawInputs() {
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("td"),
    ...data.fields.map(field => el("th", {scope: "col"}, field)), el("th", {scope: "col"}, "y"),
    ...(logitArray < 0 ? [] : [el("th", {scope: "col"}, `${PREDICTION} now`)]))));
  const targets = [], outputs = [];
  data.X.forEach((row, b) => {
    targets.push(el("td"));
    outputs.push(...(logitArray < 0 ? [] : [el("td")]));
    table.append(el("tr", {}, el("th", {scope: "row"}, `row ${b + 1}`), ...row.map(text => el("td", {}, text)),
      targets[b], ...outputs.slice(b)));
  });
  const inputs = el("details", {class: "inputs"}, el("summary", {}, "The rows that go in"), table);
  inputs.open = !NARROW && parent === window;                     // elsewhere they would fill the screen
  const tellInputs = () => {
    targets.forEach((td, b) => {td.textContent = short(targetOf(b), 3)});
    outputs.forEach((td, b) => {td.textContent = short(predicted(b), 3)});
  };
  return {inputs, tellInputs};
}
