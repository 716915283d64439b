"use strict";
// Sorts tables, filters the leaderboard and unfolds blocks for print. The report is complete without it.

const rowsOf = (table) => [...table.tBodies[0].rows];
const textOf = (row, column) => row.cells[column].textContent.trim();

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
  });
}

function sort(table, head, column) {
  const falls = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending"
                                               : head.classList.contains("num");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
  const keyed = rowsOf(table).map((row) => [keyOf(row.cells[column]), row]);
  keyed.sort(([a], [b]) => compare(a, b, falls ? -1 : 1));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

function keyOf(cell) {
  const text = cell.textContent.trim();
  return { number: "v" in cell.dataset ? Number(cell.dataset.v) : null, text: text === "\u2013" ? "" : text };
}

// Numbers come before words and unknown values last, in either sort direction.
function compare(a, b, direction) {
  if (a.number !== null && b.number !== null) return direction * (a.number - b.number);
  if (a.number !== null || b.number !== null) return a.number !== null ? -1 : 1;
  if (!a.text || !b.text) return (a.text ? 0 : 1) - (b.text ? 0 : 1);
  return direction * a.text.localeCompare(b.text, "en", { numeric: true });
}

function filterable(form, table) {
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const selects = [...form.querySelectorAll("select")];
  const search = form.querySelector("input");
  const all = rowsOf(table);
  const apply = () => {
    const words = search.value.trim().toLowerCase();
    for (const row of all) {
      const wanted = selects.every((s) => !s.value || textOf(row, heads.indexOf(s.dataset.column)) === s.value);
      row.hidden = !(wanted && row.textContent.toLowerCase().includes(words));
    }
    const left = all.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = `${left} of ${all.length} rows`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}

function unfoldForPrint() {
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const block of folded) block.open = true;
  });
  addEventListener("afterprint", () => {
    for (const block of folded) block.open = false;
  });
}

// A link to a collapsed section opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const block = target && target.querySelector(":scope > details");
  if (block) block.open = true;
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies.length && rowsOf(table).length > 1) sortable(table);
}
const form = document.querySelector(".filters");
if (form) filterable(form, document.querySelector("table.board"));
document.querySelector(".contents").open = matchMedia("(min-width: 68rem)").matches;
unfoldForPrint();
addEventListener("hashchange", openTarget);
openTarget();
