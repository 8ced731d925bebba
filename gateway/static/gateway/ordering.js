// Rows whose position is a number can be dragged by a handle, or moved with the arrow keys, which renumbers them.
// Without this script the numbers are typed. `data-sortable` of a position's input holds the handle's title.
"use strict";
(() => {
  const INPUT = "input[data-sortable]";
  const rowOf = (input) => input.closest("tr, .inline-related");
  const inputOf = (row) => row.querySelector(INPUT);
  const rowsOf = (container) =>
    [...container.children].filter((row) => !row.matches(".empty-form") && inputOf(row));
  const moved = new Set();

  // A list that is filtered or sorted otherwise shows no order to change.
  const isInOrder = (input) => !input.closest("#result_list") || !new URLSearchParams(location.search).size;

  // An empty row for another entry must stay untouched, or the form would ask for its other fields.
  const isFilled = (row) =>
    !/(^| )dynamic-/.test(row.className) || row.matches(".has_original") ||
    [...row.querySelectorAll("input:not([type=hidden]), textarea, select")].some((field) => {
      if (field.matches(INPUT)) return false;
      if (field.matches("select")) return [...field.options].some((each) => each.selected !== each.defaultSelected);
      return field.value !== field.defaultValue || field.checked !== field.defaultChecked;
    });

  const renumber = (container) => {
    rowsOf(container).filter(isFilled).forEach((row, number) => {
      const input = inputOf(row);
      if (input.value === String(number)) return;
      input.value = number;
      input.dispatchEvent(new Event("change", {bubbles: true}));
    });
    moved.add(container);
  };

  const swapWithNext = (row, next) => next.after(row);

  // The neighbours move around the dragged row: an element that leaves the page for a moment loses the pointer.
  const follow = (row, y) => {
    const rows = rowsOf(row.parentNode);
    let at = rows.indexOf(row);
    const middle = (each) => each.getBoundingClientRect().top + each.getBoundingClientRect().height / 2;
    while (at > 0 && y < middle(rows[at - 1])) row.after(rows[--at]);
    while (at < rows.length - 1 && y > middle(rows[at + 1])) row.before(rows[++at]);
  };

  const onPointerDown = (event) => {
    if (event.button) return;
    event.preventDefault();
    const handle = event.currentTarget;
    const row = handle.closest("tr, .inline-related");
    row.classList.add("is-dragged");
    const onMove = (move) => follow(row, move.clientY);
    const onEnd = () => {
      document.removeEventListener("pointermove", onMove);
      document.removeEventListener("pointerup", onEnd);
      document.removeEventListener("pointercancel", onEnd);
      row.classList.remove("is-dragged");
      renumber(row.parentNode);
    };
    document.addEventListener("pointermove", onMove);
    document.addEventListener("pointerup", onEnd);
    document.addEventListener("pointercancel", onEnd);
  };

  const onKeyDown = (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    const row = event.currentTarget.closest("tr, .inline-related");
    const rows = rowsOf(row.parentNode);
    const other = rows[rows.indexOf(row) + (event.key === "ArrowUp" ? -1 : 1)];
    if (!other) return;
    if (event.key === "ArrowUp") swapWithNext(other, row);
    else swapWithNext(row, other);
    event.currentTarget.focus();
    renumber(row.parentNode);
  };

  const equip = (row) => {
    const input = inputOf(row);
    if (!input || input.disabled || row.querySelector(".drag-handle") || !isInOrder(input)) return;
    const handle = document.createElement("button");
    handle.type = "button";
    handle.className = "drag-handle";
    handle.textContent = "⠿";
    handle.title = input.dataset.sortable;
    handle.setAttribute("aria-label", input.dataset.sortable);
    handle.addEventListener("pointerdown", onPointerDown);
    handle.addEventListener("keydown", onKeyDown);
    input.before(handle);
  };

  const index = (row) => Number((row.id.match(/-(\d+)$/) || [0, 0])[1]);

  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(INPUT).forEach((input) => {
      const row = rowOf(input);
      if (row && !row.matches(".empty-form")) equip(row);
    });
    document.addEventListener("formset:added", (event) => equip(event.target));
    // Django then numbers the rows in the order of the page; the saved ones must keep their numbers.
    document.addEventListener("formset:removed", () => moved.forEach((container) => {
      const shown = rowsOf(container);
      const end = shown.length ? shown[shown.length - 1].nextSibling : null;
      const place = (rows) => rows.forEach((row) => container.insertBefore(row, end));
      place([...shown].sort((one, other) => index(one) - index(other)));
      setTimeout(() => place(shown));
    }));
    // What was filled in after it was dragged.
    document.addEventListener("submit", () => moved.forEach(renumber), true);
  });
})();
