// Live updates and press-and-hold. Every page works without this script: reload instead of live, a page
// that asks once instead of holding.
"use strict";

(() => {
  const AGE_TICK_MS = 1000;
  const HOLD_MS = 1000;
  const STALE_AFTER_MS = 5000;
  const RETRY_AFTER_MS = 5000;

  // Durations as everywhere in Homeostat: the largest unit that fits, two significant figures.
  const age = (seconds) => {
    const s = Math.max(0, seconds);
    if (s < 120) return `${Math.floor(s)} s`;
    if (s < 7200) return `${Math.floor(s / 60)} min`;
    if (s < 172800) return `${Math.floor(s / 3600)} h`;
    return `${Math.floor(s / 86400)} d`;
  };

  // The server's clock, as seen at the last message: a wrong clock here must not make wrong ages.
  let skew = Date.parse(document.documentElement.dataset.now) - Date.now() || 0;
  const now = () => Date.now() + skew;

  const tick = (root = document) => {
    for (const el of root.querySelectorAll("time[data-age]")) {
      const seconds = (now() - Date.parse(el.dateTime)) / 1000;
      const text = el.dataset.age === "left" ? `${age(-seconds)} left`
        : el.dataset.age === "for" ? age(seconds) : `${age(seconds)} ago`;
      if (el.textContent !== text) el.textContent = text;
    }
  };

  // --- Patching -----------------------------------------------------------------------------------

  const tint = (el) => {
    el.classList.remove("changed");
    void el.getBoundingClientRect(); // so that the animation starts again
    el.classList.add("changed");
    el.addEventListener("animationend", () => el.classList.remove("changed"), { once: true });
  };

  const keyOf = (node) => (node.nodeType === 1 ? node.dataset?.key || null : null);
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

  const patchAttributes = (from, to) => {
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && name !== "open") from.removeAttribute(name);
    }
    for (const { name, value } of [...to.attributes]) {
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
  };

  const patchChildren = (from, to) => {
    const keyed = new Map();
    for (const child of from.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
    let at = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      let have = keyOf(wanted) ? keyed.get(keyOf(wanted)) : at;
      if (have && !alike(have, wanted)) have = null;
      if (!have) {
        from.insertBefore(wanted, at);
        continue;
      }
      if (have === at) at = at.nextSibling;
      else from.insertBefore(have, at);
      patch(have, wanted);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  const patch = (from, to) => {
    if (from.nodeType === 3) {
      if (from.data !== to.data) {
        from.data = to.data;
        if (from.parentElement instanceof HTMLElement) tint(from.parentElement);
      }
      return;
    }
    if (from.nodeType !== 1) return;
    patchAttributes(from, to);
    // Ages count on by themselves; what is typed or chosen stays.
    if (from.matches("time[data-age], input, select, textarea")) return;
    patchChildren(from, to);
  };

  // A fragment is left alone while a person works in it; the newest text waits.
  const waiting = new Map();
  const busy = (el) => {
    const focus = document.activeElement;
    if (focus && el.contains(focus) && focus.matches("input, select, textarea")) return true;
    const selection = getSelection();
    if (selection && !selection.isCollapsed && selection.containsNode(el, true)) return true;
    return el.matches(":hover") && el.dataset.live === "rows";
  };

  const apply = (id, html) => {
    const el = document.getElementById(id);
    if (!el) return;
    if (busy(el)) {
      waiting.set(id, html);
      return;
    }
    waiting.delete(id);
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.firstElementChild;
    if (!fresh) return;
    patch(el, fresh);
    tick(el);
  };

  setInterval(() => {
    tick();
    for (const [id, html] of [...waiting]) apply(id, html);
    if (lastMessage && Date.now() - lastMessage > STALE_AFTER_MS) stale();
  }, AGE_TICK_MS);

  // --- Live connection ----------------------------------------------------------------------------

  const state = document.getElementById("link-state");
  let lastMessage = Date.now();
  // Said once; the age counts on without being read aloud every second.
  const stale = () => {
    if (!state || state.textContent) return;
    const word = document.createElement("strong");
    word.textContent = "Not connected";
    const rest = document.createElement("span");
    rest.textContent = "What is shown is the last that was known. The page looks again by itself.";
    const age = document.createElement("span");
    age.setAttribute("aria-hidden", "true");
    const time = document.createElement("time");
    time.dateTime = new Date(lastMessage + skew).toISOString();
    time.dataset.age = "ago";
    age.append("Last update ", time, ".");
    state.append(word, rest, age);
    state.className = "notice attention";
    document.body.classList.add("unlinked");
    tick(state);
  };
  const fresh = () => {
    lastMessage = Date.now();
    if (state && state.textContent) {
      state.textContent = "";
      state.className = "";
      document.body.classList.remove("unlinked");
    }
  };

  if (document.querySelector("[data-live]")) {
    const page = location.pathname + location.search;
    let source = null;
    let retry = 0;
    const open = () => {
      lastMessage ||= Date.now();
      source = new EventSource(`/events?page=${encodeURIComponent(page)}`);
      source.addEventListener("patch", (event) => {
        const { id, html } = JSON.parse(event.data);
        apply(id, html);
      });
      source.addEventListener("over", () => location.reload());
      source.addEventListener("now", (event) => {
        skew = Date.parse(event.data) - Date.now();
        fresh();
      });
      // A browser comes back by itself where the line broke. Where it was answered otherwise (too many pages, a proxy
      // whose server is away) it gives up, and the page would stay as it is for ever.
      source.addEventListener("error", () => {
        if (source?.readyState !== EventSource.CLOSED) return;
        source = null;
        retry = setTimeout(follow, RETRY_AFTER_MS);
      });
    };
    const close = () => {
      clearTimeout(retry);
      source?.close();
      source = null;
      lastMessage = 0;
    };
    // A browser keeps six connections to a server: pages nobody looks at must not hold them all. What
    // changed meanwhile comes with the first message after opening again.
    const follow = () => {
      clearTimeout(retry);
      if (document.hidden) close();
      else if (!source) open();
    };
    document.addEventListener("visibilitychange", follow);
    addEventListener("pagehide", close);
    addEventListener("pageshow", follow);
    follow();
  } else {
    lastMessage = 0;
  }
  tick();

  // --- Emergency stop: press and hold -------------------------------------------------------------

  const stop = document.querySelector("form.stop-form");
  const button = stop?.querySelector(".stop");
  if (button) {
    const word = button.textContent;
    let timer = 0;
    let held = false;
    const begin = (event) => {
      if (event.button) return;
      held = false;
      button.classList.add("holding");
      button.textContent = "Keep holding";
      timer = setTimeout(() => {
        held = true;
        button.textContent = "Stopping";
        stop.method = "post";
        stop.submit();
      }, HOLD_MS);
    };
    const end = () => {
      clearTimeout(timer);
      if (held) return;
      button.classList.remove("holding");
      button.textContent = word;
    };
    button.addEventListener("pointerdown", begin);
    for (const name of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(name, end);
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    // A short press with a pointer does nothing; by keyboard the button opens the page that asks.
    button.addEventListener("click", (event) => {
      if (event.detail !== 0) event.preventDefault();
    });
  }

  // --- Time line: pointing at one thing shows what belongs to it ----------------------------------

  const link = (event) => {
    const item = event.target.closest?.("[data-group]");
    const group = event.type === "pointerover" || event.type === "focusin" ? item?.dataset.group : null;
    for (const lane of document.querySelectorAll(".lane")) lane.classList.toggle("dim", Boolean(group));
    for (const other of document.querySelectorAll("[data-group]")) {
      other.classList.toggle("linked", Boolean(group) && other.dataset.group === group);
    }
  };
  for (const name of ["pointerover", "pointerout", "focusin", "focusout"]) {
    document.addEventListener(name, (event) => {
      if (event.target.closest?.(".timeline")) link(event);
    });
  }

  // --- A page that is left for long becomes its skeleton: what is still shown is the old one -------

  const SOON_MS = 150;
  let late = 0;
  const leaving = (event) => {
    const link = event.type === "click" ? event.target.closest?.("a[href]") : null;
    const away = event.type === "submit"
      || (link && link.origin === location.origin && !link.hash && !link.hasAttribute("download"));
    if (!away || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    late = setTimeout(() => loading(true), SOON_MS);
  };
  const loading = (is) => {
    clearTimeout(late);
    document.body.classList.toggle("loading", is);
    document.getElementById("main")?.setAttribute("aria-busy", String(is));
  };
  addEventListener("click", leaving);
  addEventListener("submit", leaving);
  addEventListener("pageshow", () => loading(false));
  // Whoever stays after all sees what was there.
  addEventListener("keydown", (event) => { if (event.key === "Escape") loading(false); });
  // Links that scripts follow.
  addEventListener("leaving", () => { late = setTimeout(() => loading(true), SOON_MS); });

  // Filters apply as soon as they are chosen.
  for (const form of document.querySelectorAll("form.filters")) {
    form.addEventListener("change", () => form.requestSubmit());
  }
})();
