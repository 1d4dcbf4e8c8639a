// Comfort on the pages of traces: parts instead of pages, rows that roll, arrows, and boxes drawn on the heat map.
// Everything works without: links lead to whole pages, forms take the box.
"use strict";

(() => {
  const ROW_HEIGHT = 24;
  const SETTLE_MS = 60;

  // --- Parts: a link or a form that says which sections change fetches those alone -----------------

  let under = null; // what is being fetched; a newer wish ends it
  const withPart = (address, part) => {
    const url = new URL(address, location.href);
    url.searchParams.set("part", part);
    return url;
  };
  const fetchPart = async (address, part, signal) => {
    const response = await fetch(withPart(address, part), { signal });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const template = document.createElement("template");
    template.innerHTML = await response.text();
    const fresh = template.content.firstElementChild;
    if (fresh?.id !== part) throw new Error("another page came");
    return fresh;
  };
  const show = async (address, parts, step) => {
    under?.abort();
    under = new AbortController();
    const { signal } = under;
    const rolled = document.querySelector(".rolling")?.scrollTop;
    const focus = document.activeElement?.closest?.("[data-key]")?.dataset.key;
    document.body.classList.add("loading");
    try {
      const fresh = await Promise.all(parts.map((part) => fetchPart(address, part, signal)));
      for (const section of fresh) document.getElementById(section.id)?.replaceWith(section);
      if (step === "push") history.pushState({ parts }, "", address);
      roll(new URL(address, location.href).searchParams.has("row") ? undefined : rolled);
      if (focus) document.querySelector(`[data-key="${CSS.escape(focus)}"] .step > a:last-of-type`)?.focus({ preventScroll: true });
      if (parts.includes("span") && new URL(address, location.href).searchParams.has("span")) {
        uncover();
      }
    } catch (error) {
      if (error.name !== "AbortError") location.assign(address);
    } finally {
      if (!signal.aborted) document.body.classList.remove("loading");
    }
  };
  // The details lie over the lower rows: where they cover the one they tell about, it moves just above them.
  const uncover = () => {
    const row = document.querySelector(".spans > .chosen");
    const details = document.querySelector("#span > *");
    if (!row || !details) return;
    const hidden = row.getBoundingClientRect().bottom - details.getBoundingClientRect().top;
    if (hidden > 0) scrollBy(0, hidden + ROW_HEIGHT);
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-part]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    // In a picture the address is an object.
    const address = link.href.baseVal ?? link.href;
    show(new URL(address, location.href).href, link.dataset.part.split(" "), "push");
  });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest?.("form[data-part]");
    if (!form) return;
    event.preventDefault();
    const fields = [...new FormData(form)].filter(([, value]) => value !== "");
    show(`${location.pathname}?${new URLSearchParams(fields)}`, form.dataset.part.split(" "), "push");
  });
  addEventListener("popstate", () => location.reload());

  // --- Rows that roll: only those in sight and a little around them are here ------------------------

  const roll = (keep) => {
    const rows = document.getElementById("rows");
    if (!rows || matchMedia("(max-width: 639px)").matches) return;
    const total = Number(rows.dataset.total);
    let first = Number(rows.dataset.first);
    if (total <= rows.children.length) return;
    const box = document.createElement("div");
    box.className = "rolling";
    box.tabIndex = -1;
    const [above, below] = [document.createElement("div"), document.createElement("div")];
    const size = () => {
      above.style.height = `${first * ROW_HEIGHT}px`;
      below.style.height = `${Math.max(0, total - first - rows.children.length) * ROW_HEIGHT}px`;
    };
    rows.replaceWith(box);
    box.append(above, rows, below);
    size();
    box.scrollTop = keep ?? first * ROW_HEIGHT;
    const chosen = rows.querySelector(".chosen");
    if (chosen && keep === undefined) box.scrollTop = chosen.offsetTop - box.offsetTop - 5 * ROW_HEIGHT;
    const words = box.nextElementSibling?.querySelector(".quiet");
    let asked = null;
    let timer = 0;
    const look = async () => {
      const top = Math.floor(box.scrollTop / ROW_HEIGHT);
      const bottom = Math.ceil((box.scrollTop + box.clientHeight) / ROW_HEIGHT);
      if (top >= first && Math.min(bottom, total) <= first + rows.children.length) return;
      const from = Math.max(0, top - 40);
      asked?.abort();
      asked = new AbortController();
      const address = new URL(location.href);
      address.searchParams.set("row", from);
      try {
        const fresh = (await fetchPart(address, "waterfall", asked.signal)).querySelector("#rows");
        if (!fresh || Number(fresh.dataset.total) !== total) return location.reload();
        first = Number(fresh.dataset.first);
        rows.dataset.first = first;
        rows.start = first + 1;
        rows.replaceChildren(...fresh.children);
        size();
        if (words) words.textContent = `Rows ${(first + 1).toLocaleString("en")}–${(first + rows.children.length).toLocaleString("en")} of ${total.toLocaleString("en")}`;
        look();
      } catch (error) {
        if (error.name !== "AbortError" && words) words.textContent = "The rows could not be fetched; scroll again.";
      }
    };
    box.addEventListener("scroll", () => {
      clearTimeout(timer);
      timer = setTimeout(look, SETTLE_MS);
    }, { passive: true });
    look();
  };
  roll();
  uncover();

  // --- Arrows: up and down the rows, left folds, right opens; Escape closes the details --------------

  document.addEventListener("keydown", (event) => {
    const close = event.key === "Escape" && document.querySelector("#span a.close");
    if (close && !event.target.closest?.("input, select")) {
      event.preventDefault();
      // From within the details the focus goes back to the row they were of.
      if (event.target.closest?.("#span")) document.querySelector(".spans > .chosen .step > a:last-of-type")?.focus();
      close.click();
      return;
    }
    const row = event.target.closest?.(".spans > li");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const toggle = row.querySelector(".fold-toggle");
    const isOpen = toggle?.getAttribute("aria-expanded") === "true";
    const go = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (go) go.querySelector(".step > a:last-of-type").focus();
    else if (toggle && ((event.key === "ArrowLeft" && isOpen) || (event.key === "ArrowRight" && !isOpen))) toggle.click();
    else return;
    event.preventDefault();
  });

  // --- Heat map: a box drawn with the pointer fills the form in -------------------------------------

  const cells = document.querySelector("svg[data-heat]");
  const form = document.getElementById("heat-form");
  if (cells && form) {
    const [begin, end, low, high] = cells.dataset.heat.split(" ").map(Number);
    const frame = cells.viewBox.baseVal;
    let box = null;
    let from = null;
    const at = (event) => {
      const area = cells.getBoundingClientRect();
      const share = (value, size) => Math.min(1, Math.max(0, value / size));
      return [share(event.clientX - area.left, area.width), share(event.clientY - area.top, area.height)];
    };
    const draw = (a, b) => {
      box.setAttribute("x", Math.min(a[0], b[0]) * frame.width);
      box.setAttribute("y", Math.min(a[1], b[1]) * frame.height);
      box.setAttribute("width", Math.abs(a[0] - b[0]) * frame.width);
      box.setAttribute("height", Math.abs(a[1] - b[1]) * frame.height);
    };
    cells.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      cells.setPointerCapture(event.pointerId);
      cells.querySelector(".box")?.remove();
      box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      box.setAttribute("class", "box");
      cells.append(box);
      from = at(event);
    });
    cells.addEventListener("pointermove", (event) => {
      if (from) draw(from, at(event));
    });
    const cancel = () => {
      box?.remove();
      from = null;
    };
    cells.addEventListener("pointercancel", cancel);
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && from) cancel();
    });
    cells.addEventListener("pointerup", (event) => {
      if (!from) return;
      const [a, b] = [from, at(event)];
      from = null;
      if (Math.abs(a[0] - b[0]) < 0.004 || Math.abs(a[1] - b[1]) < 0.01) {
        box.remove();
        return;
      }
      const time = (x) => new Date(begin + x * (end - begin)).toISOString();
      // Three figures are finer than the eye drew; rounded so that nothing at an edge falls out of the box.
      const duration = (y, round) => {
        const us = low * (high / low) ** (1 - y) / 1000;
        const unit = 10 ** (Math.floor(Math.log10(us)) - 2);
        const [value, name] = us < 1000 ? [1, "us"] : us < 1e6 ? [1e3, "ms"] : [1e6, "s"];
        return `${Number((round(us / unit) * unit / value).toPrecision(3))}${name}`;
      };
      const set = (name, value) => { form.elements[name].value = value; };
      set("t0", time(Math.min(a[0], b[0])));
      set("t1", time(Math.max(a[0], b[0])));
      set("d0", duration(Math.max(a[1], b[1]), Math.floor));
      set("d1", duration(Math.min(a[1], b[1]), Math.ceil));
      form.requestSubmit();
    });
  }
})();
