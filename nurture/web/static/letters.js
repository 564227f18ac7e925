"use strict";
// The page on which a letter is written: saves by itself, shows remarks beside their lines, keeps what was typed whatever happens.
(() => {
  const form = document.getElementById("letter");
  if (!form) return;
  const here = form.dataset.save;
  const body = document.getElementById("body");
  const version = document.getElementById("version");
  const state = document.getElementById("state");
  const trouble = document.getElementById("trouble");
  const seen = document.getElementById("seen");
  const preview = document.getElementById("preview");
  const gutter = document.querySelector(".gutter");
  let csrf = document.querySelector("meta[name=csrf]")?.content ?? "";
  let timer = 0;
  let saving = null;
  let dirty = false;

  form.querySelector(".toolbar").hidden = false;

  // ---- Saving ----

  const soon = () => {
    dirty = true;
    state.textContent = "…";
    clearTimeout(timer);
    timer = setTimeout(save, 700);
  };

  async function save() {
    clearTimeout(timer);
    if (saving) await saving;
    if (!dirty) return true;
    saving = send();
    const done = await saving;
    saving = null;
    return done;
  }

  async function send() {
    dirty = false;
    let answer;
    try {
      answer = await fetch(here, {
        method: "POST", body: new FormData(form), headers: { "HX-Request": "true", "X-CSRF-Token": csrf }, redirect: "error",
      });
    } catch {
      return keep("The desk cannot be reached. Your text is safe on this page and is saved as soon as it answers.", true);
    }
    if (answer.status === 401 || answer.status === 403) {
      return keep("You are logged out. Your text is safe on this page: log in again in a new tab, then press “Save”.", false, true);
    }
    const part = await answer.text();
    if (answer.status === 409 || answer.status === 422) {
      trouble.innerHTML = part;
      state.textContent = "Not saved yet";
      if (answer.status === 409) meet();
      dirty = answer.status === 422;
      return false;
    }
    if (!answer.ok) return keep("Saving did not work. Your text is safe on this page; it is tried again.", true);
    trouble.replaceChildren();
    seen.innerHTML = part;
    settle();
    preview.src = preview.src;
    return true;
  }

  function keep(words, again, login) {
    dirty = true;
    state.textContent = "Not saved yet";
    const box = document.createElement("div");
    box.className = "summary";
    const said = document.createElement("p");
    said.textContent = words;
    box.append(said);
    if (login) {
      const row = document.createElement("p");
      row.className = "row";
      const link = Object.assign(document.createElement("a"), { href: "/desk/login", target: "_blank", rel: "noopener", className: "button", textContent: "Log in" });
      const retry = Object.assign(document.createElement("button"), { type: "button", className: "button quiet", textContent: "Save" });
      retry.addEventListener("click", async () => { await renew(); save(); });
      row.append(link, retry);
      box.append(row);
    }
    trouble.replaceChildren(box);
    if (again) timer = setTimeout(save, 5000);
    return false;
  }

  // After a new log-in the page's own token is another one.
  async function renew() {
    const page = await fetch(location.href);
    const found = new DOMParser().parseFromString(await page.text(), "text/html").querySelector("meta[name=csrf]");
    if (!found) return;
    csrf = found.content;
    for (const field of document.querySelectorAll("input[name=csrf]")) field.value = csrf;
  }

  // Somebody else changed it meanwhile: both are shown, and one click decides.
  function meet() {
    const both = trouble.querySelector("[data-conflict]");
    both.focus();
    both.querySelector("[data-keep-mine]").addEventListener("click", () => {
      version.value = both.dataset.version;
      dirty = true;
      save();
    });
    const theirs = both.querySelector("[data-take-theirs]");
    theirs.addEventListener("click", () => {
      version.value = both.dataset.version;
      form.subject.value = theirs.dataset.subject;
      form.preheader.value = theirs.dataset.preheader;
      body.value = document.getElementById("theirs-kept").value;
      dirty = true;
      save();
    });
  }

  // ---- Remarks beside their lines ----

  function settle() {
    const part = seen.querySelector(".seen");
    version.value = part.dataset.version;
    for (const field of document.querySelectorAll("[data-version]")) if (field.tagName === "INPUT") field.value = part.dataset.version;
    state.textContent = part.dataset.state;
    mark();
  }

  const mirror = document.createElement("div");
  mirror.className = "mirror";
  gutter.parentElement.append(mirror);

  function mark() {
    const look = getComputedStyle(body);
    for (const name of ["font", "lineHeight", "letterSpacing", "paddingTop", "paddingRight", "paddingLeft", "borderWidth", "borderStyle"]) mirror.style[name] = look[name];
    mirror.style.boxSizing = "border-box";
    mirror.style.width = `${body.clientWidth + parseFloat(look.borderLeftWidth) * 2}px`;
    mirror.replaceChildren(...body.value.split("\n").map((line) => Object.assign(document.createElement("div"), { textContent: line || "\u200b" })));
    const taken = new Map();
    gutter.replaceChildren();
    for (const remark of seen.querySelectorAll(".remark[data-line]")) {
      const line = mirror.children[Number(remark.dataset.line) - 1];
      if (!line) continue;
      const beside = taken.get(line) ?? 0;
      taken.set(line, beside + 1);
      if (beside) continue;
      const dot = document.createElement("span");
      dot.textContent = remark.querySelector(".dot").textContent;
      dot.className = remark.classList.contains("bad") ? "bad" : "";
      dot.style.top = `${line.offsetTop + 2}px`;
      gutter.append(dot);
    }
    follow();
  }
  const follow = () => { for (const dot of gutter.children) dot.style.transform = `translateY(${-body.scrollTop}px)`; };

  function go(line, words) {
    const lines = body.value.split("\n");
    let at = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    const within = words ? lines[line - 1]?.toLowerCase().indexOf(words.toLowerCase()) ?? -1 : -1;
    const begin = within >= 0 ? at + within : at;
    body.focus();
    body.setSelectionRange(begin, within >= 0 ? begin + words.length : at + (lines[line - 1]?.length ?? 0));
    const where = mirror.children[line - 1];
    if (where) body.scrollTop = Math.max(0, where.offsetTop - body.clientHeight / 3);
  }

  seen.addEventListener("click", (event) => {
    const to = event.target.closest("[data-go]");
    if (to) go(Number(to.dataset.go), to.closest(".remark").dataset.words);
    const fix = event.target.closest("[data-fix]");
    if (fix) put(fix.dataset.put, Number(fix.dataset.begin), Number(fix.dataset.end));
  });

  // ---- Toolbar ----

  // `insertText` keeps the browser's own undo; places are counted in characters, as the server counts them.
  function put(text, begin, end) {
    const units = (count) => [...body.value].slice(0, count).join("").length;
    body.focus();
    body.setSelectionRange(units(begin), units(end));
    write(text);
  }
  function write(text) {
    if (!document.execCommand("insertText", false, text)) body.setRangeText(text, body.selectionStart, body.selectionEnd, "end");
    soon();
  }
  const chosen = () => body.value.slice(body.selectionStart, body.selectionEnd);
  const wrap = (mark) => write(`${mark}${chosen() || "words"}${mark}`);
  const link = () => write(`[${chosen() || "words"}](https://)`);
  function lines(prefix) {
    const begin = body.value.lastIndexOf("\n", body.selectionStart - 1) + 1;
    body.setSelectionRange(begin, body.selectionEnd);
    write(chosen().split("\n").map((line) => prefix + line).join("\n"));
  }
  function block(text) {
    const before = body.value.slice(0, body.selectionStart);
    const lead = before === "" || before.endsWith("\n\n") ? "" : before.endsWith("\n") ? "\n" : "\n\n";
    body.setSelectionRange(body.selectionStart, body.selectionStart);
    write(`${lead}${text}\n\n`);
  }
  form.querySelector(".toolbar").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    body.focus();
    if (button.dataset.wrap) wrap(button.dataset.wrap);
    else if (button.dataset.prefix) lines(button.dataset.prefix);
    else if (button.dataset.block) block(button.dataset.block);
    else if ("picture" in button.dataset) choosePicture();
    else link();
  });

  // ---- A picture: chosen and said in words in a dialog, then a line of the letter ----

  const dialog = document.getElementById("picture");
  const chooser = dialog.querySelector("form");
  const wrong = chooser.querySelector(".trouble");
  const progress = chooser.querySelector("[role=status]");
  const look = chooser.querySelector(".chosen");
  let place = 0;

  function choosePicture() {
    chooser.reset();
    wrong.replaceChildren();
    look.hidden = true;
    chooser.alt.disabled = false;
    place = body.selectionStart; // behind a dialog a text area forgets where its cursor was
    dialog.showModal();
  }
  function refuse(words, field) {
    const said = Object.assign(document.createElement("p"), { className: "error", textContent: words });
    wrong.replaceChildren(said);
    progress.textContent = "";
    field.focus();
  }
  chooser.decorative.addEventListener("change", () => { chooser.alt.disabled = chooser.decorative.checked; });
  chooser.file.addEventListener("change", () => {
    look.hidden = true;
    const file = chooser.file.files[0];
    if (!file || !/^image\/(png|jpeg)$/.test(file.type)) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => { look.firstElementChild.src = reader.result; look.hidden = false; });
    reader.readAsDataURL(file);
  });
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => { body.focus(); body.setSelectionRange(place, place); });
  chooser.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = chooser.file.files[0];
    if (!file) return refuse("Please choose a picture first.", chooser.file);
    if (file.size > Number(chooser.dataset.most)) return refuse(`This picture is ${Math.round(file.size / 1e6)} MB large; at most ${chooser.dataset.most / 1e6} MB can be read.`, chooser.file);
    if (!chooser.decorative.checked && !chooser.alt.value.trim()) return refuse("Please say what it shows, or that it is only decoration: some readers cannot see it.", chooser.alt);
    wrong.replaceChildren();
    progress.textContent = "Putting it in …";
    let answer;
    try {
      answer = await fetch(chooser.action, { method: "POST", body: new FormData(chooser), headers: { "HX-Request": "true", "X-CSRF-Token": csrf }, redirect: "error" });
    } catch {
      return refuse("The desk cannot be reached. Please try again in a moment.", chooser.file);
    }
    if (answer.status === 401 || answer.status === 403) return refuse("You are logged out. Log in again in a new tab, and reload this page; your text is safe.", chooser.file);
    const part = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("p");
    if (!answer.ok || !part?.dataset.line) return refuse(answer.status < 500 && part ? part.textContent : "It could not be put in. Please try again.", chooser.file);
    progress.textContent = "";
    dialog.addEventListener("close", () => block(part.dataset.line), { once: true });
    dialog.close();
  });

  for (const pick of form.querySelectorAll("[data-pick]")) {
    pick.addEventListener("change", () => {
      if (pick.value) { body.focus(); write(pick.value); }
      pick.selectedIndex = 0;
    });
  }
  body.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const act = { b: () => wrap("**"), k: link, s: () => { dirty = true; save(); } }[event.key.toLowerCase()];
    if (act) { event.preventDefault(); act(); }
  });

  // ---- The preview, and leaving ----

  for (const tab of document.querySelectorAll("[data-view]")) {
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      for (const other of document.querySelectorAll("[data-view]")) other.removeAttribute("aria-current");
      tab.setAttribute("aria-current", "true");
      form.view.value = tab.dataset.view;
      preview.className = `as-${tab.dataset.view}`;
      preview.src = `${here}/preview?view=${tab.dataset.view}&who=${form.who.value}`;
    });
  }
  for (const field of [form.subject, form.preheader, body]) field.addEventListener("input", soon);
  form.addEventListener("submit", (event) => { event.preventDefault(); dirty = true; save(); });
  document.querySelector("[data-publish]").addEventListener("click", async (event) => {
    event.preventDefault();
    const to = event.currentTarget.href;
    if (await save()) location.assign(to);
  });
  addEventListener("beforeunload", (event) => { if (dirty || saving) event.preventDefault(); });
  body.addEventListener("scroll", follow);
  new ResizeObserver(mark).observe(body);
  settle();
})();
