"use strict";

// A film: a slider that moves by itself until it is stopped, or has come round to where it began.

function film(button, slider, perSecond) {
  let ticking = null;
  const stop = () => {
    clearInterval(ticking);
    ticking = null;
    button.textContent = "Play";
  };
  button.addEventListener("click", () => {
    if (ticking) return stop();
    button.textContent = "Stop";
    ticking = setInterval(() => {
      if (!button.isConnected) return stop();
      const last = Number(slider.value) >= Number(slider.max);
      slider.value = last ? slider.min : Number(slider.value) + 1;
      slider.dispatchEvent(new Event("input"));
    }, 1000 / perSecond);
  });
}

// Attention: a picture is two layers of one element, the map's tile over the screen's tile.

function show(element, encoder, map, screen) {
  const columns = encoder.strongest[0].length;
  const across = columns > 1 ? (100 * screen) / (columns - 1) : 0;
  const layers = [`url(${encoder.screens})`];
  const sizes = [`${100 * columns}% 100%`];
  const places = [`${across}% 0`];
  if (map !== null) {
    const rows = encoder.maps.length;
    layers.unshift(`url(${encoder.sheet})`);
    sizes.unshift(`${100 * columns}% ${100 * rows}%`);
    places.unshift(`${across}% ${(100 * map) / (rows - 1)}%`);
  }
  element.style.backgroundImage = layers.join(", ");
  element.style.backgroundSize = sizes.join(", ");
  element.style.backgroundPosition = places.join(", ");
}

function describe(name, encoder, map, screen, game) {
  const [row, column] = encoder.strongest[map][screen];
  const where = `strongest in patch row ${row + 1}, column ${column + 1}`;
  return `Attention of ${name}, ${encoder.maps[map]}, on a screen of ${game}: ${where}`;
}

function attention(root) {
  const { games, encoders } = fovea.pictures[root.dataset.pictures];
  const map = root.querySelector(".map");
  const slider = root.querySelector(".screen");
  const every = root.querySelector(".every");
  const chosen = every.querySelector(".encoder");
  const heads = every.querySelector(".heads");

  function update() {
    const screen = Number(slider.value);
    const game = games[screen];
    root.querySelector("output").textContent = `${game}, screen ${screen + 1} of ${games.length}`;
    for (const element of root.querySelectorAll(".pictures .picture")) {
      const name = element.dataset.encoder;
      const encoder = name ? encoders[name] : Object.values(encoders)[0];
      const index = name ? encoder.maps.indexOf(map.value) : null;
      show(element, encoder, index === -1 ? null : index, screen);
      element.ariaLabel = !name
        ? `A screen of ${game}`
        : index === -1
          ? `${name} has no ${map.value}`
          : describe(name, encoder, index, screen, game);
    }
    if (every.open) grid(screen, game);
  }

  function grid(screen, game) {
    const encoder = encoders[chosen.value];
    const lines = [];
    encoder.maps.forEach((label, index) => {
      if (index === 0 || (index - 1) % encoder.heads === 0) {
        lines.push(document.createElement("div"));
      }
      const figure = document.createElement("figure");
      const picture = document.createElement("div");
      const caption = document.createElement("figcaption");
      picture.className = "picture";
      picture.role = "img";
      picture.ariaLabel = describe(chosen.value, encoder, index, screen, game);
      caption.textContent = label;
      show(picture, encoder, index, screen);
      figure.append(picture, caption);
      lines.at(-1).append(figure);
    });
    heads.replaceChildren(...lines);
  }

  slider.addEventListener("input", update);
  film(root.querySelector(".play"), slider, 3);
  for (const select of [map, chosen]) select.addEventListener("change", update);
  every.addEventListener("toggle", update);
  update();
}

part((root) => root.querySelectorAll(".attention").forEach(attention));

// One tile of a sheet that has some columns and rows.

function tile(element, { sheet, columns, rows }, k) {
  const across = columns > 1 ? (100 * (k % columns)) / (columns - 1) : 0;
  const down = rows > 1 ? (100 * Math.floor(k / columns)) / (rows - 1) : 0;
  element.style.backgroundImage = `url(${sheet})`;
  element.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
  element.style.backgroundPosition = `${across}% ${down}%`;
}

// Maps of features: points coloured by a label, and the screen of the one that is pointed at.

function mapOfFeatures(root) {
  const known = fovea.pictures[root.dataset.pictures];
  const group = root.querySelector(".charts");
  const picture = root.querySelector(".picture");
  const label = root.querySelector(".label");
  const slider = root.querySelector(".screen");
  const game = () => group.querySelector(".choice")?.value ?? Object.keys(known)[0];

  function update() {
    const { labels } = known[game()];
    const k = Number(slider.value);
    tile(picture, known[game()], k);
    const says = Object.entries(labels).map(([name, values]) => `${name} ${values[k]}`);
    picture.ariaLabel = `Screen ${k + 1} of ${game()}: ${says.join(", ")}`;
    root.querySelector("output").textContent =
      `${game()}, screen ${k + 1} of ${labels[label.value].length}: ${label.value} ${labels[label.value][k]}`;
    ring(k);
  }

  function ring(k) {
    for (const chart of group.querySelectorAll(".chart")) {
      const points = chart.data?.[0];
      if (!points) continue;
      const own = { x: [points.x[k]], y: [points.y[k]] };
      if (chart.data.length === 1) {
        const marker = { size: 14, color: "rgba(0,0,0,0)", line: { width: 2, color: "#d65f28" } };
        Plotly.addTraces(chart, { ...own, mode: "markers", marker, hoverinfo: "skip", showlegend: false });
      } else {
        Plotly.restyle(chart, { x: [own.x], y: [own.y] }, [1]);
      }
    }
  }

  function choose() {
    const { labels } = known[game()];
    const before = label.value;
    label.replaceChildren(...Object.keys(labels).map((name) => make("option", { value: name }, name)));
    if (before in labels) label.value = before;
    slider.max = labels[label.value].length - 1;
    slider.value = Math.min(slider.value, slider.max);
  }

  group.paint = (trace) => {
    const values = known[game()].labels[label.value];
    const names = [...new Set(values)].filter((value) => typeof value === "string");
    const color = names.length ? values.map((value) => names.indexOf(value)) : values;
    const ticks = names.length ? { tickvals: names.map((_, place) => place), ticktext: names } : {};
    const bar = { title: { text: label.value, side: "right" }, thickness: 8, outlinewidth: 0, ...ticks };
    return { ...trace, marker: { ...trace.marker, color, showscale: true, colorbar: bar } };
  };
  group.after = () => {
    for (const chart of group.querySelectorAll(".chart")) {
      if (chart.listened) continue;
      chart.listened = true;
      chart.on("plotly_hover", ({ points: [point] }) => {
        slider.value = point.pointNumber;
        update();
      });
    }
    update();
  };
  group.querySelector(".choice")?.addEventListener("change", choose, { capture: true });
  label.addEventListener("change", () => draw(group));
  slider.addEventListener("input", update);
  film(root.querySelector(".play"), slider, 6);
  choose();
}

// Recordings: a film of an episode, and where it is in the figures below.

function recording(root) {
  const episodes = fovea.pictures[root.dataset.pictures];
  const group = root.querySelector(".charts");
  const picture = root.querySelector(".picture");
  const slider = root.querySelector(".screen");
  const title = () => group.querySelector(".choice")?.value ?? Object.keys(episodes)[0];

  function update() {
    const own = episodes[title()];
    const k = Number(slider.value);
    tile(picture, own, k);
    const reward = own.rewards[k] ? `, reward ${own.rewards[k]}` : "";
    const text = `step ${own.steps[k]}, ${own.actions[k]}${reward}, by ${own.policy}`;
    root.querySelector("output").textContent = text;
    picture.ariaLabel = `${title()}, ${text}`;
    const at = { xref: "x", yref: "paper", x0: own.steps[k], x1: own.steps[k], y0: 0, y1: 1 };
    const line = { color: "#d65f28", width: 1 };
    for (const chart of group.querySelectorAll(".chart")) {
      if (chart.data) Plotly.relayout(chart, { shapes: [{ type: "line", ...at, line }] });
    }
  }

  function choose() {
    slider.max = episodes[title()].steps.length - 1;
    slider.value = 0;
    update();
  }

  group.after = update;
  group.querySelector(".choice")?.addEventListener("change", choose);
  slider.addEventListener("input", update);
  film(root.querySelector(".play"), slider, 8);
  choose();
}

part((root) => root.querySelectorAll(".recording").forEach(recording));

// This comes before the charts are set up, since a choice changes the labels before it is drawn.
part((root) => root.querySelectorAll(".map-of-features").forEach(mapOfFeatures));
