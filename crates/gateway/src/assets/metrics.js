// The metrics explorer: completes names while an expression is typed, and draws the picture so that it can be pointed at.
// Without this script the page has the same form, picture and table.
"use strict";

(() => {
  const form = document.querySelector("form.explorer");
  const input = form?.querySelector("textarea");
  if (!input) return;

  // --- Completion ---------------------------------------------------------------------------------

  const SHOWN = 12;
  const WAIT_MS = 120;
  const FIRST = /^[a-zA-Z_:][\w:]*$/;
  const functions = JSON.parse(form.dataset.names);

  // What was asked for once is known while the page is open.
  const known = new Map();
  const ask = (path) => {
    if (!known.has(path)) {
      const answer = fetch(`/api/v1/${path}`)
        .then((reply) => (reply.ok ? reply.json() : { data: [] }))
        .then(({ data }) => data, () => []);
      known.set(path, answer);
    }
    return known.get(path);
  };
  const meant = (metric) => (metric ? `&match[]=${encodeURIComponent(metric)}` : "");

  // What may stand at the cursor: the word so far, and where to look for more.
  const place = (before) => {
    const metric = /([a-zA-Z_:][\w:]*)\s*\{[^{}]*$/.exec(before)?.[1];
    const value = /[{,]\s*([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)$/.exec(before);
    if (value) {
      const path = `label/${encodeURIComponent(value[1])}/values?limit=2000${meant(metric)}`;
      return { word: value[2], from: () => ask(path), kind: "value", after: "\"" };
    }
    // A string that is not a label's value, or a span of time: nothing to offer.
    if ((before.replace(/\\./g, "").match(/"/g) || []).length % 2 || /\[[^\]]*$/.test(before)) return null;
    const word = /[a-zA-Z_:][\w:]*$/.exec(before)?.[0] ?? "";
    if (/\{[^{}]*$/.test(before)) {
      return { word, from: () => ask(`labels?limit=2000${meant(metric)}`), kind: "label", after: "=\"" };
    }
    if (/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*$/i.test(before)) {
      return { word, from: () => ask("labels?limit=2000"), kind: "label", after: "" };
    }
    if (!word) return null;
    return { word, from: () => ask("label/__name__/values?limit=20000"), kind: "metric", after: "", functions: true };
  };

  const list = document.createElement("ul");
  list.id = "completions";
  list.className = "completions";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Completions");
  list.hidden = true;
  input.parentElement.append(list);
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", list.id], ["aria-expanded", "false"]]) {
    input.setAttribute(name, value);
  }

  let open = null; // { place, choices, at }
  const close = () => {
    open = null;
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const point = (at) => {
    open.at = at;
    [...list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === at)));
    input.setAttribute("aria-activedescendant", `completion-${at}`);
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };
  const take = (at) => {
    const { place: where, choices } = open;
    const choice = choices[at];
    const cursor = input.selectionStart;
    const after = choice.kind === "function" ? "(" : where.after;
    const rest = input.value.slice(cursor);
    const text = choice.name + (rest.startsWith(after) ? "" : after);
    input.setRangeText(text, cursor - where.word.length, cursor, "end");
    close();
    if (after && choice.kind === "label") complete();
  };

  let turn = 0;
  const complete = async () => {
    const mine = ++turn;
    const where = place(input.value.slice(0, input.selectionStart));
    if (!where) return close();
    const names = await where.from();
    if (mine !== turn) return;
    const word = where.word.toLowerCase();
    let choices = names.filter((name) => where.kind === "value" || FIRST.test(name)).map((name) => ({ name, kind: where.kind }));
    if (where.functions) choices = functions.map((name) => ({ name, kind: "function" })).concat(choices);
    const rank = ({ name }) => (name.toLowerCase().startsWith(word) ? 0 : name.toLowerCase().includes(word) ? 1 : 2);
    choices = choices.filter((choice) => rank(choice) < 2 && choice.name !== where.word);
    choices.sort((a, b) => rank(a) - rank(b) || a.name.length - b.name.length || (a.name < b.name ? -1 : 1));
    if (where.kind === "value") for (const choice of choices) choice.name = choice.name.replace(/[\\"]/g, "\\$&");
    choices = choices.slice(0, SHOWN);
    if (!choices.length) return close();
    open = { place: where, choices, at: -1 };
    list.replaceChildren(...choices.map(({ name, kind }, index) => {
      const item = document.createElement("li");
      item.id = `completion-${index}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", "false");
      const text = document.createElement("span");
      text.textContent = name;
      const what = document.createElement("span");
      what.className = "kind";
      what.textContent = kind;
      item.append(text, what);
      return item;
    }));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
  };

  let soon = 0;
  input.addEventListener("input", () => {
    clearTimeout(soon);
    soon = setTimeout(complete, WAIT_MS);
  });
  input.addEventListener("blur", () => {
    turn++;
    clearTimeout(soon);
    close();
  });
  list.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // the cursor stays in the expression
    const at = [...list.children].indexOf(event.target.closest("li"));
    if (open && at >= 0) take(at);
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (open) {
      const count = open.choices.length;
      const handled = {
        ArrowDown: () => point((open.at + 1) % count),
        ArrowUp: () => point((open.at + count - (open.at < 0 ? 0 : 1)) % count),
        Tab: () => take(Math.max(open.at, 0)),
        Escape: close,
        Enter: open.at >= 0 ? () => take(open.at) : null,
      }[event.key];
      if (handled) {
        event.preventDefault();
        handled();
        return;
      }
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    } else if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      complete();
    }
  });

  // --- Picture ------------------------------------------------------------------------------------

  const figure = document.querySelector("figure.series-chart");
  if (!figure || !window.uPlot) return;
  const { times, columns, names, marks } = JSON.parse(figure.dataset.plot);
  if (times.length < 2) return;
  const COLOURS = 6;
  const HEIGHT = 272;

  // As the server writes values: four figures, thousands as a letter.
  const short = (value) => {
    if (value === null || value === undefined) return "";
    const size = Math.abs(value);
    if (size && (size < 1e-3 || size >= 1e16)) return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
    const [unit, letter] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => size >= least) ?? [1, ""];
    return String(Number((value / unit).toPrecision(4))) + letter;
  };
  const clock = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").replace(/\.000Z|Z/, " UTC");

  const holder = document.createElement("div");
  const at = document.createElement("p");
  at.className = "at quiet";
  figure.classList.add("live");
  figure.append(holder, at);

  const rows = [...document.querySelectorAll("tr[data-line]")].map((row) => ({
    row, line: Number(row.dataset.line), cell: row.querySelector(".value"),
  }));
  for (const known of rows) known.last = known.cell.textContent;
  // The first are coloured, and drawn last so that nothing hides them.
  const drawn = columns.map((_, line) => columns.length - line);

  const follow = (plot) => {
    const index = plot.cursor.idx;
    const away = index === null || index === undefined || plot.cursor.left < 0;
    at.textContent = away ? "" : clock(times[index]);
    for (const { line, cell, last } of rows) {
      const text = away ? last : short(columns[line][index]) || "–";
      if (cell.textContent !== text) cell.textContent = text;
    }
  };

  // The range that was drawn over is asked for.
  const choose = (plot) => {
    const { left, width } = plot.select;
    if (width < 8) return;
    const stamp = (x) => new Date(plot.posToVal(x, "x") * 1000).toISOString();
    const next = new URL(location.href);
    for (const name of ["within", "step"]) next.searchParams.delete(name);
    next.searchParams.set("from", stamp(left));
    next.searchParams.set("to", stamp(left + width));
    dispatchEvent(new Event("leaving"));
    location.assign(next);
  };

  const links = marks.map(([time, value, trace]) => {
    const link = document.createElement("a");
    link.className = "mark-link";
    link.href = `/traces/${encodeURIComponent(trace)}`;
    link.title = `${short(value)} at ${clock(time)}, trace ${trace.slice(0, 8)}`;
    link.setAttribute("aria-label", link.title);
    return { link, time, value };
  });
  const settle = (plot) => {
    const { min, max } = plot.scales.y;
    for (const { link, time, value } of links) {
      if (link.parentElement !== plot.over) plot.over.append(link);
      link.style.left = `${plot.valToPos(time, "x")}px`;
      link.style.top = `${plot.valToPos(Math.min(Math.max(value, min), max), "y")}px`;
    }
  };

  // The time of day, or the day where the lines are days apart.
  const faces = (_, ticks, __, ___, apart) => ticks.map((seconds) => {
    const text = new Date(seconds * 1000).toISOString();
    return apart >= 86400 ? text.slice(5, 10) : text.slice(11, apart < 60 ? 19 : 16);
  });

  let plot = null;
  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--n6"), font: "12px system-ui, sans-serif",
      grid: { stroke: colour("--n2"), width: 1 }, ticks: { stroke: colour("--n3"), width: 1, size: 4 },
    };
    const series = columns.map((_, index) => {
      const line = columns.length - 1 - index;
      const coloured = line < COLOURS;
      return {
        label: names[line], spanGaps: false, width: coloured ? 1.75 : 1,
        stroke: coloured ? colour(`--series-${line + 1}`) : colour("--n4"),
        points: { size: 5 },
      };
    });
    plot?.destroy();
    plot = new uPlot({
      width: holder.clientWidth, height: HEIGHT, series: [{}, ...series], legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      axes: [{ ...axis, space: 72, size: 32, values: faces }, { ...axis, size: 56, values: (_, ticks) => ticks.map(short) }],
      cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      focus: { alpha: 0.25 },
      hooks: { setCursor: [follow], setSelect: [choose], draw: [settle] },
    }, [times, ...[...columns].reverse()], holder);
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => {
    const width = holder.clientWidth;
    if (width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
  }).observe(holder);
  for (const { row, line } of rows) {
    row.addEventListener("pointerenter", () => plot.setSeries(drawn[line], { focus: true }));
    row.addEventListener("pointerleave", () => plot.setSeries(null, { focus: false }));
  }
})();
