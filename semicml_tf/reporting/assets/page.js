// Sorts a table when a heading's button is pressed. Cells without a key come last, whichever way it is sorted.
"use strict";
(() => {
  const keyOf = (row, column, numeric) => {
    const key = row.cells[column].dataset.key;
    return key === undefined ? null : numeric ? Number(key) : key;
  };
  const byText = new Intl.Collator(undefined, { numeric: true });

  function sort(table, heading) {
    const column = heading.cellIndex;
    const numeric = heading.dataset.kind === "number";
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [keyOf(row, column, numeric), row]);
    rows.sort(([first], [second]) => {
      if (first === null || second === null) return (first === null) - (second === null);
      const order = numeric ? first - second : byText.compare(first, second);
      return ascending ? order : -order;
    });
    body.append(...rows.map(([, row]) => row));
  }

  for (const button of document.querySelectorAll("table.sortable thead button")) {
    button.addEventListener("click", () => sort(button.closest("table"), button.closest("th")));
  }

  // A link into folded patients unfolds them.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.closest("details");
    if (folded) {
      folded.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", unfold);
  unfold();

  // On paper nothing can be unfolded: runs and patients are, settings and licences are not.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.printed:not([open])")];
    for (const folded of opened) folded.open = true;
  });
  addEventListener("afterprint", () => {
    for (const folded of opened) folded.open = false;
  });
})();
