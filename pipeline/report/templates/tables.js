// Tables that sort, search and fold columns by time; without this script everything is shown.
"use strict";
(() => {
  const MISSING = "–";

  /* The number that a cell begins with, e.g. -0.24 of "−0.24 (−0.51 to 0.02)"; NaN of a text. */
  function number(text) {
    const found = text.replace(/−/g, "-").match(/^[<>]?\s*([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/i);
    return found ? parseFloat(found[1]) : NaN;
  }

  function compare(a, b) {
    const [x, y] = [number(a), number(b)];
    return isNaN(x) || isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  }

  /* Sort the rows of every group by a column: 1 ascending, -1 descending, 0 as they were; missing values last. */
  function sort(table, column, direction) {
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter(row => !row.classList.contains("group"));
      const text = row => row.cells[column].textContent.trim();
      rows.sort((a, b) => {
        const [left, right] = [text(a), text(b)];
        if (!direction) return a.dataset.place - b.dataset.place;
        if ((left === MISSING) !== (right === MISSING)) return left === MISSING ? 1 : -1;
        return direction * compare(left, right) || a.dataset.place - b.dataset.place;
      });
      body.append(...rows);
    }
    for (const head of table.tHead.querySelectorAll("[data-column]")) {
      const chosen = Number(head.dataset.column) === column && direction;
      head.setAttribute("aria-sort", chosen ? (direction > 0 ? "ascending" : "descending") : "none");
    }
  }

  function makeSortable(table) {
    for (const body of table.tBodies) [...body.rows].forEach((row, place) => { row.dataset.place = place; });
    for (const head of table.tHead.querySelectorAll("[data-column]")) {
      if (!head.textContent.trim()) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      const next = { none: 1, ascending: -1, descending: 0 };
      button.addEventListener("click", () =>
        sort(table, Number(head.dataset.column), next[head.getAttribute("aria-sort")]));
    }
  }

  function makeSearchable(table, field, count) {
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      let found = 0, all = 0;
      for (const body of table.tBodies) {
        let here = 0;
        for (const row of body.rows) {
          if (row.classList.contains("group")) continue;
          row.hidden = !row.textContent.toLowerCase().includes(wanted);
          all += 1;
          here += row.hidden ? 0 : 1;
        }
        for (const row of body.querySelectorAll(".group")) row.hidden = !here;
        found += here;
      }
      count.textContent = wanted ? `${found} of ${all}` : "";
    });
  }

  /* Show the columns of one time, or of all where it is empty. Print shows them all. */
  function fold(box, time) {
    for (const cell of box.querySelectorAll("[data-time]")) {
      cell.classList.toggle("folded", time !== "" && cell.dataset.time !== time);
    }
    for (const button of box.querySelectorAll(".times button")) {
      button.setAttribute("aria-pressed", String(button.dataset.show === time));
    }
    hint(box);
  }

  function hint(box) {
    const scroll = box.querySelector(".scroll");
    box.querySelector(".more").hidden = scroll.scrollWidth <= scroll.clientWidth + 1;
  }

  for (const box of document.querySelectorAll(".table")) {
    const [table, tools] = [box.querySelector("table"), box.querySelector(".tools")];
    const field = tools.querySelector("input");
    makeSortable(table);
    tools.hidden = false;
    if (field) makeSearchable(table, field, tools.querySelector(".count"));
    const buttons = [...tools.querySelectorAll(".times button")];
    for (const button of buttons) button.addEventListener("click", () => fold(box, button.dataset.show));
    hint(box);
    // Where not all fits, the last horizon is shown: the one of the verdict.
    if (buttons.length && !box.querySelector(".more").hidden) fold(box, buttons.at(-1).dataset.show);
    new ResizeObserver(() => hint(box)).observe(box.querySelector(".scroll"));
  }

  /* Browsers that print closed details closed. */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of opened) part.open = false;
    opened = [];
  });
})();
