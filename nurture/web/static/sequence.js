"use strict";
// The plan works without this, one button and one page at a time. Here the same happens at once, and letters can be dragged.
(() => {
  const form = document.querySelector("[data-plan]");
  if (!form) return;
  const list = form.querySelector("[data-cards]");
  const said = form.querySelector("[data-said]");
  const cards = () => [...list.querySelectorAll("[data-step]")];
  const living = () => cards().filter((card) => !card.classList.contains("gone"));
  const title = (card) => card.querySelector("h3").textContent.trim();
  const field = (name) => form.elements.namedItem(name);
  const days = (card) => {
    const [d, h] = [...card.querySelectorAll("input[type=number]")].map((input) => Number(input.value) || 0);
    return card.querySelector("input[type=checkbox]").checked ? 0 : d + h / 24;
  };

  const svg = (name, given) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
    return made;
  };

  const drawLine = () => {
    let day = 0;
    const placed = living().map((card) => [card, (day += days(card))]);
    const whole = Math.max(day, 7);
    const at = (n) => `${2 + (96 * n) / whole}%`;
    const line = form.querySelector("[data-line]");
    line.replaceChildren(svg("line", { x1: "2%", y1: 32, x2: "98%", y2: 32, class: "thread" }));
    for (let n = 0; n <= whole; n += whole <= 60 ? 1 : 7) {
      const long = n % 7 === 0;
      line.append(svg("line", { x1: at(n), x2: at(n), y1: long ? 25 : 29, y2: long ? 39 : 35, class: "tick" }));
    }
    placed.forEach(([card, from], n) => {
      const dot = svg("g", { class: card.classList.contains("draft") ? "dot draft" : "dot" });
      const number = svg("text", { x: at(from), y: 37, "text-anchor": "middle" });
      number.textContent = String(n + 1);
      dot.append(svg("circle", { cx: at(from), cy: 32, r: 14 }), number);
      line.append(dot);
    });
    const last = Math.ceil(day);
    form.querySelector("[data-sum]").textContent =
      `${placed.length} letter${placed.length === 1 ? "" : "s"} in ${last} day${last === 1 ? "" : "s"}`;
    placed.forEach(([card, at], n) => {
      card.querySelector("[data-place]").textContent = String(n + 1);
      card.querySelector("[data-when]").textContent = at < 1 ? "The day of sign-up" : `Day ${Math.floor(at)}`;
      card.querySelector(".after").textContent = `after the ${n ? "letter before" : "sign-up"}`;
      card.querySelector("[data-act=earlier]")?.toggleAttribute("disabled", n === 0);
      card.querySelector("[data-act=later]")?.toggleAttribute("disabled", n === placed.length - 1);
    });
  };

  const minutes = (name) => {
    const [h, m] = (field(name).value || "0:0").split(":").map(Number);
    return h * 60 + m;
  };

  const drawClock = () => {
    const open = form.querySelector("[data-open]");
    const [opens, closes] = [minutes("opens"), minutes("closes") || 1440];
    const [begins, ends] = [minutes("quiet_from"), minutes("quiet_to")];
    const quiet = (m) => (begins < ends ? m >= begins && m < ends : begins > ends && (m >= begins || m < ends));
    open.replaceChildren();
    for (let m = 0, from = null; m <= 1440; m += 5) {
      const is = m < 1440 && m >= opens && m < closes && !quiet(m);
      if (is && from === null) from = m;
      if (!is && from !== null) {
        open.append(svg("rect", { class: "open", x: from / 6, y: 0, width: (m - from) / 6, height: 18, rx: 4 }));
        from = null;
      }
    }
  };

  const touch = () => {
    form.querySelector("[data-impact]")?.remove();
    form.querySelector("[data-touched]")?.removeAttribute("hidden");
    drawLine();
    drawClock();
  };

  const act = (button) => {
    const card = button.closest("[data-step]");
    const what = button.dataset.act;
    if (what === "out" || what === "back") {
      const gone = what === "out";
      card.classList.toggle("gone", gone);
      field(`removed-${card.dataset.step}`).value = gone ? "1" : "";
      card.querySelector("[data-act=out]").hidden = gone;
      card.querySelector("[data-act=back]").hidden = !gone;
      for (const name of ["earlier", "later"]) card.querySelector(`[data-act=${name}]`).disabled = gone;
      if (gone) {
        card.querySelector("[data-place]").textContent = "–";
        card.querySelector("[data-when]").textContent = "Taken out: who has not got it goes on without it.";
      }
      touch();
      card.querySelector(`[data-act=${gone ? "back" : "out"}]`).focus();
      said.textContent = gone ? `“${title(card)}” is taken out.` : `“${title(card)}” is put back.`;
      return;
    }
    const row = living();
    const other = row[row.indexOf(card) + (what === "earlier" ? -1 : 1)];
    if (!other) return;
    if (what === "earlier") other.before(card);
    else other.after(card);
    touch();
    const same = card.querySelector(`[data-act=${what}]`);
    (same.disabled ? card.querySelector(`[data-act=${what === "earlier" ? "later" : "earlier"}]`) : same).focus();
    said.textContent = `“${title(card)}” is now letter ${living().indexOf(card) + 1}.`;
  };

  list.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (!button) return;
    event.preventDefault();
    act(button);
  });

  let dragged = null;
  for (const handle of list.querySelectorAll("[data-drag]")) handle.draggable = true;
  list.addEventListener("dragstart", (event) => {
    dragged = event.target.closest("[data-step]");
    if (!dragged) return;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", title(dragged));
    dragged.classList.add("dragged");
  });
  list.addEventListener("dragover", (event) => {
    const over = event.target.closest("[data-step]");
    if (!dragged || !over || over === dragged) return;
    event.preventDefault();
    // Only where the dragged one will lie under the pointer afterwards: else the two would change places for ever.
    const box = over.getBoundingClientRect();
    const up = over.compareDocumentPosition(dragged) & Node.DOCUMENT_POSITION_FOLLOWING;
    if (up && event.clientY < box.top + dragged.offsetHeight) over.before(dragged);
    if (!up && event.clientY > box.bottom - dragged.offsetHeight) over.after(dragged);
  });
  list.addEventListener("drop", (event) => event.preventDefault());
  list.addEventListener("dragend", () => {
    if (!dragged) return;
    dragged.classList.remove("dragged");
    said.textContent = `“${title(dragged)}” is now letter ${living().indexOf(dragged) + 1}.`;
    dragged = null;
    touch();
  });

  form.addEventListener("input", (event) => {
    if (event.target.name === "choice" || event.target.name?.startsWith("new_")) return;
    const holidays = form.querySelector("[data-holidays]");
    if (event.target.name === "holiday" && event.target === holidays.lastElementChild && event.target.value) {
      const more = event.target.cloneNode();
      more.value = "";
      holidays.append(more);
    }
    touch();
  });

  // With many readers the answer takes seconds: the page says so, and does not ask twice.
  let working = null;
  form.addEventListener("submit", (event) => {
    if (working) {
      event.preventDefault();
      return;
    }
    if (!event.submitter?.dataset.working) return;
    working = event.submitter.nextElementSibling;
    working.textContent = event.submitter.dataset.working;
    form.setAttribute("aria-busy", "true");
  });
  window.addEventListener("pageshow", () => {
    if (!working) return;
    working.textContent = ""; // somebody has come back to this page
    working = null;
    form.removeAttribute("aria-busy");
  });

  form.querySelector("[data-impact]")?.focus();
})();
