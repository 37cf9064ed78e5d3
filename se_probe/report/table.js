// Tables that sort by the heading that is chosen: numbers by their `data-key`, all else by its text.
"use strict";
function sortTable(heading) {
  const table = heading.closest("table");
  const place = heading.cellIndex;
  const ascending = heading.getAttribute("aria-sort") === "descending" || !heading.hasAttribute("aria-sort") && !heading.classList.contains("number");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const sign = ascending ? 1 : -1;
  const compare = (one, other) => {
    const [a, b] = [one.cells[place], other.cells[place]];
    if (a.dataset.key !== undefined && b.dataset.key !== undefined) return sign * (Number(a.dataset.key) - Number(b.dataset.key) || 0);
    return sign * a.textContent.trim().localeCompare(b.textContent.trim(), "en", { numeric: true });
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => sortTable(button.closest("th")));
}
