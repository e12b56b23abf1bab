"use strict";

// Figures: drawn when they come near the screen, and anew where a reader chooses something.
// What a trace is and of which runs, its `meta` says: {of: method, runs: [...], role}.

const SETTINGS = { responsive: true, displaylogo: false, displayModeBar: false };
const NEWEST = 12; // methods drawn at first in a figure; more cannot be told apart
const TEXT_ROWS = 1000;

const nameOf = (trace) => unescaped(trace.meta?.of ?? trace.name ?? "");
const found = (run) => !fovea.found || fovea.found.has(run);

function unescaped(html) {
  const area = document.createElement("textarea");
  area.innerHTML = html;
  return area.value;
}

function figuresOf(group) {
  const choices = fovea.charts[group.dataset.chart];
  const select = group.querySelector(".choice");
  return choices[select?.value] ?? Object.values(choices)[0];
}

// Which names are drawn: what a reader pressed, else the newest that have a run that was found.

function drawnNames(group) {
  const here = new Set();
  const first = new Set();
  for (const figure of figuresOf(group)) {
    const newest = new Map();
    for (const trace of figure.data) {
      if (!trace.meta?.runs) return (name) => group.pressed?.get(name) ?? true;
      const place = Math.max(-1, ...trace.meta.runs.filter(found));
      if (place >= 0) newest.set(nameOf(trace), Math.max(newest.get(nameOf(trace)) ?? -1, place));
    }
    const ranked = [...newest.keys()].sort((a, b) => newest.get(b) - newest.get(a));
    for (const name of ranked) here.add(name);
    for (const name of ranked.slice(0, NEWEST)) first.add(name);
  }
  return (name) => here.has(name) && (group.pressed?.get(name) ?? first.has(name));
}

function legend(group, drawn) {
  const keys = [...group.querySelectorAll(".key")];
  const traces = figuresOf(group).flatMap((figure) => figure.data);
  const colours = new Map(traces.map((trace) => [nameOf(trace), trace.line?.color]));
  for (const key of keys) {
    const name = unescaped(key.dataset.name);
    key.setAttribute("aria-pressed", drawn(name));
    key.hidden = !colours.has(name);
    if (colours.get(name)) key.firstChild.style.setProperty("--c", colours.get(name));
  }
  const note = group.querySelector(".drawn");
  const shown = keys.filter((key) => !key.hidden);
  const count = shown.filter((key) => key.ariaPressed === "true").length;
  if (note) {
    note.hidden = shown.length <= NEWEST;
    note.querySelector("span").textContent =
      `${count} of ${shown.length} are drawn` +
      (group.pressed || count === shown.length ? ". " : ", the newest of each figure. ") +
      "A name hides and shows its lines. ";
  }
}

// Learning curves: what they are drawn over, how smooth, which lines.

function between(xs, ys, x) {
  let k = xs.findIndex((known) => known >= x);
  k = k === -1 ? xs.length - 1 : Math.max(k, 1);
  const slope = (ys[k] - ys[k - 1]) / (xs[k] - xs[k - 1] || 1);
  return ys[k - 1] + slope * (x - xs[k - 1]);
}

function over(trace, axis) {
  const runs = trace.meta.runs.map((run) => fovea.runs.list[run]);
  if (axis === "samples") {
    return runs[0].batch ? trace.x.map((step) => step * runs[0].batch) : null;
  }
  if (axis === "seconds") {
    const clocks = runs.map((run) => run.clock).filter(Boolean);
    if (!clocks.length) return null;
    const mean = (step) => clocks.reduce((sum, of) => sum + between(...of, step), 0) / clocks.length;
    return trace.x.map((step) => Number(mean(step).toPrecision(6)));
  }
  return trace.x;
}

// An exponential moving average that begins at the first value, of numbers with gaps.

function smooth(values, share) {
  let mean = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = share * mean + (1 - share) * value;
    weight = share * weight + (1 - share);
    return mean / weight;
  });
}

function smoothed(trace, share) {
  if (!share || trace.mode === "markers") return trace.y;
  if (!trace.fill) return smooth(trace.y, share);
  const half = trace.y.length / 2;
  const high = smooth(trace.y.slice(half).reverse(), share).reverse();
  return [...smooth(trace.y.slice(0, half), share), ...high];
}

function chosen(group, figure, drawn) {
  const axis = group.querySelector(".axis")?.value;
  const role = group.querySelector(".lines")?.value ?? "both";
  const share = Number(group.querySelector(".smoothing")?.value ?? 0);
  const traces = [];
  for (const trace of figure.data) {
    if (!drawn(nameOf(trace))) continue;
    if (!trace.meta?.runs) {
      traces.push(group.paint ? group.paint(trace) : trace);
      continue;
    }
    const { runs, role: own } = trace.meta;
    if (!runs.some(found)) continue;
    const alone = own === "seed" && !figure.data.some((t) => t.meta.role === "mean" && nameOf(t) === nameOf(trace));
    if (role !== "both" && role !== own && !alone) continue;
    const x = over(trace, axis);
    if (x) traces.push({ ...trace, x, y: smoothed(trace, share) });
  }
  return traces;
}

function layoutOf(group, figure, traces) {
  const layout = { ...figure.layout, template: fovea.templates[theme()] };
  const axis = group.querySelector(".axis")?.value;
  if (axis) layout.xaxis = { ...layout.xaxis, title: { text: axis } };
  layout.uirevision = axis ?? "same";
  if (!traces.length) {
    const text = figure.data.length ? "nothing of this is chosen" : "nothing to draw";
    const place = { xref: "paper", yref: "paper", x: 0.5, y: 0.5, showarrow: false };
    layout.annotations = [{ text, ...place }];
    layout.shapes = [];
  }
  return layout;
}

function draw(group) {
  const drawn = drawnNames(group);
  legend(group, drawn);
  const figures = figuresOf(group);
  group.querySelectorAll(".chart").forEach((element, k) => {
    const traces = chosen(group, figures[k], drawn);
    Plotly.react(element, traces, layoutOf(group, figures[k], traces), SETTINGS);
  });
  group.dataset.drawn = "yes";
  group.after?.();
  const text = group.querySelector(".data details");
  if (text?.open) write(group);
}

// Once more, when it comes near the screen: where it is there, at once.

function redraw(group) {
  if (!group.dataset.drawn) return;
  delete group.dataset.drawn;
  nearing.observe(group);
}

// What is drawn, as rows: for the file, and to be read.

const COLUMNS = ["figure", "name", "kind", "x", "y", "low", "high"];

function rowsOf(group) {
  const drawn = drawnNames(group);
  return figuresOf(group).flatMap((figure) => {
    const title = unescaped(figure.layout.title.text);
    return chosen(group, figure, drawn).flatMap((trace) => rowsOfTrace(title, trace));
  });
}

function rowsOfTrace(title, trace) {
  const kind = trace.fill ? "band" : (trace.meta?.role ?? trace.type);
  const name = unescaped(trace.name ?? "");
  const say = (value) => (typeof value === "string" ? unescaped(value) : value);
  if (trace.type === "heatmap") {
    return trace.z.flatMap((row, i) =>
      row.map((z, j) => [title, say(trace.y[i]), kind, say(trace.x[j]), z, null, null]),
    );
  }
  if (trace.fill) {
    const half = trace.x.length / 2;
    return trace.x.slice(0, half).map((x, k) => {
      return [title, name, kind, x, null, trace.y[k], trace.y[2 * half - 1 - k]];
    });
  }
  const lying = trace.orientation === "h";
  const [xs, ys] = lying ? [trace.y, trace.x] : [trace.x, trace.y];
  const spread = trace.error_y?.array;
  const below = trace.error_y?.arrayminus ?? spread;
  return xs.map((x, k) => {
    const known = spread && spread[k] !== null && ys[k] !== null;
    const ends = known ? [ys[k] - below[k], ys[k] + spread[k]] : [null, null];
    return [title, name, kind, say(x), ys[k], ...ends];
  });
}

function csv(rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : `${value}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",") + "\n").join("");
}

function save(group) {
  const text = csv([COLUMNS, ...rowsOf(group)]);
  const link = make("a", { download: `${group.dataset.chart}-figures.csv` });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.click();
  URL.revokeObjectURL(link.href);
}

function write(group) {
  const rows = rowsOf(group);
  const cell = (value) => {
    const number = typeof value === "number";
    const text = value === null ? "–" : number ? `${Number(value.toPrecision(4))}` : value;
    return make("td", number ? { class: "number" } : {}, text);
  };
  const head = make("tr", {}, ...COLUMNS.map((name) => make("th", { scope: "col" }, name)));
  const body = rows.slice(0, TEXT_ROWS).map((row) => make("tr", {}, ...row.map(cell)));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  const note =
    rows.length > TEXT_ROWS ? `The first ${TEXT_ROWS} of ${rows.length} rows; the file has all.` : "";
  group
    .querySelector(".data .text")
    .replaceChildren(make("div", { class: "scroll", tabindex: 0 }, table), make("p", { class: "fine" }, note));
}

const nearing = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        nearing.unobserve(entry.target);
        draw(entry.target);
      }
    }
  },
  { rootMargin: "600px" },
);

function press(group, wanted) {
  group.pressed ??= new Map();
  for (const key of group.querySelectorAll(".key")) {
    const name = unescaped(key.dataset.name);
    group.pressed.set(name, wanted(name, key.ariaPressed === "true"));
  }
  draw(group);
}

function setUpChart(group) {
  if (group.ready) return; // it was here before, and was put into a new part of a live page
  group.ready = true;
  nearing.observe(group);
  for (const select of group.querySelectorAll("select")) {
    select.addEventListener("change", () => draw(group));
  }
  const slider = group.querySelector(".smoothing");
  slider?.addEventListener("input", () => {
    slider.nextElementSibling.value = slider.value;
    draw(group);
  });
  const keys = group.querySelectorAll(".key");
  for (const key of keys) {
    const own = unescaped(key.dataset.name);
    key.addEventListener("click", () => press(group, (name, was) => (name === own ? !was : was)));
  }
  if (keys.length > NEWEST) {
    const all = make("button", { type: "button", class: "link" }, "all");
    const none = make("button", { type: "button", class: "link" }, "none");
    all.addEventListener("click", () => press(group, () => true));
    none.addEventListener("click", () => press(group, () => false));
    const note = make("p", { class: "fine drawn", "aria-live": "polite" }, make("span"), "Draw ", all, ", or ", none, ".");
    group.querySelector(".legend").after(note);
  }
  group.querySelector(".save").addEventListener("click", () => save(group));
  group.querySelector(".data details").addEventListener("toggle", (event) => {
    if (event.target.open) write(group);
  });
}

part((root) => root.querySelectorAll(".charts").forEach(setUpChart));
themed.push(() => document.querySelectorAll(".charts").forEach(redraw));
addEventListener("fovea:found", () => {
  for (const group of document.querySelectorAll(".charts")) {
    if (figuresOf(group).some((figure) => figure.data.some((trace) => trace.meta?.runs))) redraw(group);
  }
});
addEventListener("beforeprint", () => {
  for (const group of document.querySelectorAll(".charts")) if (!group.dataset.drawn) draw(group);
});
