"use strict";

// Tables: a click on a column's head sorts, a second one the other way; empty cells stay last.

function sort(head) {
  const table = head.closest("table");
  const column = [...head.parentNode.children].indexOf(head);
  const numbers = table.tBodies[0].querySelector(`td:nth-child(${column + 1}).number`) !== null;
  const falling = head.getAttribute("aria-sort") === (numbers ? null : "ascending");
  const key = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" && typeof b === "number" ? a - b : `${a}`.localeCompare(b);
    return falling ? -order : order;
  };
  const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)));
  table.tBodies[0].append(...rows);
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
}

part((root) => {
  for (const head of root.querySelectorAll("th")) {
    head.firstChild.addEventListener?.("click", () => sort(head));
  }
});
