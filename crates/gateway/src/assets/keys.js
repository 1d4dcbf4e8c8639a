// The command palette and the keyboard. Everything they reach is a link on some page as well.
"use strict";

(() => {
  const GO = {
    o: ["/", "Overview"], s: ["/services", "Services"], t: ["/timeline", "Time line"], i: ["/issues", "Issues"],
    r: ["/remediations", "Remediations"], a: ["/approvals", "Approvals"], e: ["/experiments", "Experiments"],
    y: ["/statistics", "Statistics"], l: ["/slos", "Objectives"], c: ["/traces", "Traces"],
    m: ["/metrics-explorer", "Metrics"],
  };
  const GO_WITHIN_MS = 1500;
  const leave = (address) => { dispatchEvent(new Event("leaving")); location.assign(address); };

  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  // A modal dialog of the browser: it holds the focus, Escape closes it, the focus goes back where it was.
  const dialog = (label, ...children) => {
    const element = make("dialog", { class: "overlay", "aria-label": label }, ...children);
    element.addEventListener("click", (event) => { if (event.target === element) element.close(); });
    document.body.append(element);
    return element;
  };

  // --- Palette --------------------------------------------------------------------------------------

  const input = make("input", {
    type: "text", role: "combobox", "aria-label": "Go to a page, service, issue or action", "aria-controls": "palette-items",
    "aria-expanded": "true", "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false",
    placeholder: "Page, service, issue or action",
  });
  const items = make("ul", { id: "palette-items", role: "listbox", "aria-label": "Matches" });
  const said = make("p", { class: "quiet", role: "status" });
  const palette = dialog("Command palette", input, items, said);
  let chosen = -1;
  let asking = null;

  const choose = (place) => {
    const options = [...items.children];
    chosen = options.length ? (place + options.length) % options.length : -1;
    options.forEach((option, n) => option.setAttribute("aria-selected", String(n === chosen)));
    if (chosen < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", options[chosen].id);
      options[chosen].scrollIntoView({ block: "nearest" });
    }
  };

  const ask = async () => {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    items.setAttribute("aria-busy", "true");
    try {
      const reply = await fetch(`/palette?q=${encodeURIComponent(input.value)}`, { signal });
      if (!reply.ok) throw new Error(String(reply.status));
      const found = (await reply.json()).items;
      items.replaceChildren(...found.map((item, n) => make(
        "li", { role: "option", id: `palette-${n}`, "data-href": item.href },
        make("span", {}, item.title), make("span", { class: "quiet" }, item.kind),
      )));
      said.textContent = found.length ? "" : "Nothing matches.";
      choose(0);
    } catch (error) {
      if (error.name !== "AbortError") said.textContent = "The server does not answer; the links of the page still lead on.";
    }
    if (!signal.aborted) items.removeAttribute("aria-busy");
  };

  const open = () => {
    if (palette.open) return;
    input.value = "";
    palette.showModal();
    input.focus();
    ask();
  };
  const go = (option) => { if (option) leave(option.dataset.href); };

  input.addEventListener("input", ask);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) choose(chosen + step);
    else if (event.key === "Enter") go(items.children[chosen]);
    else return;
    event.preventDefault();
  });
  items.addEventListener("click", (event) => go(event.target.closest("[role=option]")));

  const opener = make("button", { type: "button", class: "opener", "aria-keyshortcuts": "Control+K /" }, "Search ", make("kbd", {}, "Ctrl K"));
  opener.addEventListener("click", open);
  document.querySelector(".top .stop-form")?.before(opener);

  // Where the rail is a bar that scrolls, the page one is on is in sight.
  const bar = document.querySelector(".rail ul");
  const here = bar?.querySelector("[aria-current]");
  if (here) bar.scrollLeft = here.parentElement.offsetLeft - bar.clientWidth / 2;

  // --- Keys -----------------------------------------------------------------------------------------

  const KEYS = [
    ["Ctrl K or /", "command palette"], ["j, k", "next and previous row; arrows too, once in a list"], ["Enter", "open the row"],
    ["?", "these keys"], ["Escape", "close"],
    ...Object.entries(GO).map(([key, [, word]]) => [`g ${key}`, word]),
  ];
  const close = make("button", { type: "button" }, "Close");
  const help = dialog("Keys", make("h2", {}, "Keys"), make("dl", { class: "values" },
    ...KEYS.flatMap(([key, word]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, word)])), close);
  close.addEventListener("click", () => help.close());

  // The first link of every row of every list.
  const rows = () => [...document.querySelectorAll("main tbody tr, main .rows > li")]
    .map((row) => row.querySelector("a[href]")).filter((link) => link?.checkVisibility());
  const move = (step) => {
    const links = rows();
    const row = document.activeElement?.closest("main tbody tr, main .rows > li");
    const at = links.findIndex((link) => row?.contains(link));
    const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step));
    links[next]?.focus();
    links[next]?.scrollIntoView({ block: "nearest" });
  };

  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      open();
      return;
    }
    // The field of a palette that was just closed keeps the focus until the next frame.
    const typing = event.target.closest?.("input, select, textarea, [contenteditable]")?.checkVisibility();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const inRow = document.activeElement?.closest("main tbody tr, main .rows > li");
    const step = { j: 1, k: -1, ...(inRow ? { ArrowDown: 1, ArrowUp: -1 } : {}) }[event.key];
    if (event.timeStamp - going < GO_WITHIN_MS && GO[event.key]) leave(GO[event.key][0]);
    else if (event.key === "/") open();
    else if (event.key === "?") help.showModal();
    else if (step) move(step);
    else {
      going = event.key === "g" ? event.timeStamp : 0;
      return;
    }
    going = 0;
    event.preventDefault();
  });
})();
