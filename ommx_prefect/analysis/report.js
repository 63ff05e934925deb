
"use strict";
const value = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" ? null : cell.classList.contains("number") ? Number(text) : text;
};
const order = (a, b) => (typeof a === "number" && typeof b === "number")
  ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
for (const table of document.querySelectorAll("table.sortable")) {
  for (const button of table.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const heading = button.parentElement, column = heading.cellIndex;
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map(row => [value(row, column), row]);
      rows.sort(([a], [b]) => a === null || b === null
        ? (a === null) - (b === null) : (up ? 1 : -1) * order(a, b));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  }
}
