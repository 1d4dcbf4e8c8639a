// Comfort on time lines: draw a part to look at it, roll the wheel with Ctrl to zoom, keys to move. Everything works
// without: the steps are links, and the address takes the two ends.
"use strict";

(() => {
  const LEAST_MS = 1000;
  const MOST_MS = 31 * 86400000;
  const MOVED_PX = 5;
  const SETTLE_MS = 250;

  const lanesOf = (target) => target?.closest?.("[data-axis]") || null;
  const ends = (lanes) => lanes.dataset.axis.split(" ").map(Number);
  // The picture of the first lane is as wide as all of them.
  const area = (lanes) => {
    const picture = lanes.querySelector(".lane svg")?.getBoundingClientRect();
    const whole = lanes.getBoundingClientRect();
    return picture && { left: picture.left, width: picture.width, top: whole.top, height: whole.height };
  };
  const timeAt = (lanes, x) => {
    const [begin, end] = ends(lanes);
    const { left, width } = area(lanes);
    return begin + Math.min(1, Math.max(0, (x - left) / width)) * (end - begin);
  };
  const face = (ms) => new Date(ms).toISOString().slice(11, 19);

  let frame = null;
  const show = (lanes, from, to) => {
    const { left, width, top, height } = area(lanes);
    const [begin, end] = ends(lanes);
    const place = (ms) => left + Math.min(1, Math.max(0, (ms - begin) / (end - begin))) * width;
    if (!frame) {
      frame = document.createElement("div");
      frame.className = "selection";
      frame.append(document.createElement("output"));
      document.body.append(frame);
    }
    Object.assign(frame.style, {
      left: `${place(from)}px`, width: `${Math.max(1, place(to) - place(from))}px`, top: `${top}px`, height: `${height}px`,
    });
    frame.firstElementChild.textContent = `${face(from)} – ${face(to)} UTC`;
  };
  const hide = () => {
    frame?.remove();
    frame = null;
    document.body.classList.remove("selecting");
  };

  const go = (lanes, from, to) => {
    const middle = (from + to) / 2;
    const half = Math.min(MOST_MS, Math.max(LEAST_MS, to - from)) / 2;
    const url = new URL(lanes.dataset.zoom, location.href);
    // On the page of its own the other filters stay.
    if (location.pathname === url.pathname) {
      for (const [name, value] of new URLSearchParams(location.search)) {
        if (!["from", "to", "within", "service"].includes(name)) url.searchParams.append(name, value);
      }
    }
    url.searchParams.set("from", new Date(middle - half).toISOString());
    url.searchParams.set("to", new Date(middle + half).toISOString());
    dispatchEvent(new Event("leaving"));
    location.assign(url);
  };

  // --- Drawing a part -----------------------------------------------------------------------------

  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const lanes = lanesOf(event.target);
    if (!lanes || event.button || !event.target.closest("svg")) return;
    drag = { lanes, x: event.clientX, pointer: event.pointerId, moved: false };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    if (!drag.moved && Math.abs(event.clientX - drag.x) < MOVED_PX) return;
    if (!drag.moved) {
      drag.moved = true;
      document.body.classList.add("selecting");
      getSelection()?.removeAllRanges();
    }
    const times = [timeAt(drag.lanes, drag.x), timeAt(drag.lanes, event.clientX)].sort((a, b) => a - b);
    show(drag.lanes, ...times);
  });
  document.addEventListener("pointerup", (event) => {
    const done = drag;
    drag = null;
    if (!done?.moved) return;
    const times = [timeAt(done.lanes, done.x), timeAt(done.lanes, event.clientX)].sort((a, b) => a - b);
    hide();
    // What was drawn over is not what was clicked.
    addEventListener("click", (click) => click.preventDefault(), { once: true, capture: true });
    setTimeout(() => go(done.lanes, ...times), 0);
  });
  const cancel = () => {
    drag = null;
    hide();
  };
  document.addEventListener("pointercancel", cancel);
  // A mark is a link, which a browser would drag away.
  document.addEventListener("dragstart", (event) => {
    if (lanesOf(event.target)) event.preventDefault();
  });

  // --- Zooming with the wheel ---------------------------------------------------------------------

  let zoom = null;
  document.addEventListener("wheel", (event) => {
    const lanes = lanesOf(event.target);
    if (!lanes || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const [begin, end] = zoom?.lanes === lanes ? zoom.times : ends(lanes);
    const at = timeAt(lanes, event.clientX);
    const factor = 1.2 ** Math.sign(event.deltaY);
    const times = [at - (at - begin) * factor, at + (end - at) * factor];
    clearTimeout(zoom?.timer);
    zoom = { lanes, times, timer: setTimeout(() => go(lanes, ...times), SETTLE_MS) };
    show(lanes, ...times);
  }, { passive: false });

  // --- Keys: those of the links above the lanes ----------------------------------------------------

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && drag) return cancel();
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea")) return;
    const step = document.querySelector(`[data-step][aria-keyshortcuts="${CSS.escape(event.key)}"]`);
    if (!step || !(event.target === document.body || event.target.closest?.(".timeline"))) return;
    event.preventDefault();
    step.click();
  });
})();
