const PAGE = 25, PRINTED = 1000;
const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);
const make = (tag, text, name) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
};
const cells = read("cells-data");
const rerun = (id) => `splitbench rerun ${id} ${cells.options}`;

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // A page from disk may not write to the clipboard; the old way still works.
    const area = make("textarea", text);
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// ---- tooltips: what a mark stands for, and the command that runs its cell again

const tip = byId("tip");
function showTip(event, value, message) {
  const list = make("dl");
  for (const [name, text] of Object.entries(value)) {
    if (text === "undefined" || text === undefined || text === "") continue;
    list.append(make("dt", name), make("dd", text));
  }
  tip.replaceChildren(list);
  if (value.cell) tip.append(make("code", rerun(value.cell)), make("span", message ?? "Click to copy the command.", "done"));
  tip.hidden = false;
  const { innerWidth: width, innerHeight: height } = window, gap = 14;
  const x = event.clientX + gap + tip.offsetWidth < width ? event.clientX + gap : event.clientX - gap - tip.offsetWidth;
  const y = event.clientY + gap + tip.offsetHeight < height ? event.clientY + gap : event.clientY - gap - tip.offsetHeight;
  tip.style.left = `${Math.max(8, x)}px`;
  tip.style.top = `${Math.max(8, y)}px`;
}
const onTooltip = (_, event, __, value) => {
  if (value === null || value === undefined || value === "" || typeof value !== "object") tip.hidden = true;
  else showTip(event, value);
};
addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// ---- charts: drawn when they come near the window, the nearest first, and all of them for paper

const specs = read("charts-data");
function specOf(element) { // A copy with records in place of packed columns, and as many columns of a legend as fit.
  return JSON.parse(JSON.stringify(specs[element.dataset.chart]), (key, value) => {
    if (key === "columns") return Math.max(1, Math.floor((element.clientWidth - 80) / value));
    return key === "data" && value.packed ? { values: records(value.packed) } : value;
  });
}
function records(columns) {
  const found = [];
  for (const [name, column] of Object.entries(columns)) {
    const values = column.texts ? column.at.map((at) => column.texts[at]) : column;
    values.forEach((value, at) => { (found[at] ??= {})[name] = value; });
  }
  return found;
}
const undrawn = new Set(document.querySelectorAll("[data-chart]")), near = new Set();
let isDrawing = false;
const distance = (element) => {
  const { top, bottom } = element.getBoundingClientRect();
  return Math.max(top - innerHeight, -bottom, 0);
};
async function drawNear() {
  if (isDrawing) return;
  isDrawing = true;
  while (near.size) {
    await draw([...near].reduce((one, other) => distance(other) < distance(one) ? other : one));
    await new Promise((resolve) => setTimeout(resolve)); // The page answers in between.
  }
  isDrawing = false;
  document.documentElement.dataset.ready = "true";
}
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && undrawn.has(target)) near.add(target);
    else near.delete(target);
  }
  drawNear();
}, { rootMargin: "100% 0px" });
for (const element of undrawn) observer.observe(element);
if (!undrawn.size) drawNear(); // No observer says that the page is ready.
// Nothing in ``draw`` waits for a timer or for the network, so all charts are there before the browser lays out pages.
addEventListener("beforeprint", () => undrawn.forEach(draw));

async function draw(element) {
  observer.unobserve(element);
  undrawn.delete(element);
  near.delete(element);
  try {
    const options = { renderer: "svg", actions: false, tooltip: onTooltip };
    const { view } = await window.vegaEmbed(element, specOf(element), options);
    view.addEventListener("click", async (event, item) => {
      const id = item?.datum?.cell;
      if (!id) return;
      const done = await copy(rerun(id));
      showTip(event, { cell: id }, done ? "Copied." : "Select the command to copy it.");
    });
    element.style.minHeight = "";
    control(element.closest("figure"), view);
  } catch (error) {
    console.error(error);
    element.classList.add("failed");
    element.textContent = "This chart could not be drawn.";
  }
}
function control(figure, view) { // Legend and menu set the chart's parameters.
  const buttons = [...figure.querySelectorAll(".legend button")], menu = figure.querySelector(".choice select");
  for (const button of buttons) button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    view.signal("shown", buttons.filter((other) => other.getAttribute("aria-pressed") === "true").map((other) => other.dataset.name)).runAsync();
  });
  menu?.addEventListener("change", () => view.signal("choice", menu.value).runAsync());
}

// ---- charts as tables: what pointing at their marks would show, made when it is asked for

const LINES = 500;
function numbers(spec) {
  const tables = [];
  for (const layer of spec.layer ?? [spec]) {
    const values = (layer.data ?? spec.data)?.values ?? [], fields = layer.encoding?.tooltip ?? spec.encoding?.tooltip;
    if (!Array.isArray(fields) || !values.length) continue;
    const shown = fields.filter(({ field }) => values.some((value) => value[field] !== undefined));
    const region = make("div", undefined, "scroll"), table = make("table"), head = make("tr"), body = make("tbody");
    for (const { title } of shown) head.append(Object.assign(make("th", title), { scope: "col" }));
    for (const value of values.slice(0, LINES)) {
      const row = make("tr");
      for (const { field } of shown) row.append(make("td", value[field] ?? "–", typeof value[field] === "number" ? "number" : ""));
      body.append(row);
    }
    table.append(make("thead"), body);
    table.tHead.append(head);
    region.append(table);
    Object.assign(region, { tabIndex: 0, role: "region", ariaLabel: "Numbers" });
    if (values.length > LINES) region.append(make("p", `The first ${LINES} of ${values.length.toLocaleString("en")}.`, "note"));
    tables.push(region);
  }
  return tables;
}
for (const element of document.querySelectorAll(".numbers")) element.addEventListener("toggle", () => {
  if (element.children.length === 1) element.append(...numbers(specOf(element.closest("figure").querySelector("[data-chart]"))));
});

// ---- tables: sorted by their headings, filtered by a text

const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
function markSorted(heading) {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  return ascending ? 1 : -1;
}
const keyOf = (row, index) => {
  const cell = row.children[index], key = cell.dataset.key ?? cell.textContent;
  return cell.dataset.key !== undefined && !Number.isNaN(Number(key)) ? Number(key) : key;
};
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((heading, index) => heading.firstElementChild.addEventListener("click", () => {
    const sign = markSorted(heading), body = table.tBodies[0];
    body.append(...[...body.rows].map((row) => [keyOf(row, index), row]).sort((a, b) => sign * compare(a[0], b[0])).map(([, row]) => row));
  }));
}
const boardRows = [...document.querySelectorAll("table.leaderboard tbody tr")];
byId("filter").addEventListener("input", ({ target }) => {
  const wanted = target.value.trim().toLowerCase();
  let shown = 0;
  for (const row of boardRows) {
    row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
    shown += !row.hidden;
  }
  byId("filtered").textContent = wanted === "" ? "" : `${shown} of ${boardRows.length} lines`;
});

// ---- cells: a page at a time, since there may be a hundred thousand

const COLUMNS = ["id", "scenario", "method", "settings", "model", "data set", "seed", "state", "seconds"];
const AS_NUMBER = new Set(["seed", "seconds"]), AS_TEXT = new Set(["scenario", "method", "settings", "model", "data set", "state"]);
const valueAt = (line, index) => AS_TEXT.has(COLUMNS[index]) ? cells.texts[line[index]] : line[index];
let lines = cells.lines, page = 0;
function showCells(from, to) {
  byId("cell-table").tBodies[0].replaceChildren(...lines.slice(from, to).map((line) => {
    const row = make("tr");
    COLUMNS.forEach((name, index) => {
      const cell = make("td", name === "id" ? undefined : valueAt(line, index), AS_NUMBER.has(name) ? "number" : "");
      if (name === "id") cell.append(make("code", line[0]));
      row.append(cell);
    });
    const command = make("td"), button = make("button", "Copy", "copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy the command for cell ${line[0]}`);
    button.addEventListener("click", async () => { button.textContent = (await copy(rerun(line[0]))) ? "Copied" : "Select it"; });
    command.append(button, make("code", rerun(line[0])));
    row.append(command);
    return row;
  }));
}
function showPage(to = 0) {
  const pages = Math.max(1, Math.ceil(lines.length / PAGE));
  page = Math.min(Math.max(0, to), pages - 1);
  showCells(page * PAGE, (page + 1) * PAGE);
  byId("page").textContent = `Page ${page + 1} of ${pages.toLocaleString("en")}`;
  byId("previous").disabled = page === 0;
  byId("next").disabled = page === pages - 1;
}
const cellHead = make("tr");
[...COLUMNS, "run it again"].forEach((name, index) => {
  const heading = make("th", undefined, AS_NUMBER.has(name) ? "number" : ""), button = make("button", name);
  heading.scope = "col";
  button.type = "button";
  if (index < COLUMNS.length) {
    heading.append(button);
    button.addEventListener("click", () => {
      const sign = markSorted(heading);
      lines = [...lines].sort((a, b) => sign * compare(valueAt(a, index), valueAt(b, index)));
      showPage();
    });
  } else heading.textContent = name;
  cellHead.append(heading);
});
byId("cell-table").tHead.append(cellHead);
byId("cell-filter").addEventListener("input", ({ target }) => {
  const words = target.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const texts = cells.texts.map((text) => text.toLowerCase());
  const has = (line, word) => line.some((value, index) => (AS_TEXT.has(COLUMNS[index]) ? texts[value] : String(value)).includes(word));
  lines = words.length ? cells.lines.filter((line) => words.every((word) => has(line, word))) : cells.lines;
  byId("cell-count").textContent = words.length ? `${lines.length.toLocaleString("en")} ${lines.length === 1 ? "cell" : "cells"}` : "";
  showPage();
});
byId("previous").addEventListener("click", () => showPage(page - 1));
byId("next").addEventListener("click", () => showPage(page + 1));
addEventListener("beforeprint", () => {
  showCells(0, PRINTED);
  if (lines.length > PRINTED) byId("page").textContent = `The first ${PRINTED} of ${lines.length} cells.`;
});
addEventListener("afterprint", () => showPage(page));
showPage();
