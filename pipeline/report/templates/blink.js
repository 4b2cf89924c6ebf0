// Registration on a patient's page: fixed and moved image take turns, by hand or by themselves.
"use strict";
(() => {
  const box = document.getElementById("blink");
  const [moved, shown] = [box.querySelector(".moved"), box.querySelector("[role=status]")];
  const [swap, blink] = box.querySelectorAll("button");
  let timer = 0;
  function turn() {
    const hide = moved.style.visibility !== "hidden";
    moved.style.visibility = hide ? "hidden" : "visible";
    shown.textContent = hide ? box.dataset.fixed : box.dataset.moved;
  }
  swap.addEventListener("click", turn);
  blink.addEventListener("click", () => {
    const start = !timer;
    clearInterval(timer);
    // Slower than two changes a second: faster flashes can harm.
    timer = start ? setInterval(turn, 800) : 0;
    blink.setAttribute("aria-pressed", String(start));
  });
  box.querySelector(".controls").hidden = false;
  turn();
})();
