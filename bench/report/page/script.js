"use strict";
// Sorts, filters and copies the tables of results, shows a row's dots, compares the settings of two cells.
// The page is whole without it.

const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

function remember(key, value) {
  if (value) state.set(key, value); else state.delete(key);
  history.replaceState(null, "", state.size ? "#" + state : location.pathname + location.search);
}

function valueOf(row, column, kind) {
  const cell = row.cells[column];
  if (kind === "text") return cell.textContent.trim().toLowerCase();
  const value = cell.dataset.value;
  return value === undefined || value === "" ? null : Number(value);
}

function sort(table, column, direction) {
  const heads = [...table.tHead.rows[0].cells];
  const kind = heads[column].dataset.kind;
  const compare = (a, b) => {
    const [x, y] = [valueOf(a, column, kind), valueOf(b, column, kind)];
    if (x === null || y === null) return (x === null) - (y === null);  // rows without a value come last
    return direction * (x < y ? -1 : x > y ? 1 : 0);
  };
  const body = table.tBodies[0];
  [...body.rows].sort(compare).forEach((row) => body.append(row));
  heads.forEach((head, index) => {
    if (index === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  });
}

function filter(table, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of table.tBodies[0].rows) {
    const content = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
  }
}

function show(table, key, shown) {
  table.querySelectorAll(`[data-column="${key}"]`).forEach((cell) => { cell.hidden = !shown; });
}

function cellsOf(row) {
  return [...row.cells].filter((cell) => !cell.hidden && !cell.classList.contains("seeds") && cell.dataset.skip !== "yes")
    .map((cell) => cell.textContent.replace(/\s+/g, " ").trim());
}

const forms = {
  csv: (lines) => lines.map((line) => line.map((text) => /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text).join(",")).join("\n"),
  markdown: (lines) => [lines[0], lines[0].map(() => "---"), ...lines.slice(1)]
    .map((line) => "| " + line.map((text) => text.replace(/\|/g, "\\|")).join(" | ") + " |").join("\n"),
  latex: (lines) => {
    const escape = (text) => text.replace(/[\\~^&%$#_{}]/g, (c) => ({"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}[c] || "\\" + c))
      .replace(/±/g, "$\\pm$").replace(/–/g, "--");
    const body = lines.map((line) => line.map(escape).join(" & ") + " \\\\");
    return ["\\begin{tabular}{" + lines[0].map(() => "l").join(" ") + "}", "\\toprule", body[0], "\\midrule", ...body.slice(1), "\\bottomrule", "\\end{tabular}"].join("\n");
  },
};

function copied(table, form) {
  const rows = [table.tHead.rows[0], ...[...table.tBodies[0].rows].filter((row) => !row.hidden)];
  return forms[form](rows.map(cellsOf)) + "\n";
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) { target.open = true; target.scrollIntoView(); }
}

for (const section of document.querySelectorAll("main > section")) {
  const table = section.querySelector("table.results");
  const tools = section.querySelector(".tools");
  const name = section.id;
  tools.hidden = false;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.textContent.trim() === "by seed") { head.dataset.skip = "yes"; head.classList.add("seeds"); return; }
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "descending" ? 1 : head.dataset.kind === "number" && !head.hasAttribute("aria-sort") ? -1 : head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      sort(table, column, direction);
      remember(name + ".sort", `${column},${direction}`);
    });
  });
  const input = tools.querySelector(".filter");
  input.addEventListener("input", () => { filter(table, input.value); remember(name + ".filter", input.value); });
  tools.querySelectorAll(".column").forEach((box) => box.addEventListener("change", () => {
    show(table, box.value, box.checked);
    remember(name + ".hidden", [...tools.querySelectorAll(".column:not(:checked)")].map((each) => each.value).join(","));
  }));
  tools.querySelectorAll("[data-form]").forEach((button) => button.addEventListener("click", async () => {
    const text = copied(table, button.dataset.form);
    const told = tools.querySelector(".told");
    try { await navigator.clipboard.writeText(text); told.textContent = "copied"; }
    catch { told.textContent = "the browser does not allow to copy"; }
  }));
  if (state.get(name + ".filter")) { input.value = state.get(name + ".filter"); filter(table, input.value); }
  if (state.get(name + ".sort")) { const [column, direction] = state.get(name + ".sort").split(",").map(Number); sort(table, column, direction); }
  for (const key of (state.get(name + ".hidden") || "").split(",").filter(Boolean)) {
    tools.querySelector(`.column[value="${key}"]`).checked = false;
    show(table, key, false);
  }
}
// A row's dots, and the dots of an opened cell

const dots = new Map();
for (const dot of document.querySelectorAll("a.dot")) {
  const cell = dot.getAttribute("href");
  dots.set(cell, [...(dots.get(cell) || []), dot]);
}

function choose(cells, chosen) {
  for (const cell of cells) for (const dot of dots.get(cell) || []) dot.classList.toggle("chosen", chosen);
}

for (const row of document.querySelectorAll("table.results tbody tr")) {
  const cells = [...row.querySelectorAll(".seeds a")].map((link) => link.getAttribute("href"));
  for (const event of ["pointerenter", "focusin"]) row.addEventListener(event, () => choose(cells, true));
  for (const event of ["pointerleave", "focusout"]) row.addEventListener(event, () => choose(cells, false));
}

// Settings beside those of another cell

function settingsOf(cell) {
  return new Map([...cell.querySelectorAll("table.settings tbody tr")]
    .map((row) => [row.cells[0].textContent.replace(" (differs)", ""), row.cells[1].textContent]));
}

function beside(cell, other) {
  const table = cell.querySelector("table.settings");
  table.querySelectorAll(".beside").forEach((each) => each.remove());
  if (!other) return;
  const theirs = settingsOf(other);
  const head = document.createElement("th");
  head.scope = "col"; head.className = "beside"; head.textContent = other.querySelector("summary").firstChild.textContent.trim();
  table.tHead.rows[0].append(head);
  for (const row of table.tBodies[0].rows) {
    const value = theirs.get(row.cells[0].textContent.replace(" (differs)", ""));
    const shown = document.createElement("td");
    shown.className = "beside";
    shown.textContent = value === undefined ? "has none" : value;
    if (value !== row.cells[1].textContent) shown.classList.add("other-value");
    row.append(shown);
  }
}

for (const cell of document.querySelectorAll("details.cell")) {
  cell.addEventListener("toggle", () => {
    choose(["#" + cell.id], cell.open);
    if (!cell.open || cell.querySelector("select")) return;
    const label = document.createElement("label"), select = document.createElement("select");
    select.append(new Option("no other cell", ""));
    for (const other of cell.parentElement.querySelectorAll("details.cell")) {
      if (other !== cell) select.append(new Option(other.querySelector("summary").firstChild.textContent.trim(), other.id));
    }
    select.addEventListener("change", () => beside(cell, select.value && document.getElementById(select.value)));
    label.append("Settings beside those of ", select);
    cell.querySelector("table.settings").before(label);
  });
}

addEventListener("hashchange", openTarget);
openTarget();
